"""Claim partitions, and read how far each was read: the table `consumer_offsets`.

A claim raises the partition's epoch, and a writer must hold the current one. So a worker that was suspended
and wakes up after another claim cannot write any more: it is fenced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import errors

from cryptometrics import log
from cryptometrics.errors import UserError
from cryptometrics.store import group_mark
from cryptometrics.store.group_mark import NOT_MARKED
from cryptometrics.store.text_encoding import storable

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

CLAIM_LOCK_TIMEOUT_MS = 2000
"""Wait for the lock on a partition's row, before the session that holds it is terminated."""


@dataclass(frozen=True)
class GroupTopic:
    """A consumer group on one topic; the topic's id distinguishes it from a later one of the same name."""

    group: str
    name: str
    id: str


@dataclass(frozen=True)
class Backend:
    """A database session; its start time distinguishes it from a later one with the same process id."""

    pid: int
    started: datetime


@dataclass(frozen=True)
class Claim:
    """The right to write the outcomes of a partition, from `next_offset` on."""

    partition: int
    epoch: int
    next_offset: int


@dataclass(frozen=True)
class StoredOffset:
    """The next offset of a partition, and the id of the topic that it belongs to."""

    topic_id: str
    next_offset: int


_BACKEND = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"

_STORED = """
SELECT topic_id, next_offset FROM consumer_offsets
WHERE consumer_group = %(group)s AND topic = %(topic)s AND kafka_partition = %(partition)s
"""

_CLAIM = f"""
INSERT INTO consumer_offsets AS o
    (consumer_group, topic, kafka_partition, topic_id, first_offset, next_offset,
     epoch, owner, backend_pid, backend_start)
SELECT %(group)s, %(topic)s, %(partition)s, %(topic_id)s, %(first)s, %(first)s,
       1, %(owner)s, %(pid)s, %(started)s
WHERE {NOT_MARKED}
ON CONFLICT (consumer_group, topic, kafka_partition) DO UPDATE
SET epoch = o.epoch + 1, owner = excluded.owner, backend_pid = excluded.backend_pid,
    backend_start = excluded.backend_start, updated_at = now()
RETURNING epoch, next_offset
"""

_RENEW = """
UPDATE consumer_offsets SET backend_pid = %(pid)s, backend_start = %(started)s
WHERE consumer_group = %(group)s AND topic = %(topic)s AND kafka_partition = %(partition)s
  AND epoch = %(epoch)s
RETURNING epoch, next_offset
"""

# Process ids are reused, so the start time must match as well.
_END_OWNER = """
SELECT pg_terminate_backend(a.pid)
FROM consumer_offsets o JOIN pg_stat_activity a ON a.pid = o.backend_pid AND a.backend_start = o.backend_start
WHERE o.consumer_group = %(group)s AND o.topic = %(topic)s AND o.kafka_partition = %(partition)s
"""

_REGISTER = """
INSERT INTO consumer_offsets
    (consumer_group, topic, kafka_partition, topic_id, first_offset, next_offset,
     epoch, owner, backend_pid, backend_start)
SELECT %(group)s, %(topic)s, held.kafka_partition, %(topic_id)s, held.oldest, held.oldest, 0, '', 0, now()
FROM unnest(%(partitions)s::int[], %(oldest)s::bigint[]) AS held (kafka_partition, oldest)
WHERE NOT EXISTS (SELECT FROM consumer_offsets WHERE consumer_group = %(group)s AND topic = %(topic)s)
ON CONFLICT DO NOTHING
"""

# The closed books of a recreated topic are named NAME@ID.
_OTHER_TOPIC = """
SELECT topic FROM consumer_offsets WHERE consumer_group = %s AND split_part(topic, '@', 1) <> %s LIMIT 1
"""

_REGISTERED = "SELECT FROM consumer_offsets WHERE consumer_group = %s AND topic = %s LIMIT 1"

_NEXT_OFFSETS = """
SELECT kafka_partition, next_offset FROM consumer_offsets
WHERE consumer_group = %s AND topic = %s AND topic_id = %s
"""


def backend_of(connection: psycopg.Connection) -> Backend:
    """Return the database session of a connection."""
    row = connection.execute(_BACKEND).fetchone()
    assert row is not None  # noqa: S101  (the own session is always listed)
    return Backend(*row)


def refuse_other_topic(connection: psycopg.Connection, topic: GroupTopic) -> None:
    """Raise UserError if the group has read another topic, with which its offsets would be confused."""
    row = connection.execute(_OTHER_TOPIC, [topic.group, topic.name]).fetchone()
    if row:
        raise UserError(
            f"group {topic.group} has read the topic {row[0]}, not {topic.name}: give another --group"
        )


def stored(connection: psycopg.Connection, topic: GroupTopic, partition: int) -> StoredOffset | None:
    """Return the next offset of a partition; None if the group has never claimed it."""
    row = connection.execute(_STORED, _key(topic, partition)).fetchone()
    return None if row is None else StoredOffset(*row)


def next_offsets(connection: psycopg.Connection, topic: GroupTopic) -> dict[int, int]:
    """Return the next offset of each partition that the group has claimed so far.

    Offsets of another topic with the same name are ignored.
    """
    values = [topic.group, topic.name, topic.id]
    return dict(connection.execute(_NEXT_OFFSETS, values).fetchall())


def register(connection: psycopg.Connection, topic: GroupTopic, oldest: dict[int, int]) -> None:
    """Register all partitions of the topic for a new group, so that partitions added later count as new.

    Raises UserError if the group is being deleted.
    """
    values = {
        "group": topic.group,
        "topic": topic.name,
        "topic_id": topic.id,
        "partitions": list(oldest),
        "oldest": list(oldest.values()),
    }
    with connection.transaction():
        group_mark.begin_work(connection, topic.group)
        connection.execute(_REGISTER, values)


def refuse_deleted(connection: psycopg.Connection, topic: GroupTopic) -> None:
    """Raise UserError if nothing is registered for the group: it was deleted since its worker began."""
    if connection.execute(_REGISTERED, [topic.group, topic.name]).fetchone() is None:
        group_mark.refuse_marked(connection, topic.group)
        raise UserError(
            f"group {topic.group} was deleted while this worker ran: start it again to read the topic anew"
        )


def claim(
    connection: psycopg.Connection,
    topic: GroupTopic,
    partition: int,
    first: int,
    owner: str,
    writer: Backend,
) -> Claim:
    """Take a partition over from its owner, and return the claim.

    first: the first offset of a partition that the group has not claimed before.
    writer: the session that will write; the next claimant terminates it if it holds the lock for too long.

    A worker that was suspended during COPY holds the row's lock, and no time-out of the server ends it.
    So its session is terminated after two seconds.

    Raises UserError if the group is being deleted.
    """
    values = _key(topic, partition) | {
        "topic_id": topic.id,
        "first": first,
        "owner": storable(connection, owner),
        "pid": writer.pid,
        "started": writer.started,
    }
    row = _not_stalled(connection, _CLAIM, values)
    if row is None:
        raise group_mark.being_deleted(topic.group)
    return Claim(partition, *row)


def renew(
    connection: psycopg.Connection, topic: GroupTopic, partition: int, epoch: int, writer: Backend
) -> Claim | None:
    """Renew a claim for a new session; return it with the stored offset, or None if it is lost.

    If the previous session still holds the row's lock, because a batch got stuck, it is terminated.
    """
    values = _key(topic, partition) | {"epoch": epoch, "pid": writer.pid, "started": writer.started}
    row = _not_stalled(connection, _RENEW, values)
    return None if row is None else Claim(partition, *row)


def _not_stalled(
    connection: psycopg.Connection, statement: str, values: dict[str, object]
) -> tuple[int, int] | None:
    """Change a partition's row, and terminate a session that holds its lock for too long."""
    try:
        return _at_once(connection, statement, values)
    except errors.LockNotAvailable:
        ended = connection.execute(_END_OWNER, values).fetchall()
        log.get_logger().warning("stalled_owner_ended", partition=values["partition"], sessions=len(ended))
        return _at_once(connection, statement, values)


def _at_once(
    connection: psycopg.Connection, statement: str, values: dict[str, object]
) -> tuple[int, int] | None:
    with connection.transaction():
        connection.execute("SELECT set_config('lock_timeout', %s, true)", [f"{CLAIM_LOCK_TIMEOUT_MS}ms"])
        group_mark.share_lock(connection, str(values["group"]))
        return connection.execute(statement.encode(), values).fetchone()


def _key(topic: GroupTopic, partition: int) -> dict[str, object]:
    return {"group": topic.group, "topic": topic.name, "partition": partition}
