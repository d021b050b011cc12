"""Check that every offset has exactly one outcome: the books of a group against its tables."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.text import listed
from cryptometrics.times import EPOCH, from_microseconds
from cryptometrics.verify.findings import FindingKind, TopicPartition
from cryptometrics.verify.pruned import COUNTED_DAYS, INCOMPLETE, check_pruned_ranges, pruned_ranges
from cryptometrics.verify.stored_outcomes import DAY_US, OUTCOMES, runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    import psycopg

    from cryptometrics.verify.byte_words import Integers
    from cryptometrics.verify.findings import Findings
    from cryptometrics.verify.offset_books import GroupBooks
    from cryptometrics.verify.stored_outcomes import OutcomeRanges, StoredRows

_DAYS = f"""
SELECT topic, kafka_partition, day, rows, first_offset, last_offset FROM ({COUNTED_DAYS}) AS counted
ORDER BY topic, kafka_partition, day
"""  # noqa: S608  (constants)

_LOST = """
SELECT topic, kafka_partition, first_offset, last_offset FROM skipped_offsets
WHERE consumer_group = %(group)s AND reason = 'lost'
ORDER BY topic, kafka_partition, first_offset
"""

_INCOMPLETE_NAMES = f"""
SELECT pair || ' (' || venue || ') in ' || session FROM ({INCOMPLETE}) AS i ORDER BY session, pair, venue
"""  # noqa: S608  (constants)


class OffsetLedger:
    """Counts the outcomes of the offsets, and finds those without one, with several, or with a false one.

    In the ranges of pruned rows, as many offsets as rows were pruned must have none.
    """

    def __init__(
        self,
        books: GroupBooks,
        findings: Findings,
        proved: Mapping[TopicPartition, Sequence[int]] | None = None,
    ) -> None:
        """Begin; proved: how many of each of OUTCOMES come before `books.starts`, if a mark says so."""
        self._books = books
        self._findings = findings
        self._ranges = {
            book.topic_partition: (books.start_of(book), book.next_offset) for book in books.books
        }
        self._pruned = pruned_ranges(books.pruned) if proved is None else {}
        self._highest: dict[TopicPartition, int] = {}
        """The highest offset with an outcome so far."""
        self._counts: Counter[tuple[TopicPartition, int]] = Counter()
        if proved is None:
            for day in books.pruned:
                self._counts[TopicPartition(day.topic, day.partition), 0] += day.rows
        for where, counts in (proved or {}).items():
            self._counts.update({(where, number): count for number, count in enumerate(counts)})

    def add(self, ranges: OutcomeRanges) -> None:
        """Add outcomes, which follow those added before in the order of their first offsets."""
        where, firsts, lasts = ranges.partition, ranges.firsts, ranges.lasts
        for outcome in np.unique(ranges.outcomes).tolist():
            of_outcome = ranges.outcomes == outcome
            self._counts[where, outcome] += int((lasts[of_outcome] - firsts[of_outcome] + 1).sum())
        highest = self._highest.get(where)
        so_far = np.maximum.accumulate(lasts)
        if highest is not None:
            so_far = np.maximum(so_far, highest)
        self._highest[where] = int(so_far[-1])
        if where in self._ranges:
            begin, end = self._ranges[where]
            uneven = (firsts < begin) | (lasts >= end)
            uneven[1:] |= firsts[1:] != so_far[:-1] + 1
            uneven[0] = True
        else:
            uneven = np.ones(len(firsts), np.bool_)
        for at in np.flatnonzero(uneven).tolist():
            self._check(where, int(firsts[at]), int(lasts[at]), int(so_far[at - 1]) if at else highest)

    def finish(self) -> None:
        """Check the ends of the partitions, once all outcomes were added, and all counts."""
        for partition, (begin, end) in self._ranges.items():
            highest = self._highest.get(partition)
            self._add_missing(partition, begin if highest is None else max(highest + 1, begin), end - 1)
        check_pruned_ranges(self._pruned, self._findings)
        self._check_counts()

    def _check(self, partition: TopicPartition, first: int, last: int, before: int | None) -> None:
        """Check one outcome; before: the highest offset of the earlier ones of the partition."""
        begin, end = self._ranges.get(partition, (first, first))
        add = self._findings.add_offsets
        add(FindingKind.OUTSIDE, partition, first, min(last, begin - 1))
        add(FindingKind.OUTSIDE, partition, max(first, end), last)
        # All offsets below `done` are checked: those that this outcome covers have another one as well.
        done = begin if before is None else max(before + 1, begin)
        add(FindingKind.TWICE, partition, max(first, begin), min(last, done - 1, end - 1))
        self._add_missing(partition, done, min(first, end) - 1)

    def _add_missing(self, partition: TopicPartition, first: int, last: int) -> None:
        pruned = self._pruned.get(partition)
        for begin, end in [(first, last)] if pruned is None else pruned.account(first, last):
            self._findings.add_offsets(FindingKind.MISSING, partition, begin, end)

    def _check_counts(self) -> None:
        """Compare each count with the rows stored and pruned, and the sum with the offsets read."""
        for book in self._books.books:
            where = book.topic_partition
            total = sum(getattr(book, outcome) for outcome in OUTCOMES)
            if total != book.offsets:
                text = (
                    f"{total:,} outcomes, {book.offsets:,} offsets from {book.first_offset} to "
                    f"{book.next_offset}"
                )
                self._findings.add_text(FindingKind.SUM, text, where)
            for number, outcome in enumerate(OUTCOMES):
                stored, true = getattr(book, outcome), self._counts[where, number]
                if stored != true:
                    text = f"{stored:,} counted, {true:,} stored"
                    self._findings.add_text(FindingKind.COUNT, text, where, outcome)


class DayCounts:
    """Counts the rows of each day and partition, and compares the days that are not pruned."""

    def __init__(self) -> None:
        self._days: dict[tuple[TopicPartition, int], tuple[int, int, int]] = {}
        """By partition and days from the epoch: number of rows, first and last offset."""

    def add(self, rows: StoredRows) -> None:
        """Count some rows."""
        days = rows.times // DAY_US
        if (days == days[0]).all():
            self._add(rows.partition, int(days[0]), rows.offsets)
            return
        order = np.argsort(days, kind="stable")
        offsets = rows.offsets[order]
        for day, part in runs(days[order]):
            self._add(rows.partition, day, offsets[part])

    def add_day(self, partition: TopicPartition, day: date, rows: int, first: int, last: int) -> None:
        """Take over the counts of a whole day."""
        self._days[partition, (day - EPOCH.date()).days] = rows, first, last

    def _add(self, partition: TopicPartition, day: int, offsets: Integers) -> None:
        key = partition, day
        first, last = int(offsets.min()), int(offsets.max())
        count, first_before, last_before = self._days.get(key, (0, first, last))
        self._days[key] = count + len(offsets), min(first, first_before), max(last, last_before)

    def check(self, connection: psycopg.Connection, books: GroupBooks, findings: Findings) -> None:
        """Compare the counts with `metric_days`, once all rows were added."""
        counted: dict[tuple[TopicPartition, int], tuple[int, int, int]] = {
            (TopicPartition(topic, partition), (day - EPOCH.date()).days): (rows, first, last)
            for topic, partition, day, rows, first, last in connection.execute(_DAYS, books.parameters)
        }
        for partition, day in sorted(counted.keys() | self._days.keys(), key=str):
            stored, true = counted.get((partition, day)), self._days.get((partition, day))
            if stored != true:
                are, counted_as = _shown(true), _shown(stored)
                text = f"{_date(day)}: rows, first and last offset are {are}, counted as {counted_as}"
                findings.add_text(FindingKind.DAY, text, partition)


def _date(day: int) -> str:
    try:
        return f"{from_microseconds(day * DAY_US):%Y-%m-%d}"
    except OverflowError:
        return f"day {day} from 1970"


def _shown(counts: tuple[int, int, int] | None) -> str:
    return "(,,)" if counts is None else "({},{},{})".format(*counts)


def notes_on_losses(connection: psycopg.Connection, group: str) -> list[str]:
    """Return a line for each range of offsets that Kafka deleted before they were read."""
    rows = connection.execute(_LOST, {"group": group})
    return [
        f"{TopicPartition(topic, partition)}: offsets {first} to {last} were lost before they were read, "
        f"{last - first + 1} in all"
        for topic, partition, first, last in rows
    ]


def notes_on_pruned_days(connection: psycopg.Connection, books: GroupBooks) -> list[str]:
    """Return what was pruned, and which sessions could therefore not be recomputed."""
    if not books.pruned:
        return []
    rows = sum(day.rows for day in books.pruned)
    days = sorted({day.day for day in books.pruned})
    notes = [f"pruned: {rows:,} rows of {len(days):,} days, from {days[0]} to {days[-1]}"]
    incomplete = [name for (name,) in connection.execute(_INCOMPLETE_NAMES, books.parameters)]
    if incomplete:
        notes.append(f"not recomputed without them: {len(incomplete)} sessions, {listed(incomplete)}")
    return notes
