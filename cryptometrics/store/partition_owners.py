"""Look up the reader of each partition, its next offset, and the count of each outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

_OWNED = """
SELECT topic, kafka_partition AS partition, next_offset, owner, updated_at, metrics, rejected, gaps,
       duplicates, holes
FROM consumer_offsets WHERE consumer_group = %s AND ended_at IS NULL ORDER BY topic, kafka_partition
"""


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """A partition of the topic: its last owner, its next offset and the outcomes so far."""

    topic: str
    partition: int
    next_offset: int
    owner: str
    updated_at: datetime
    metrics: int
    rejected: int
    gaps: int
    duplicates: int
    holes: int


def owned_partitions(connection: psycopg.Connection, group: str) -> list[PartitionProgress]:
    """Return the partitions of a group."""
    with connection.cursor(row_factory=class_row(PartitionProgress)) as cursor:
        return cursor.execute(_OWNED, [group]).fetchall()
