"""The mark of a consumer group that is being deleted, and how those who write for a group heed it.

A transaction that begins work for a group (a claim, an import) holds the group's lock, shared, and then looks
for the mark. A deletion sets the mark while it holds the same lock alone. So every such transaction either
has ended before the mark is set, or sees it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.errors import UserError

if TYPE_CHECKING:
    import psycopg

LOCK = 0x67726F75
"""First key of the advisory lock: "grou" in ASCII; the second one is a hash of the group."""

NOT_MARKED = "NOT EXISTS (SELECT FROM group_deletions WHERE consumer_group = %(group)s)"
"""A condition for a statement that must not write for a marked group; only valid under the shared lock."""

_SHARE = "SELECT pg_advisory_xact_lock_shared(%s, hashtext(%s))"
_ALONE = "SELECT pg_advisory_xact_lock(%s, hashtext(%s))"
_MARKED = "SELECT begun_at FROM group_deletions WHERE consumer_group = %s"
_SET = "INSERT INTO group_deletions (consumer_group) VALUES (%s) ON CONFLICT DO NOTHING"
_REMOVE = "DELETE FROM group_deletions WHERE consumer_group = %s"


def share_lock(connection: psycopg.Connection, group: str) -> None:
    """Keep the group from being marked until the transaction ends."""
    connection.execute(_SHARE, [LOCK, group])


def is_marked(connection: psycopg.Connection, group: str) -> bool:
    """Return whether the group is being deleted."""
    return connection.execute(_MARKED, [group]).fetchone() is not None


def being_deleted(group: str) -> UserError:
    """Return the error for work that a marked group does not allow."""
    return UserError(
        f"group {group} is being deleted: give another --group, or finish with "
        f"`cryptometrics groups delete {group}` first"
    )


def refuse_marked(connection: psycopg.Connection, group: str) -> None:
    """Raise UserError if the group is being deleted; whoever calls this holds a lock that the mark needs."""
    if is_marked(connection, group):
        raise being_deleted(group)


def begin_work(connection: psycopg.Connection, group: str) -> None:
    """Keep the group from being marked until the transaction ends; raise UserError if it is marked already.

    The lock comes first, in a statement of its own: the next one then sees all that was committed before.
    """
    share_lock(connection, group)
    refuse_marked(connection, group)


def set_mark(connection: psycopg.Connection, group: str) -> None:
    """Mark the group once all transactions that began work for it have ended."""
    connection.execute(_ALONE, [LOCK, group])
    connection.execute(_SET, [group])


def remove_mark(connection: psycopg.Connection, group: str) -> None:
    """Allow the name to be used again."""
    connection.execute(_REMOVE, [group])
