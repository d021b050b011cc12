"""What `prune` took away: which offsets may be without a fate, and which sessions cannot be recomputed.

Of a dropped day there are counts: how many rows of a partition, between which offsets. In these ranges as
many offsets must be without a fate as rows were dropped, no more and no fewer.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from cryptometrics.text import listed
from cryptometrics.verify.findings import Kind, Place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    import psycopg

    from cryptometrics.verify.findings import Findings
    from cryptometrics.verify.offset_books import Books

# A day that is just being pruned, marked and detached, counts as dropped: no statement sees its rows any
# more. Without the mark it was taken away by hand, and its rows are missing.
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
"""What `metric_days` says of the rows that are there."""

INCOMPLETE = """
    SELECT pair, session FROM session_extremes
    WHERE consumer_group = %(group)s AND %(pruned)s::datemultirange && daterange(
        (first_at AT TIME ZONE 'UTC')::date, (last_at AT TIME ZONE 'UTC')::date, '[]')
"""
"""The sessions of a group that may have had rows in a pruned day; the parameters are those of `Books`."""

_NAMED = f"SELECT pair || ' in ' || session FROM ({INCOMPLETE}) AS i ORDER BY session, pair"  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedDay:
    """What was dropped of a day and a partition."""

    topic: str
    partition: int
    day: date
    rows: int
    first: int
    last: int

    @property
    def place(self) -> Place:
        """Which partition it is."""
        return Place(self.topic, self.partition)


@dataclass(slots=True)
class Room:
    """Where a partition's pruned rows were, in ranges that neither touch nor overlap; filled by `take`."""

    rows: int = 0
    firsts: list[int] = field(default_factory=list)
    lasts: list[int] = field(default_factory=list)
    taken: int = 0
    """Offsets without a fate that were found in the ranges."""

    def add(self, day: PrunedDay) -> None:
        """Make room; days come in the order of their first offsets."""
        self.rows += day.rows
        if self.lasts and day.first <= self.lasts[-1] + 1:
            self.lasts[-1] = max(self.lasts[-1], day.last)
        else:
            self.firsts.append(day.first)
            self.lasts.append(day.last)

    def take(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Count the offsets that lie in the ranges, and yield the ranges of those that do not."""
        at = max(bisect_right(self.firsts, first) - 1, 0)
        while first <= last and at < len(self.firsts) and self.firsts[at] <= last:
            begin, end = max(first, self.firsts[at]), min(last, self.lasts[at])
            if begin <= end:
                if first < begin:
                    yield first, begin - 1
                self.taken += end - begin + 1
                first = end + 1
            at += 1
        if first <= last:
            yield first, last


def read_pruned(connection: psycopg.Connection, group: str) -> list[PrunedDay]:
    """Return what was dropped of a group."""
    with connection.cursor(row_factory=class_row(PrunedDay)) as cursor:
        return cursor.execute(_PRUNED, {"group": group}).fetchall()


def rooms(pruned: list[PrunedDay]) -> dict[Place, Room]:
    """Return where each partition may miss rows."""
    found: dict[Place, Room] = {}
    for day in pruned:
        found.setdefault(day.place, Room()).add(day)
    return found


def check_rooms(found: dict[Place, Room], findings: Findings) -> None:
    """Compare what was dropped with what turned out to be missing in its place."""
    for place, room in found.items():
        if room.taken != room.rows:
            ranges = listed(f"{first} to {last}" for first, last in zip(room.firsts, room.lasts, strict=True))
            text = f"{room.rows} rows pruned, {room.taken} offsets without a fate in {ranges}"
            findings.words(Kind.PRUNED, text, place)


def notes_of_pruned_days(connection: psycopg.Connection, books: Books) -> list[str]:
    """Return what was dropped, and which sessions could not be recomputed without it."""
    if not books.pruned:
        return []
    rows = sum(day.rows for day in books.pruned)
    days = sorted({day.day for day in books.pruned})
    notes = [f"pruned: {rows} rows of {len(days)} days, from {days[0]} to {days[-1]}"]
    incomplete = [name for (name,) in connection.execute(_NAMED, books.parameters)]
    if incomplete:
        notes.append(f"not recomputed without them: {len(incomplete)} sessions, {listed(incomplete)}")
    return notes
