"""Count and read rejected messages, and mark those that are requeued."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from psycopg.rows import class_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    import psycopg

REQUEUE_LOCK = 0x72657175657565
"""The advisory lock of a requeue: "requeue" in ASCII."""
FETCH_ROWS = 1000
"""Rows fetched in one round trip; a message may have a megabyte."""

_CHOSEN = """
    (%(group)s::text IS NULL OR consumer_group = %(group)s)
    AND (%(reason)s::text IS NULL OR reason = %(reason)s)
    AND (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s))
"""

_COUNTS = f"""
SELECT consumer_group, reason, count(*), count(requeued_at), max(recorded_at)
FROM rejected_ticks WHERE {_CHOSEN}
GROUP BY consumer_group, reason
ORDER BY count(*) DESC, consumer_group, reason
"""  # noqa: S608  (constants)

_COLUMNS = """
    id, consumer_group, topic, kafka_partition, kafka_offset, reason, detail, key, value, kafka_timestamp,
    recorded_at, requeued_at, requeue_started_at
"""

_NEWEST = f"""
SELECT {_COLUMNS} FROM rejected_ticks WHERE {_CHOSEN} ORDER BY id DESC LIMIT %(limit)s
"""  # noqa: S608  (constants)

_ALL = f"""
SELECT {_COLUMNS} FROM rejected_ticks WHERE {_CHOSEN} ORDER BY id
"""  # noqa: S608  (constants)

# `last` is the newest id at the start: a message that is rejected again must not be sent again and again.
_BEGIN = f"""
UPDATE rejected_ticks SET requeue_started_at = now()
WHERE id IN (
    SELECT id FROM rejected_ticks
    WHERE {_CHOSEN} AND id > %(after)s AND id <= %(last)s AND (requeued_at IS NULL OR %(again)s)
    ORDER BY id LIMIT %(limit)s
)
RETURNING {_COLUMNS}
"""  # noqa: S608  (constants)

_BEGUN = f"""
SELECT {_COLUMNS} FROM rejected_ticks WHERE requeue_started_at IS NOT NULL ORDER BY id LIMIT %(limit)s
"""  # noqa: S608  (constants)

_FINISH = "UPDATE rejected_ticks SET requeued_at = now(), requeue_started_at = NULL WHERE id = ANY(%s)"

_GIVE_UP = "UPDATE rejected_ticks SET requeue_started_at = NULL WHERE id = ANY(%s)"


class RejectFilter(NamedTuple):
    """A selection of rejected messages; None means any."""

    group: str | None = None
    reason: str | None = None
    ids: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class RejectCount:
    """The number of messages that a group has rejected for one reason."""

    group: str
    reason: str
    count: int
    requeued: int
    newest: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedMessage:
    """A message as it was on the topic, with the reason for its rejection."""

    id: int
    consumer_group: str
    topic: str
    kafka_partition: int
    kafka_offset: int
    reason: str
    detail: str
    key: bytes | None
    value: bytes | None
    kafka_timestamp: datetime | None
    recorded_at: datetime
    requeued_at: datetime | None
    requeue_started_at: datetime | None


def counts(connection: psycopg.Connection, chosen: RejectFilter) -> list[RejectCount]:
    """Count the messages by group and reason, most frequent first."""
    return [RejectCount(*row) for row in connection.execute(_COUNTS, chosen._asdict())]


def newest(connection: psycopg.Connection, chosen: RejectFilter, limit: int) -> list[RejectedMessage]:
    """Return the newest messages, newest first."""
    return _read(connection, _NEWEST, chosen._asdict() | {"limit": limit})


def stream(connection: psycopg.Connection, chosen: RejectFilter) -> Iterator[RejectedMessage]:
    """Yield all messages in order of rejection; `connection` must be in a transaction."""
    with connection.cursor(name="rejects", row_factory=class_row(RejectedMessage)) as cursor:
        cursor.itersize = FETCH_ROWS
        cursor.execute(_ALL, chosen._asdict())
        yield from cursor


def lock(connection: psycopg.Connection) -> bool:
    """Acquire the lock of a requeue until the connection closes; return False if another session holds it."""
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", [REQUEUE_LOCK]).fetchone()
    return bool(row and row[0])


def last_id(connection: psycopg.Connection) -> int:
    """Return the id of the newest message, 0 if there is none."""
    row = connection.execute("SELECT coalesce(max(id), 0) FROM rejected_ticks").fetchone()
    return int(row[0]) if row else 0


def begin(
    connection: psycopg.Connection, chosen: RejectFilter, *, after: int, last: int, again: bool, limit: int
) -> list[RejectedMessage]:
    """Mark the next messages with ids in (after, last] as being requeued, and return them in order of id.

    Without `again`, messages that were requeued before are skipped.
    """
    values = chosen._asdict() | {"after": after, "last": last, "again": again, "limit": limit}
    return sorted(_read(connection, _BEGIN, values), key=lambda rejected: rejected.id)


def begun(connection: psycopg.Connection, limit: int) -> list[RejectedMessage]:
    """Return the first messages that are marked as being requeued."""
    return _read(connection, _BEGUN, {"limit": limit})


def finish(connection: psycopg.Connection, ids: Sequence[int]) -> None:
    """Mark messages as requeued."""
    connection.execute(_FINISH, [list(ids)])


def give_up(connection: psycopg.Connection, ids: Sequence[int]) -> None:
    """Remove the mark from messages that did not reach Kafka."""
    connection.execute(_GIVE_UP, [list(ids)])


def _read(connection: psycopg.Connection, query: str, values: dict[str, object]) -> list[RejectedMessage]:
    with connection.cursor(row_factory=class_row(RejectedMessage)) as cursor:
        return cursor.execute(query.encode(), values).fetchall()
