"""Recognize a pooler in transaction mode, which gives each transaction another database session.

Settings, advisory locks and prepared statements belong to a session. In its session mode a pooler keeps one
session for each client, and everything works.
"""

from __future__ import annotations

import contextlib
import select
import time
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER_S = 2.0
"""Limit for the second client: in session mode, other clients may have all sessions of the pool."""
LOOKS = 5
"""How often to look: a pooler that takes its sessions in turn may come back to the same one."""

# With the start, because servers behind one pooler may use the same process id.
_SESSION = "SELECT pid, extract(epoch FROM backend_start) FROM pg_stat_activity WHERE pid = pg_backend_pid()"


def loses_sessions(connection: psycopg.Connection, connect: Callable[[], psycopg.Connection]) -> bool:
    """Return whether a pooler gives the session of this connection to other clients.

    connection: in autocommit and idle. connect: opens a second connection in the same way.
    """
    own = _session(connection)
    try:
        with contextlib.closing(connect()) as other:
            # An idle client in transaction mode has no session, so the next client gets the one that it had.
            if _session_within(other, ANSWER_S, _SESSION) == own:
                return True
            # The pool has two sessions and one is held, so the pooler must keep to the first one.
            _session_within(other, ANSWER_S, f"BEGIN; {_SESSION}")
            return any(_session(connection) != own for _ in range(LOOKS))
    except psycopg.OperationalError:
        return False  # the pooler has no room for a second client


def _session(connection: psycopg.Connection) -> tuple[str, ...] | None:
    row = connection.execute(_SESSION.encode()).fetchone()
    return None if row is None else tuple(map(str, row))


def _session_within(connection: psycopg.Connection, limit: float, query: str) -> tuple[str, ...] | None:
    """Return the session of a connection; None if the pooler has none for it within the limit."""
    raw = connection.pgconn
    raw.send_query(query.encode())
    deadline = time.monotonic() + limit
    session = None
    while True:
        raw.flush()
        while raw.is_busy():
            if not select.select([raw.socket], [], [], max(deadline - time.monotonic(), 0))[0]:
                return None
            raw.consume_input()
        result = raw.get_result()
        if result is None:
            return session
        if result.ntuples:
            session = tuple((result.get_value(0, column) or b"").decode() for column in range(result.nfields))
