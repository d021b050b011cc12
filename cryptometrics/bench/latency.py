"""Measure the time from the producer's call until a query sees the tick."""

from __future__ import annotations

import time
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import TopicPartition

from cryptometrics.bench.backlog import GROUP, workers
from cryptometrics.errors import CryptometricsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptometrics.bench.scratch import Scratch

LOOK_S = 0.001
"""Seconds between two queries: the resolution, and a load during the measurement."""
WARM_UP_S = 0.5
"""Seconds whose ticks are left out, while a feed connects."""
KAFKA_STEP_S = 0.001
"""Kafka's timestamps are whole milliseconds, rounded down: on average, a record is sent half of one later."""
READY_S = 30.0
DRAIN_S = 10.0

_ENDS = "SELECT kafka_partition, next_offset FROM consumer_offsets WHERE consumer_group = %s"


@dataclass(frozen=True)
class Latency:
    """Milliseconds from produce to visible, at one rate."""

    budget: str
    """How long a tick may wait for company: the worker's `--latency`."""
    rate: int
    ticks: int
    p50: float
    p99: float
    maximum: float


def measure(scratch: Scratch, budgets: Sequence[str], rates: Sequence[int], seconds: float) -> list[Latency]:
    """Run a worker with each of the budgets, and `simulate` at each of the rates in turn."""
    found: list[Latency] = []
    for budget in budgets:
        with workers(scratch, 1, "--latency", budget):
            found += [_at(scratch, budget, rate, seconds) for rate in rates]
    return found


def _at(scratch: Scratch, budget: str, rate: int, seconds: float) -> Latency:
    before = _ends(scratch)
    seen: dict[int, tuple[list[int], list[float]]] = {partition: ([], []) for partition in before}
    with scratch.simulate(rate, seconds) as feed:
        stop_at = time.monotonic() + seconds + READY_S
        last, idle_since = before, time.monotonic()
        # Until the feed has ended and no offset has changed for a moment.
        while time.monotonic() < stop_at and (feed.poll() is None or time.monotonic() - idle_since < 1.0):
            now_at, ends = time.time(), _ends(scratch)
            for partition, end in ends.items():
                if end > last.get(partition, 0):
                    seen[partition][0].append(end)
                    seen[partition][1].append(now_at)
                    idle_since = time.monotonic()
            last = ends
            time.sleep(LOOK_S)
    produced = _produced(scratch, before, last)
    counted_from = min((at for *_, at in produced), default=0.0) + WARM_UP_S
    latencies = sorted(
        (visible - at) * 1000
        for partition, offset, at in produced
        if at >= counted_from and (visible := _visible(seen[partition], offset)) is not None
    )
    if not latencies:
        raise CryptometricsError(f"no tick became visible at {rate} ticks/s")
    return Latency(
        budget,
        rate,
        len(latencies),
        round(latencies[len(latencies) // 2], 1),
        round(latencies[int(len(latencies) * 0.99)], 1),
        round(latencies[-1], 1),
    )


def _visible(seen: tuple[list[int], list[float]], offset: int) -> float | None:
    """Return when the offset was first visible."""
    ends, times = seen
    at = bisect_right(ends, offset)
    return times[at] if at < len(times) else None


def _ends(scratch: Scratch) -> dict[int, int]:
    return dict(scratch.connection.execute(_ENDS, [GROUP]).fetchall())


def _produced(scratch: Scratch, begin: dict[int, int], end: dict[int, int]) -> list[tuple[int, int, float]]:
    """Return (partition, offset, seconds since the epoch when produced) of the records in between."""
    consumer = scratch.reader()
    topic = scratch.settings.kafka_topic
    consumer.assign([TopicPartition(topic, p, offset) for p, offset in begin.items() if end[p] > offset])
    missing = sum(end[p] - offset for p, offset in begin.items())
    found: list[tuple[int, int, float]] = []
    deadline = time.monotonic() + DRAIN_S
    while len(found) < missing and time.monotonic() < deadline:
        for message in consumer.consume(5000, 0.2):
            partition, offset = message.partition(), message.offset()
            if message.error() is None and partition is not None and offset is not None:
                found.append((partition, offset, message.timestamp()[1] / 1000 + KAFKA_STEP_S / 2))
    consumer.close()
    return found
