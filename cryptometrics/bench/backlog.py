"""Measure how fast `process` works off a backlog while all of its workers are busy.

The backlog appears at once for workers that are ready, since Kafka hides a transaction's records until its
commit. The rate is measured from the first database commit to the moment the first worker has nothing left.
The time before is latency, measured elsewhere; the time after shows how unequal the partitions are.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from cryptometrics.errors import CryptometricsError
from cryptometrics.kafka import client
from cryptometrics.kafka.publisher import Publisher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.bench.scratch import Scratch
    from cryptometrics.kafka.publisher import Message

GROUP = "bench"
READY_S = 60.0
"""Seconds workers may take to catch up, and part of the limit for a backlog."""
MIN_RATE = 10_000
"""Ticks per second below which a measurement is given up."""
LOOK_S = 0.005
"""Seconds between two looks at the workers' offsets."""
TRANSACTION_S = 30.0
"""Seconds each step of a transaction may take."""
TRANSACTION_MS = 15 * 60 * 1000
"""Milliseconds a transaction may stay open: the most that brokers allow by default."""

_OWNERS = """
SELECT o.owner, count(*)::int AS partitions, sum(o.metrics)::bigint AS stored,
       sum(coalesce(greatest(e.end_offset - o.next_offset, 0), 0))::bigint AS left
FROM consumer_offsets o LEFT JOIN unnest(%s::int[], %s::bigint[]) AS e (kafka_partition, end_offset)
  USING (kafka_partition)
WHERE o.consumer_group = %s AND o.owner <> '' GROUP BY o.owner
"""


@dataclass(frozen=True)
class Share:
    """A worker's share of the topic."""

    partitions: int
    stored: int
    left: int


class Backlog:
    """Publishes ticks in one transaction, so that all of them appear to the workers at once."""

    def __init__(self, scratch: Scratch, blocks: Iterator[list[Message]], ticks: int) -> None:
        """blocks: the ticks' source; ticks: the least number per backlog."""
        self._scratch = scratch
        self._topic = scratch.settings.kafka_topic
        self._blocks = blocks
        self._ticks = ticks
        self._producer = Producer(
            client.client_conf(
                scratch.settings,
                **{
                    "transactional.id": self._topic,
                    "transaction.timeout.ms": TRANSACTION_MS,
                    "partitioner": "murmur2_random",
                    "compression.type": "lz4",
                    "linger.ms": 5,
                },
            )
        )
        self._producer.init_transactions(TRANSACTION_S)

    def _reveal(self) -> tuple[int, float]:
        """Publish a backlog; return its size and the moment just before its commit (perf_counter)."""
        publisher = Publisher(self._producer, self._topic)
        self._producer.begin_transaction()
        while publisher.state.sent < self._ticks:
            publisher.send_all(next(self._blocks))
        publisher.drain(TRANSACTION_S)
        sent = publisher.state.sent
        if publisher.state.acknowledged < sent:
            raise CryptometricsError(
                f"Kafka did not store the benchmark's ticks: {publisher.state.failure or 'no answer'}"
            )
        revealed = time.perf_counter()
        self._producer.commit_transaction(TRANSACTION_S)
        return sent, revealed

    def measure(self, workers: int) -> float:
        """Return how many ticks per second the running workers store while all of them are busy.

        Measured from the first commit, or if there is only one, from the moment the backlog appeared.
        """
        scratch = self._scratch
        before = sum(share.stored for share in _owners(scratch, {}).values())
        sent, revealed = self._reveal()
        # A partition's last offset is the transaction's marker.
        ends = {partition: end - 1 for partition, end in scratch.ends().items()}
        rate = 0.0
        first: tuple[int, float] | None = None
        limit = READY_S + sent / MIN_RATE
        while time.perf_counter() - revealed < limit:
            owners = _owners(scratch, ends)
            now = time.perf_counter()
            stored = sum(share.stored for share in owners.values()) - before
            busy = sum(share.left > 0 for share in owners.values())
            all_busy = busy == workers or stored < sent // 2  # less than half is too short a time
            if first is not None and stored > first[0] and (all_busy or not rate):
                rate = (stored - first[0]) / (now - first[1])
            elif first is None and stored:
                first = stored, now
            if stored >= sent:
                return rate or stored / (now - revealed)
            time.sleep(LOOK_S)
        raise CryptometricsError(f"{workers} workers did not finish the backlog in {limit:g} s")


@contextlib.contextmanager
def workers(scratch: Scratch, number: int, *options: str) -> Iterator[int]:
    """Run this many workers, and yield the process id of the command; the block begins when they caught up.

    options: more options of `process`.
    """
    before = _owners(scratch, {}).keys()
    # Simulated prices must not alert anybody.
    several = ("--workers", str(number)) if number > 1 else ()
    running = scratch.start("process", "--group", GROUP, "--no-alerts", *several, *options)
    try:
        ends = scratch.ends()
        deadline = time.monotonic() + READY_S
        while True:
            # Earlier workers still own partitions that nobody has claimed yet.
            shares = [share for owner, share in _owners(scratch, ends).items() if owner not in before]
            sizes = [share.partitions for share in shares]
            # Until it is even, the first worker still hands partitions over to later ones.
            is_even = len(shares) == number and max(sizes) - min(sizes) <= 1
            if is_even and not any(share.left for share in shares):
                break
            if running.poll() is not None or time.monotonic() > deadline:
                raise CryptometricsError(f"{number} workers were not ready after {READY_S:g} s")
            time.sleep(LOOK_S)
        yield running.pid
    finally:
        running.terminate()
        try:
            running.wait(READY_S)
        except subprocess.TimeoutExpired:
            running.kill()


def _owners(scratch: Scratch, ends: dict[int, int]) -> dict[str, Share]:
    """Return the share of each worker; ends: the end of each partition."""
    rows = scratch.connection.execute(_OWNERS, [list(ends), list(ends.values()), GROUP])
    return {owner: Share(*share) for owner, *share in rows}
