"""The lock that makes one follower of a group the active one.

It belongs to a database session, and the follower does all its writing over that session. When the session
ends, so does its right to write. A holder that is suspended keeps its session, so a standby terminates it:
the holder sends a statement several times a second, and a session that waits for its client for longer has
none that is alive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics import log
from cryptometrics.store.group_mark import refuse_marked

if TYPE_CHECKING:
    import psycopg

LOCK = 0x7269736B
"""First key of the advisory lock: "risk" in ASCII; the second one is a hash of the group."""
STALLED_S = 1.2
"""Seconds without a statement after which a holder counts as suspended."""

_TAKE = "SELECT pg_try_advisory_lock(%s, hashtext(%s))"

# The server waits for the client also between two messages of one statement, when it is not idle.
_END_STALLED = """
SELECT a.pid, pg_terminate_backend(a.pid)
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory'
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid, l.objid, l.objsubid) = (%s::int8::oid, (hashtext(%s)::int8 & 4294967295)::oid, 2)
  AND l.granted AND a.pid <> pg_backend_pid() AND a.wait_event_type = 'Client'
  AND a.state_change < clock_timestamp() - make_interval(secs => %s)
"""


def take(connection: psycopg.Connection, group: str) -> bool:
    """Try to become the group's active follower until the session ends.

    Raises UserError if the group is being deleted. The lock comes first: a deletion holds it from before the
    mark is set.
    """
    if not hold(connection, group):
        return False
    refuse_marked(connection, group)
    return True


def hold(connection: psycopg.Connection, group: str) -> bool:
    """Try to keep every follower of the group from writing until the session ends."""
    row = connection.execute(_TAKE, [LOCK, group]).fetchone()
    return row is not None and bool(row[0])


def end_stalled(connection: psycopg.Connection, group: str) -> None:
    """Terminate the session of an active follower that has stalled, so that the lock becomes free."""
    for pid, ended in connection.execute(_END_STALLED, [LOCK, group, STALLED_S]):
        log.get_logger(group=group).warning("stalled_follower_ended", backend=pid, ended=ended)
