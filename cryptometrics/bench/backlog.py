"""How fast `process` works a backlog off, while all its workers have some of it.

The backlog appears at once before workers that are ready: Kafka keeps what a transaction writes out of sight
until its commit. It is counted from the first commit that follows to the moment when the first worker has
nothing left. What lies before is a latency, which is measured by itself; what lies after says how unequal
partitions are, and nothing about speed.
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

    from cryptometrics.bench.scratch import Place
    from cryptometrics.kafka.publisher import Message

GROUP = "bench"
READY_S = 60.0
"""How long workers may take to have caught up, and a backlog of no size to be worked off."""
SLOWEST = 10_000
"""Ticks a second below which a backlog is given up."""
LOOK_S = 0.005
"""How often it is looked how far they are."""
TRANSACTION_S = 30.0
"""How long each step of a transaction may take."""
TRANSACTION_MS = 15 * 60 * 1000
"""How long it may be open: the longest that brokers allow by default."""

_OWNERS = """
SELECT o.owner, count(*)::int AS partitions, sum(o.metrics)::bigint AS stored,
       sum(coalesce(greatest(e.end_offset - o.next_offset, 0), 0))::bigint AS left
FROM consumer_offsets o LEFT JOIN unnest(%s::int[], %s::bigint[]) AS e (kafka_partition, end_offset)
  USING (kafka_partition)
WHERE o.consumer_group = %s AND o.owner <> '' GROUP BY o.owner
"""


@dataclass(frozen=True)
class Share:
    """What a worker has of the topic."""

    partitions: int
    stored: int
    left: int


class Backlog:
    """Puts ticks on the topic as often as asked; workers that are ready see them at once."""

    def __init__(self, place: Place, blocks: Iterator[list[Message]], ticks: int) -> None:
        """blocks: where the ticks come from; ticks: how many it has at least each time."""
        self._place = place
        self._topic = place.settings.kafka_topic
        self._blocks = blocks
        self._ticks = ticks
        self._producer = Producer(
            client.client_conf(
                place.settings,
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
        """Write ticks, let everybody see them; return how many and the moment just before (perf_counter)."""
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
        """Return how many ticks a second the running workers store while all of them have work.

        Counted from the first commit, or from the moment the backlog appeared where there is only one.
        """
        place = self._place
        before = sum(share.stored for share in _owners(place, {}).values())
        sent, revealed = self._reveal()
        # The last offset of a partition is the transaction's mark.
        ends = {partition: end - 1 for partition, end in place.ends().items()}
        rate = 0.0
        first: tuple[int, float] | None = None
        limit = READY_S + sent / SLOWEST
        while time.perf_counter() - revealed < limit:
            owners = _owners(place, ends)
            now = time.perf_counter()
            stored = sum(share.stored for share in owners.values()) - before
            busy = sum(share.left > 0 for share in owners.values())
            all_busy = busy == workers or stored < sent // 2  # less than half would be too short a time
            if first is not None and stored > first[0] and (all_busy or not rate):
                rate = (stored - first[0]) / (now - first[1])
            elif first is None and stored:
                first = stored, now
            if stored >= sent:
                return rate or stored / (now - revealed)
            time.sleep(LOOK_S)
        raise CryptometricsError(f"{workers} workers did not work the backlog off in {limit:g} s")


@contextlib.contextmanager
def workers(place: Place, number: int) -> Iterator[None]:
    """Run so many workers, which have caught up when this begins."""
    before = _owners(place, {}).keys()
    # Simulated prices must not call anybody.
    command = place.command("process", "--group", GROUP, "--no-alerts")
    command += ["--workers", str(number)] if number > 1 else []
    running = subprocess.Popen(
        command,
        env=place.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        ends = place.ends()
        deadline = time.monotonic() + READY_S
        while True:
            # Those that ran before have their names on what nobody has taken over yet.
            shares = [share for owner, share in _owners(place, ends).items() if owner not in before]
            sizes = [share.partitions for share in shares]
            # Until then the first worker still hands partitions over to those that came after it.
            is_even = len(shares) == number and max(sizes) - min(sizes) <= 1
            if is_even and not any(share.left for share in shares):
                break
            if running.poll() is not None or time.monotonic() > deadline:
                raise CryptometricsError(f"{number} workers did not get ready in {READY_S:g} s")
            time.sleep(LOOK_S)
        yield
    finally:
        running.terminate()
        try:
            running.wait(READY_S)
        except subprocess.TimeoutExpired:
            running.kill()


def _owners(place: Place, ends: dict[int, int]) -> dict[str, Share]:
    """Return the share of each worker; `ends` says where its partitions end."""
    rows = place.connection.execute(_OWNERS, [list(ends), list(ends.values()), GROUP])
    return {owner: Share(*share) for owner, *share in rows}
