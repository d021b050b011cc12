"""Where every offset went: the books in `consumer_offsets` against the tables, offset by offset."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from psycopg.rows import class_row

from cryptometrics.verify.findings import Kind, Place
from cryptometrics.verify.pruned import COUNTED_DAYS, PrunedDay, Room, check_rooms, read_pruned, rooms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    import psycopg

    from cryptometrics.verify.findings import Findings

# Books that were closed because the topic was made again, or its broker lost the newest records (then the id
# stays), end; in all others `ends` is NULL.
_BOOKS = """
SELECT topic, topic_id, kafka_partition AS partition, first_offset, next_offset,
       metrics, rejected, gaps, duplicates, holes,
       dense_rank() OVER (ORDER BY topic_begun_at, turn)::int AS era,
       lag(ended_at) OVER (PARTITION BY kafka_partition ORDER BY ended_at) AS begins, ended_at AS ends
FROM (SELECT *, min(begun_at) OVER (PARTITION BY topic_id) AS topic_begun_at,
             row_number() OVER (PARTITION BY topic_id, kafka_partition ORDER BY begun_at) AS turn
      FROM consumer_offsets WHERE consumer_group = %(group)s) AS books
ORDER BY topic_begun_at, topic, kafka_partition
"""

ROWS = """
    SELECT m.*, b.topic, b.era
    FROM crypto_metrics m
    LEFT JOIN unnest(%(topics)s::text[], %(partitions)s::int[], %(eras)s::int[],
                     %(begins)s::timestamptz[], %(ends)s::timestamptz[])
        AS b (topic, kafka_partition, era, begins, ends)
      ON b.kafka_partition = m.kafka_partition
     AND m.recorded_at >= coalesce(b.begins, '-infinity') AND m.recorded_at < coalesce(b.ends, 'infinity')
    WHERE m.consumer_group = %(group)s
"""
"""The rows of a group with the topic that they are from and, as `era`, its place among topics of that name.

Their order is (era, kafka_partition, kafka_offset). The parameters are those of `Books.parameters`.
"""

# Every place where an offset may have gone, each under the name of the column that counts it. A new kind of
# fate is one more line here, and one in `topic`.
_FATES = f"""
    SELECT 'metrics' AS fate, topic, kafka_partition,
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
FATES = ("metrics", "rejected", "gaps", "duplicates", "holes")
"""The columns of `consumer_offsets` that count."""

_COUNTED = f"""
SELECT topic, kafka_partition, fate, sum(last_offset - first_offset + 1)::bigint
FROM ({_FATES}) AS fates
GROUP BY topic, kafka_partition, fate
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

# One pass in the order of the offsets. What comes back is where two neighbours do not touch, what lies
# outside, and both ends of each partition: a few rows, unless much is wrong.
_UNEVEN = f"""
WITH placed AS (
    SELECT topic, kafka_partition, first_offset, last_offset,
           max(last_offset) OVER (earlier ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before,
           lead(first_offset) OVER earlier IS NULL AS is_last
    FROM ({_FATES}) AS fates
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """What `consumer_offsets` says of one partition."""

    topic: str
    topic_id: str
    partition: int
    first_offset: int
    next_offset: int
    metrics: int
    rejected: int
    gaps: int
    duplicates: int
    holes: int
    era: int
    """Which one of the topics of that name it is, made or begun again and again; counted from 1."""
    begins: datetime | None
    ends: datetime | None
    """Rows recorded from `begins` to before `ends` are from this topic; None is no bound."""

    @property
    def place(self) -> Place:
        """What the book is about."""
        return Place(self.topic, self.partition)

    @property
    def offsets(self) -> int:
        """How many offsets must have a fate."""
        return self.next_offset - self.first_offset


@dataclass(frozen=True, slots=True)
class Books:
    """All books of a group."""

    group: str
    books: list[Book]
    pruned: list[PrunedDay] = field(default_factory=list)

    @property
    def parameters(self) -> dict[str, object]:
        """What ROWS and all that is built on it takes."""
        return {
            "group": self.group,
            "topics": [book.topic for book in self.books],
            "partitions": [book.partition for book in self.books],
            "eras": [book.era for book in self.books],
            "begins": [book.begins for book in self.books],
            "ends": [book.ends for book in self.books],
            "pruned": f"{{{','.join(f'[{day}, {day}]' for day in sorted({p.day for p in self.pruned}))}}}",
        }


class Placed(NamedTuple):
    """A fate of the offsets from `first` to `last`, in the order of `first`."""

    place: Place
    first: int
    last: int
    before: int | None
    """The highest offset of those that come before it in the partition; None of the first."""
    is_last: bool


def read_books(connection: psycopg.Connection, group: str) -> Books:
    """Return the books of a group, the oldest topic first."""
    with connection.cursor(row_factory=class_row(Book)) as cursor:
        books = cursor.execute(_BOOKS, {"group": group}).fetchall()
    return Books(group, books, read_pruned(connection, group))


def check_counts(connection: psycopg.Connection, books: Books, findings: Findings) -> None:
    """Compare each count with its table and with what was pruned, their sum with the offsets read."""
    rows = connection.execute(_COUNTED, books.parameters)
    counted = Counter({(topic, partition, fate): count for topic, partition, fate, count in rows})
    for day in books.pruned:
        counted[day.topic, day.partition, "metrics"] += day.rows
    for book in books.books:
        total = sum(getattr(book, fate) for fate in FATES)
        if total != book.offsets:
            text = f"{total} fates, {book.offsets} offsets from {book.first_offset} to {book.next_offset}"
            findings.words(Kind.SUM, text, book.place)
        for fate in FATES:
            stored, found = getattr(book, fate), counted[book.topic, book.partition, fate]
            if stored != found:
                findings.words(Kind.COUNT, f"counted {stored}, found {found}", book.place, fate)


def check_days(connection: psycopg.Connection, books: Books, findings: Findings) -> None:
    """Compare the counts that will be left of each day with its rows, as long as they are there."""
    for topic, partition, day, counted, found in connection.execute(_UNEQUAL_DAYS, books.parameters):
        text = f"{day}: {counted} rows, first and last offset are counted, {found} found"
        findings.words(Kind.DAY, text, Place(topic, partition))


def check_offsets(connection: psycopg.Connection, books: Books, findings: Findings) -> None:
    """Find every offset that has no fate, more than one, or one though it was never read.

    Where rows were pruned, as many as these have none.
    """
    ranges = {book.place: (book.first_offset, book.next_offset) for book in books.books}
    pruned = rooms(books.pruned)
    with connection.cursor() as cursor:
        # A stream, not a named cursor: PostgreSQL plans no parallel query for those.
        uneven = cursor.stream(_UNEVEN, books.parameters)
        walk((Placed(Place(*row[:2]), *row[2:]) for row in uneven), ranges, pruned, findings)
    check_rooms(pruned, findings)


def walk(
    uneven: Iterable[Placed],
    ranges: Mapping[Place, tuple[int, int]],
    pruned: Mapping[Place, Room],
    findings: Findings,
) -> None:
    """Say what is wrong where fates do not touch; of each partition at least its first and last are given.

    ranges: partition → (the first offset that was read, the one after the last).
    pruned: where offsets without a fate are only counted.
    """

    def missing(place: Place, first: int, last: int) -> None:
        for begin, end in pruned[place].take(first, last) if place in pruned else [(first, last)]:
            findings.offsets(Kind.MISSING, place, begin, end)

    empty = dict(ranges)
    for place, first, last, before, is_last in uneven:
        empty.pop(place, None)
        begin, end = ranges.get(place, (first, first))
        findings.offsets(Kind.OUTSIDE, place, first, min(last, begin - 1))
        findings.offsets(Kind.OUTSIDE, place, max(first, end), last)
        # All below `done` is judged already; what this fate covers of it has another fate as well.
        done = begin if before is None else max(before + 1, begin)
        findings.offsets(Kind.TWICE, place, max(first, begin), min(last, done - 1, end - 1))
        missing(place, done, min(first, end) - 1)
        if is_last:
            missing(place, max(last + 1, done), end - 1)
    for place, (begin, end) in empty.items():
        missing(place, begin, end - 1)


def notes_of_losses(connection: psycopg.Connection, group: str) -> list[str]:
    """Return a line for each range of offsets that Kafka had dropped before they were read."""
    rows = connection.execute(_LOST, {"group": group})
    return [
        f"{Place(topic, partition)}: offsets {first} to {last} were lost before they were read, "
        f"{last - first + 1} in all"
        for topic, partition, first, last in rows
    ]
