"""The mark of `verify --since-last`: how far a group was proved, and what the next run starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cryptometrics.verify.findings import TopicPartition
from cryptometrics.verify.stored_outcomes import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cryptometrics.verify.offset_books import GroupBooks, OffsetBook

_GROUP = "SELECT verified_at, with_topic, pruned_rows, state FROM verified_groups WHERE consumer_group = %s"
_COLUMNS = (
    *("topic", "kafka_partition", "topic_id", "first_offset", "next_offset"),
    *OUTCOMES,
    "digest",
)
_OFFSETS = f"""
SELECT {", ".join(_COLUMNS)} FROM verified_offsets WHERE consumer_group = %s ORDER BY topic, kafka_partition
"""  # noqa: S608  (constants)
_SAVE_GROUP = """
INSERT INTO verified_groups (consumer_group, verified_at, with_topic, pruned_rows, state)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (consumer_group) DO UPDATE SET verified_at = EXCLUDED.verified_at,
    with_topic = EXCLUDED.with_topic, pruned_rows = EXCLUDED.pruned_rows, state = EXCLUDED.state
"""
_DROP_OFFSETS = "DELETE FROM verified_offsets WHERE consumer_group = %s"
_SAVE_OFFSETS = f"""
INSERT INTO verified_offsets (consumer_group, {", ".join(_COLUMNS)})
VALUES (%s, {", ".join(["%s"] * len(_COLUMNS))})
"""  # noqa: S608  (constants)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionMark:
    """The offsets of a partition that were proved, and their outcomes."""

    topic: str
    kafka_partition: int
    topic_id: str
    first_offset: int
    next_offset: int
    metrics: int
    rejected: int
    gaps: int
    duplicates: int
    holes: int
    digest: bytes

    @property
    def topic_partition(self) -> TopicPartition:
        """The partition."""
        return TopicPartition(self.topic, self.kafka_partition)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What was proved of a group."""

    verified_at: datetime
    with_topic: bool
    """Whether the messages were compared, too: in all runs since the first mark."""
    pruned_rows: int
    partitions: list[PartitionMark]
    state: dict[str, Any]
    """What the rows amount to, as `RowState.dump` returns it."""

    def by_partition(self) -> Mapping[TopicPartition, PartitionMark]:
        """Return the marks by partition."""
        return {mark.topic_partition: mark for mark in self.partitions}

    def does_not_hold(self, books: GroupBooks) -> str | None:
        """Return why a verification cannot start from here; None if it can."""
        if self.pruned_rows != pruned_rows(books):
            return "rows were pruned since the last one"
        by_partition = {book.topic_partition: book for book in books.books}
        for mark in self.partitions:
            book = by_partition.get(mark.topic_partition)
            if book is None or book.topic_id != mark.topic_id or book.first_offset != mark.first_offset:
                return f"{mark.topic_partition} is not read from where it was"
            if book.next_offset < mark.next_offset:
                return f"{mark.topic_partition} was read less far than it was"
        known = {mark.topic_id for mark in self.partitions}
        if any(book.topic_id not in known for book in books.books):
            return "the topic was made again"
        return None


def pruned_rows(books: GroupBooks) -> int:
    """Return how many rows of a group were pruned."""
    return sum(day.rows for day in books.pruned)


def partition_mark(book: OffsetBook, digest: bytes) -> PartitionMark:
    """Return the mark of a partition that was proved up to its next offset."""
    return PartitionMark(
        topic=book.topic,
        kafka_partition=book.partition,
        topic_id=book.topic_id,
        first_offset=book.first_offset,
        next_offset=book.next_offset,
        digest=digest,
        metrics=book.metrics,
        rejected=book.rejected,
        gaps=book.gaps,
        duplicates=book.duplicates,
        holes=book.holes,
    )


def load_mark(connection: psycopg.Connection, group: str) -> Mark | None:
    """Return the mark of a group; None if there is none."""
    found = connection.execute(_GROUP, [group]).fetchone()
    if found is None:
        return None
    verified_at, with_topic, pruned, state = found
    with connection.cursor(row_factory=class_row(PartitionMark)) as cursor:
        partitions = cursor.execute(_OFFSETS, [group]).fetchall()
    return Mark(
        verified_at=verified_at, with_topic=with_topic, pruned_rows=pruned, partitions=partitions, state=state
    )


def save_mark(connection: psycopg.Connection, group: str, mark: Mark) -> bool:
    """Keep the mark of a group, in place of the one before; return whether the user may write it."""
    connection.read_only = False
    try:
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute(
                _SAVE_GROUP, [group, mark.verified_at, mark.with_topic, mark.pruned_rows, Jsonb(mark.state)]
            )
            cursor.execute(_DROP_OFFSETS, [group])
            cursor.executemany(
                _SAVE_OFFSETS,
                [[group, *(getattr(part, name) for name in _COLUMNS)] for part in mark.partitions],
            )
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction):
        return False
    return True
