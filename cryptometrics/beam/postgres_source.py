"""The ticks that are stored, as (pair, Part): history at the speed at which PostgreSQL gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from cryptometrics.beam import read_counts
from cryptometrics.beam.folding import Counts, Groups, Part
from cryptometrics.market.tick_decoder import FURTHEST_AHEAD, Tick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.beam.job import Job

FOLDED = 20_000
"""Rows folded together."""

# Which ticks came late shows in the order of the topic. A tick may be a day ahead of what comes after it.
_TICKS = """
SELECT pair, timestamp, kafka_partition, kafka_offset, bid, ask, late
FROM (
    SELECT pair, timestamp, kafka_partition, kafka_offset, bid, ask,
           coalesce(trade_id < max(trade_id) OVER (
               PARTITION BY pair ORDER BY kafka_partition, kafka_offset
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), false) AS late
    FROM crypto_metrics
    WHERE consumer_group = %(group)s AND timestamp >= coalesce(%(before)s::timestamptz, timestamp)
) AS ticks
WHERE timestamp >= coalesce(%(since)s::timestamptz, timestamp)
  AND timestamp < coalesce(%(until)s::timestamptz, 'infinity')
"""


class _Read(beam.DoFn):  # type: ignore[misc]  # Beam has no types
    """Reads the ticks of a group in one query."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._counter = Metrics.counter("aggregate", "ticks")

    def process(self, _element: None) -> Iterator[TimestampedValue]:
        """Yield (pair, Part)."""
        from cryptometrics import config
        from cryptometrics.store.connection import connect

        since = self._job.since
        values = {
            "group": self._job.group,
            "before": since - FURTHEST_AHEAD if since is not None else None,
            "since": since,
            "until": self._job.until,
        }
        with connect(config.load()) as connection, connection.cursor() as cursor:
            groups: dict[int, Groups] = {}
            count = 0
            for pair, time, partition, offset, bid, ask, late in cursor.stream(_TICKS, values, size=1_000):
                tick = Tick(pair, "ticker", bid, ask, time, None)
                group = groups.get(partition)
                if group is None:
                    group = groups[partition] = Groups(self._job.shape)
                group.add(tick, offset, late=late)
                count += 1
                if count == FOLDED:
                    yield from self._folded(groups)
                    groups, count = {}, 0
            yield from self._folded(groups)

    def _folded(self, groups: dict[int, Groups]) -> Iterator[TimestampedValue]:
        ticks = 0
        for partition, group in groups.items():
            for pair, at, aggregate in group.folded(partition):
                ticks += aggregate.ticks
                yield TimestampedValue((pair, Part(aggregate, at, None)), Timestamp.from_utc_datetime(at))
        read_counts.add(Counts(ticks=ticks))
        self._counter.inc(ticks)


class FromPostgres(beam.PTransform):  # type: ignore[misc]
    """The (pair, Part) of the ticks that the job's group has stored."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def expand(self, begin: Any) -> Any:
        """Read."""
        return (
            begin
            | "once" >> beam.Create([None])
            | "read" >> beam.ParDo(_Read(self._job)).with_output_types(tuple[str, Any])
        )
