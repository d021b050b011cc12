"""Check that every offset has exactly one outcome: the books of a group against its tables."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.text import listed
from cryptometrics.verify.findings import FindingKind, TopicPartition
from cryptometrics.verify.offset_books import ROWS
from cryptometrics.verify.pruned import COUNTED_DAYS, INCOMPLETE, check_pruned_ranges, pruned_ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import psycopg

    from cryptometrics.verify.findings import Findings
    from cryptometrics.verify.offset_books import GroupBooks
    from cryptometrics.verify.pruned import PrunedRanges

# Every outcome of an offset, by the name of the column that counts it. A new outcome is one more line here,
# and one in `topic_check`.
_OUTCOMES = f"""
    SELECT 'metrics' AS outcome, topic, kafka_partition,
           kafka_offset AS first_offset, kafka_offset AS last_offset
    FROM ({ROWS}) AS metrics
    UNION ALL
    SELECT 'rejected', topic, kafka_partition, kafka_offset, kafka_offset
    FROM rejected_ticks WHERE consumer_group = %(group)s
    UNION ALL
    SELECT 'gaps', topic, kafka_partition, kafka_offset, kafka_offset
    FROM feed_gaps WHERE consumer_group = %(group)s
    UNION ALL
    SELECT CASE reason WHEN 'duplicate' THEN 'duplicates' ELSE 'holes' END,
           topic, kafka_partition, first_offset, last_offset
    FROM skipped_offsets WHERE consumer_group = %(group)s
"""  # noqa: S608  (constants)
OUTCOMES = ("metrics", "rejected", "gaps", "duplicates", "holes")
"""The columns of `consumer_offsets` that count outcomes."""

_COUNTED = f"""
SELECT topic, kafka_partition, outcome, sum(last_offset - first_offset + 1)::bigint
FROM ({_OUTCOMES}) AS outcomes
GROUP BY topic, kafka_partition, outcome
"""  # noqa: S608  (constants)

_UNEQUAL_DAYS = f"""
SELECT topic, kafka_partition, day,
       ROW (counted.rows, counted.first_offset, counted.last_offset)::text,
       ROW (found.rows, found.first_offset, found.last_offset)::text
FROM ({COUNTED_DAYS}) AS counted
FULL JOIN (
    SELECT topic, kafka_partition, (timestamp AT TIME ZONE 'UTC')::date AS day, count(*) AS rows,
           min(kafka_offset) AS first_offset, max(kafka_offset) AS last_offset
    FROM ({ROWS}) AS metrics GROUP BY 1, 2, 3
) AS found USING (topic, kafka_partition, day)
WHERE (counted.rows, counted.first_offset, counted.last_offset)
      IS DISTINCT FROM (found.rows, found.first_offset, found.last_offset)
ORDER BY topic, kafka_partition, day
"""  # noqa: S608  (constants)

# One pass in the order of the offsets. It returns outcomes that do not touch the one before or lie outside
# the book, and the first and the last of each partition: few rows, unless much is wrong.
_UNEVEN = f"""
WITH placed AS (
    SELECT topic, kafka_partition, first_offset, last_offset,
           max(last_offset) OVER (earlier ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before,
           lead(first_offset) OVER earlier IS NULL AS is_last
    FROM ({_OUTCOMES}) AS outcomes
    WINDOW earlier AS (PARTITION BY topic COLLATE "C", kafka_partition ORDER BY first_offset, last_offset)
)
SELECT p.topic, kafka_partition, p.first_offset, p.last_offset, before, is_last
FROM placed p
LEFT JOIN (SELECT topic, kafka_partition, first_offset, next_offset FROM consumer_offsets
           WHERE consumer_group = %(group)s) AS books USING (topic, kafka_partition)
WHERE before IS NULL OR is_last OR p.first_offset <> before + 1
   OR p.first_offset < books.first_offset OR p.last_offset >= books.next_offset OR next_offset IS NULL
"""  # noqa: S608  (constants)

_LOST = """
SELECT topic, kafka_partition, first_offset, last_offset FROM skipped_offsets
WHERE consumer_group = %(group)s AND reason = 'lost'
ORDER BY topic, kafka_partition, first_offset
"""

_INCOMPLETE_NAMES = f"""
SELECT pair || ' (' || venue || ') in ' || session FROM ({INCOMPLETE}) AS i ORDER BY session, pair, venue
"""  # noqa: S608  (constants)


class OutcomeRange(NamedTuple):
    """Offsets from `first` to `last` with one outcome; ranges are ordered by `first`."""

    partition: TopicPartition
    first: int
    last: int
    before: int | None
    """The highest offset of the earlier ranges of the partition; None for the first range."""
    is_last: bool


def check_counts(connection: psycopg.Connection, books: GroupBooks, findings: Findings) -> None:
    """Compare each count with the rows stored and pruned, and their sum with the number of offsets read."""
    rows = connection.execute(_COUNTED, books.parameters)
    counted = Counter({(topic, partition, outcome): count for topic, partition, outcome, count in rows})
    for day in books.pruned:
        counted[day.topic, day.partition, "metrics"] += day.rows
    for book in books.books:
        total = sum(getattr(book, outcome) for outcome in OUTCOMES)
        if total != book.offsets:
            text = (
                f"{total:,} outcomes, {book.offsets:,} offsets from {book.first_offset} to {book.next_offset}"
            )
            findings.add_text(FindingKind.SUM, text, book.topic_partition)
        for outcome in OUTCOMES:
            stored, true = getattr(book, outcome), counted[book.topic, book.partition, outcome]
            if stored != true:
                text = f"{stored:,} counted, {true:,} stored"
                findings.add_text(FindingKind.COUNT, text, book.topic_partition, outcome)


def check_days(connection: psycopg.Connection, books: GroupBooks, findings: Findings) -> None:
    """Compare the counts of each day that is not pruned with its rows."""
    for topic, partition, day, counted, true in connection.execute(_UNEQUAL_DAYS, books.parameters):
        text = f"{day}: rows, first and last offset are {true}, counted as {counted}"
        findings.add_text(FindingKind.DAY, text, TopicPartition(topic, partition))


def check_offsets(connection: psycopg.Connection, books: GroupBooks, findings: Findings) -> None:
    """Find each offset without an outcome, with several, or with one although it was not read.

    In the ranges of pruned rows, as many offsets as rows were pruned must have none.
    """
    ranges = {book.topic_partition: (book.first_offset, book.next_offset) for book in books.books}
    pruned = pruned_ranges(books.pruned)
    with connection.cursor() as cursor:
        # A stream, not a named cursor, for which PostgreSQL plans no parallel query.
        rows = cursor.stream(_UNEVEN, books.parameters)
        outcomes = (OutcomeRange(TopicPartition(*row[:2]), *row[2:]) for row in rows)
        check_outcomes(outcomes, ranges, pruned, findings)
    check_pruned_ranges(pruned, findings)


def check_outcomes(
    uneven: Iterable[OutcomeRange],
    ranges: Mapping[TopicPartition, tuple[int, int]],
    pruned: Mapping[TopicPartition, PrunedRanges],
    findings: Findings,
) -> None:
    """Report where outcomes leave a gap, overlap, or lie outside of what was read.

    uneven: at least the first and the last outcome of each partition.
    ranges: partition → its first offset, and the exclusive upper bound of its offsets.
    pruned: where offsets without an outcome are only counted.
    """

    def add_missing(partition: TopicPartition, first: int, last: int) -> None:
        missing = pruned[partition].account(first, last) if partition in pruned else [(first, last)]
        for begin, end in missing:
            findings.add_offsets(FindingKind.MISSING, partition, begin, end)

    empty = dict(ranges)
    for partition, first, last, before, is_last in uneven:
        empty.pop(partition, None)
        begin, end = ranges.get(partition, (first, first))
        findings.add_offsets(FindingKind.OUTSIDE, partition, first, min(last, begin - 1))
        findings.add_offsets(FindingKind.OUTSIDE, partition, max(first, end), last)
        # All offsets below `done` are checked: those that this outcome covers have another one as well.
        done = begin if before is None else max(before + 1, begin)
        findings.add_offsets(FindingKind.TWICE, partition, max(first, begin), min(last, done - 1, end - 1))
        add_missing(partition, done, min(first, end) - 1)
        if is_last:
            add_missing(partition, max(last + 1, done), end - 1)
    for partition, (begin, end) in empty.items():
        add_missing(partition, begin, end - 1)


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
