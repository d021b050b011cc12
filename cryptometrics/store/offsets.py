"""Who owns which partition of the topic, and where its reading goes on: the table `consumer_offsets`.

A claim raises the partition's epoch. Whoever writes must hold the epoch it claimed, so a worker that was
stopped and wakes up late can write nothing more: it is fenced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import errors

from cryptometrics import log
from cryptometrics.errors import UserError

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

CLAIM_LOCK_TIMEOUT_MS = 2000
"""How long a claim waits for the row of a partition before it ends the session that holds it."""


@dataclass(frozen=True)
class GroupTopic:
    """A consumer group on one topic; the topic's id distinguishes it from a later one of the same name."""

    group: str
    name: str
    id: str


@dataclass(frozen=True)
class Backend:
    """A database session, told apart by its start time from a later one of the same process id."""

    pid: int
    started: datetime


@dataclass(frozen=True)
class Claim:
    """The right to write what is read from a partition, and where the reading goes on."""

    partition: int
    epoch: int
    next_offset: int


@dataclass(frozen=True)
class StoredOffset:
    """How far a group has read a partition, and of which topic of that name."""

    topic_id: str
    next_offset: int


_BACKEND = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"

_STORED = """
SELECT topic_id, next_offset FROM consumer_offsets
WHERE consumer_group = %(group)s AND topic = %(topic)s AND kafka_partition = %(partition)s
"""

_CLAIM = """
INSERT INTO consumer_offsets AS o
    (consumer_group, topic, kafka_partition, topic_id, first_offset, next_offset,
     epoch, owner, backend_pid, backend_start)
VALUES (%(group)s, %(topic)s, %(partition)s, %(topic_id)s, %(first)s, %(first)s,
        1, %(owner)s, %(pid)s, %(started)s)
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

# Both the process id and the start must match: ids are used again.
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

# Closed books of a topic that was made again are called NAME@ID.
_OTHER_TOPIC = """
SELECT topic FROM consumer_offsets WHERE consumer_group = %s AND split_part(topic, '@', 1) <> %s LIMIT 1
"""

_NEXT_OFFSETS = """
SELECT kafka_partition, next_offset FROM consumer_offsets
WHERE consumer_group = %s AND topic = %s AND topic_id = %s
"""


def backend_of(connection: psycopg.Connection) -> Backend:
    """Return which database session a connection is."""
    row = connection.execute(_BACKEND).fetchone()
    assert row is not None  # noqa: S101  (one's own session is always listed)
    return Backend(*row)


def refuse_other_topic(connection: psycopg.Connection, topic: GroupTopic) -> None:
    """Raise UserError where the group has read another topic: its offsets would mean two things."""
    row = connection.execute(_OTHER_TOPIC, [topic.group, topic.name]).fetchone()
    if row:
        raise UserError(
            f"group {topic.group} has read the topic {row[0]}, not {topic.name}: give another --group"
        )


def stored(connection: psycopg.Connection, topic: GroupTopic, partition: int) -> StoredOffset | None:
    """Return how far a partition has been read, None where the group has never heard of it."""
    row = connection.execute(_STORED, _key(topic, partition)).fetchone()
    return None if row is None else StoredOffset(*row)


def next_offsets(connection: psycopg.Connection, topic: GroupTopic) -> dict[int, int]:
    """Return the next offset of each partition that the group has claimed so far.

    Of this topic only: offsets of one that was made anew under its name say nothing about it.
    """
    values = [topic.group, topic.name, topic.id]
    return dict(connection.execute(_NEXT_OFFSETS, values).fetchall())


def register(connection: psycopg.Connection, topic: GroupTopic, oldest: dict[int, int]) -> None:
    """Note all partitions of the topic for a group that begins, so that one made later is seen as new."""
    connection.execute(
        _REGISTER,
        {
            "group": topic.group,
            "topic": topic.name,
            "topic_id": topic.id,
            "partitions": list(oldest),
            "oldest": list(oldest.values()),
        },
    )


def claim(
    connection: psycopg.Connection,
    topic: GroupTopic,
    partition: int,
    first: int,
    owner: str,
    writer: Backend,
) -> Claim:
    """Take a partition over from whoever had it, and return where to go on.

    first: where the books of a partition begin that has none yet.
    writer: the session that will write, for the next claimant to end if it holds the lock and sleeps.
    A worker that was stopped in mid-COPY holds the row's lock, and no time-out of the server ends it; so
    after two seconds its session is ended.
    """
    values = _key(topic, partition) | {
        "topic_id": topic.id,
        "first": first,
        "owner": owner,
        "pid": writer.pid,
        "started": writer.started,
    }
    row = _not_stalled(connection, _CLAIM, values)
    assert row is not None  # noqa: S101  (an upsert returns its row)
    return Claim(partition, *row)


def renew(
    connection: psycopg.Connection, topic: GroupTopic, partition: int, epoch: int, writer: Backend
) -> Claim | None:
    """Confirm a claim under a new session: return it with the offset that is stored, None when it is lost.

    The session before may still hold the row's lock, if a batch was stuck in it; it is ended then.
    """
    values = _key(topic, partition) | {"epoch": epoch, "pid": writer.pid, "started": writer.started}
    row = _not_stalled(connection, _RENEW, values)
    return None if row is None else Claim(partition, *row)


def _not_stalled(
    connection: psycopg.Connection, statement: str, values: dict[str, object]
) -> tuple[int, int] | None:
    """Execute what changes a partition's row; whoever holds its lock for too long is ended."""
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
        return connection.execute(statement.encode(), values).fetchone()


def _key(topic: GroupTopic, partition: int) -> dict[str, object]:
    return {"group": topic.group, "topic": topic.name, "partition": partition}
