"""Read stored ticks as (market, PartialAggregate), at the speed of PostgreSQL."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from cryptometrics.beam import read_counts
from cryptometrics.beam.folding import PartialAggregate, ReadCounts, fold_table
from cryptometrics.market.table import table_of
from cryptometrics.market.ticks import MAX_AHEAD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.beam.job import Job

MAX_FOLDED = 20_000
"""Rows folded together."""

# Lateness depends on the order of the topic. A tick may be a day ahead of those that follow it.
_TICKS = """
SELECT venue, pair, (extract(epoch FROM timestamp) * 1000000)::bigint, kafka_partition, kafka_offset,
       bid::text, ask::text, late, bid_size::text, ask_size::text
FROM (
    SELECT venue, pair, timestamp, kafka_partition, kafka_offset, bid, ask, bid_size, ask_size,
           coalesce(trade_id < max(trade_id) OVER (
               PARTITION BY venue, pair ORDER BY kafka_partition, kafka_offset
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
        """Yield (market, PartialAggregate)."""
        from cryptometrics import config
        from cryptometrics.store.connection import connect

        since = self._job.since
        values = {
            "group": self._job.group,
            "before": since - MAX_AHEAD if since is not None else None,
            "since": since,
            "until": self._job.until,
        }
        with connect(config.load()) as connection, connection.cursor() as cursor:
            rows = cursor.stream(_TICKS, values, size=1_000)
            while block := list(itertools.islice(rows, MAX_FOLDED)):
                yield from self._folded(*zip(*block, strict=True))

    def _folded(self, *columns: Any) -> Iterator[TimestampedValue]:
        venues, pairs, times, partitions, offsets, bids, asks, late, bid_sizes, ask_sizes = columns
        table = table_of(
            partitions, offsets, venues, pairs, bids, asks, times, late, sizes=(bid_sizes, ask_sizes)
        )
        for market, at, aggregate in fold_table(table, self._job.shape):
            part = PartialAggregate(aggregate, at, None)
            yield TimestampedValue((str(market), part), Timestamp.from_utc_datetime(at))
        read_counts.add(ReadCounts(ticks=len(table)))
        self._counter.inc(len(table))


class FromPostgres(beam.PTransform):  # type: ignore[misc]
    """The (market, PartialAggregate) of the ticks that the job's group has stored."""

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
