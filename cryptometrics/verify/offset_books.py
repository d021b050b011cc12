"""Load the books of a group: the offsets that it read, and the rows that belong to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from cryptometrics.verify.findings import TopicPartition
from cryptometrics.verify.pruned import PrunedDay, read_pruned

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import psycopg

FIRST_OF_ALL = -(2**63)
"""Below every offset."""

# A book is closed, and its `ends` set, when the topic was recreated, or when the broker lost the newest
# records; the topic's id stays the same then.
_BOOKS = """
SELECT topic, topic_id, kafka_partition AS partition, first_offset, next_offset,
       metrics, rejected, gaps, duplicates, holes, sizes_from,
       dense_rank() OVER (ORDER BY topic_begun_at, turn)::int AS era,
       lag(ended_at) OVER (PARTITION BY kafka_partition ORDER BY ended_at) AS begins, ended_at AS ends
FROM (SELECT *, min(begun_at) OVER (PARTITION BY topic_id) AS topic_begun_at,
             row_number() OVER (PARTITION BY topic_id, kafka_partition ORDER BY begun_at) AS turn
      FROM consumer_offsets WHERE consumer_group = %(group)s) AS books
ORDER BY topic_begun_at, topic, kafka_partition
"""

ROWS = """
    SELECT m.*, b.topic, b.era, coalesce(m.kafka_offset < b.sizes_from, false) AS before_sizes
    FROM crypto_metrics m
    LEFT JOIN unnest(%(topics)s::text[], %(partitions)s::int[], %(eras)s::int[],
                     %(begins)s::timestamptz[], %(ends)s::timestamptz[], %(sizes_from)s::bigint[])
        AS b (topic, kafka_partition, era, begins, ends, sizes_from)
      ON b.kafka_partition = m.kafka_partition
     AND m.recorded_at >= coalesce(b.begins, '-infinity') AND m.recorded_at < coalesce(b.ends, 'infinity')
    WHERE m.consumer_group = %(group)s
"""
"""The rows of a group with their topic and `era`, the number of the topic among those of its name.

`before_sizes`: whether an earlier version stored the row, without sizes.

Their order on the topic is (era, kafka_partition, kafka_offset). The parameters are `GroupBooks.parameters`.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetBook:
    """A row of `consumer_offsets`: how many offsets of a partition were read, and their outcomes."""

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
    sizes_from: int
    """The first offset stored with sizes; rows before it have none."""
    era: int
    """Number of the topic among those of its name, from 1: recreated, or read again from its beginning."""
    begins: datetime | None
    ends: datetime | None
    """Rows recorded in [begins, ends) are from this topic; None means no bound."""

    @property
    def topic_partition(self) -> TopicPartition:
        """The partition that the book accounts for."""
        return TopicPartition(self.topic, self.partition)

    @property
    def offsets(self) -> int:
        """Number of offsets that must have an outcome."""
        return self.next_offset - self.first_offset


@dataclass(frozen=True, slots=True)
class GroupBooks:
    """All books of a group."""

    group: str
    books: list[OffsetBook]
    pruned: list[PrunedDay] = field(default_factory=list)
    starts: Mapping[TopicPartition, int] = field(default_factory=dict)
    """The offsets from which outcomes are read, where a mark says that those before were proved."""

    def start_of(self, book: OffsetBook) -> int:
        """Return the first offset of a book that is read."""
        return self.starts.get(book.topic_partition, book.first_offset)

    @property
    def by_number(self) -> dict[int, OffsetBook]:
        """The books by their numbers: in the order of the topics, and of their partitions."""
        return dict(enumerate(sorted(self.books, key=lambda book: (book.era, book.partition))))

    @property
    def parameters(self) -> dict[str, object]:
        """The parameters of ROWS, of every query that contains it, and of `stored_outcomes`."""
        number = {id(book): number for number, book in self.by_number.items()}
        return {
            "group": self.group,
            "numbers": [number[id(book)] for book in self.books],
            "unknown": len(self.books),
            "starts": [self.starts.get(book.topic_partition, FIRST_OF_ALL) for book in self.books],
            "topics": [book.topic for book in self.books],
            "partitions": [book.partition for book in self.books],
            "eras": [book.era for book in self.books],
            "begins": [book.begins for book in self.books],
            "ends": [book.ends for book in self.books],
            "sizes_from": [book.sizes_from for book in self.books],
            "pruned": f"{{{','.join(f'[{day}, {day}]' for day in sorted({p.day for p in self.pruned}))}}}",
        }


def read_books(connection: psycopg.Connection, group: str) -> GroupBooks:
    """Return the books of a group, the oldest topic first."""
    with connection.cursor(row_factory=class_row(OffsetBook)) as cursor:
        books = cursor.execute(_BOOKS, {"group": group}).fetchall()
    return GroupBooks(group, books, read_pruned(connection, group))
