"""What `prune` dropped: which offsets may lack an outcome, and which sessions cannot be recomputed.

For each dropped day the database keeps counts: how many rows of a partition, between which offsets. In these
ranges, exactly as many offsets must lack an outcome as rows were dropped.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from cryptometrics.text import listed
from cryptometrics.verify.findings import FindingKind, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    import psycopg

    from cryptometrics.verify.findings import Findings

# A day that is marked for pruning and detached counts as dropped: its rows are no longer visible. A detached
# day without the mark was removed by hand, so its rows are missing.
_GONE = """
day IN (SELECT day FROM pruning_days) AND day NOT IN (SELECT day FROM crypto_metrics_days WHERE attached)
"""
_PRUNED = f"""
SELECT topic, kafka_partition AS partition, day, rows, first_offset AS first, last_offset AS last
FROM pruned_days WHERE consumer_group = %(group)s
UNION ALL
SELECT topic, kafka_partition, day, rows, first_offset, last_offset
FROM metric_days WHERE consumer_group = %(group)s AND {_GONE}
ORDER BY topic, partition, first
"""  # noqa: S608  (constants)

COUNTED_DAYS = f"""
    SELECT topic, kafka_partition, day, rows, first_offset, last_offset
    FROM metric_days WHERE consumer_group = %(group)s AND NOT ({_GONE})
"""  # noqa: S608  (constants)
"""The counts in `metric_days` of the days that still exist."""

INCOMPLETE = """
    SELECT venue, pair, session FROM session_extremes
    WHERE consumer_group = %(group)s AND %(pruned)s::datemultirange && daterange(
        (first_at AT TIME ZONE 'UTC')::date, (last_at AT TIME ZONE 'UTC')::date, '[]')
"""
"""The sessions that may have had rows in a pruned day; the parameters are `GroupBooks.parameters`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedDay:
    """The rows of one day and partition that were dropped."""

    topic: str
    partition: int
    day: date
    rows: int
    first: int
    last: int


@dataclass(slots=True)
class PrunedRanges:
    """The ranges of a partition's pruned rows, which neither touch nor overlap."""

    rows: int = 0
    firsts: list[int] = field(default_factory=list)
    lasts: list[int] = field(default_factory=list)
    unaccounted: int = 0
    """Offsets in the ranges that turned out to have no outcome."""

    def add(self, day: PrunedDay) -> None:
        """Add the range of a day; days must come in the order of their first offsets."""
        self.rows += day.rows
        if self.lasts and day.first <= self.lasts[-1] + 1:
            self.lasts[-1] = max(self.lasts[-1], day.last)
        else:
            self.firsts.append(day.first)
            self.lasts.append(day.last)

    def account(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Count the offsets inside the ranges as unaccounted, and yield the ranges of those outside."""
        at = max(bisect_right(self.firsts, first) - 1, 0)
        while first <= last and at < len(self.firsts) and self.firsts[at] <= last:
            begin, end = max(first, self.firsts[at]), min(last, self.lasts[at])
            if begin <= end:
                if first < begin:
                    yield first, begin - 1
                self.unaccounted += end - begin + 1
                first = end + 1
            at += 1
        if first <= last:
            yield first, last


def read_pruned(connection: psycopg.Connection, group: str) -> list[PrunedDay]:
    """Return the dropped days of a group."""
    with connection.cursor(row_factory=class_row(PrunedDay)) as cursor:
        return cursor.execute(_PRUNED, {"group": group}).fetchall()


def pruned_ranges(days: list[PrunedDay]) -> dict[TopicPartition, PrunedRanges]:
    """Return the ranges of each partition in which offsets may lack an outcome."""
    ranges: dict[TopicPartition, PrunedRanges] = {}
    for day in days:
        ranges.setdefault(TopicPartition(day.topic, day.partition), PrunedRanges()).add(day)
    return ranges


def check_pruned_ranges(ranges: dict[TopicPartition, PrunedRanges], findings: Findings) -> None:
    """Compare the number of dropped rows with the number of unaccounted offsets."""
    for partition, pruned in ranges.items():
        if pruned.unaccounted != pruned.rows:
            where = listed(
                f"{first} to {last}" for first, last in zip(pruned.firsts, pruned.lasts, strict=True)
            )
            text = (
                f"{pruned.rows:,} rows pruned, {pruned.unaccounted:,} offsets without an outcome in {where}"
            )
            findings.add_text(FindingKind.PRUNED, text, partition)
