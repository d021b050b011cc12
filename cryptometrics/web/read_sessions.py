"""A few sessions that read, shared by all requests, and one more for each change."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import psycopg

from cryptometrics.errors import ServiceUnavailableError
from cryptometrics.store.connection import snapshot
from cryptometrics.store.reader_session import connect_reader_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.config import Settings

SESSIONS = 4
BUSY_S = 5.0
"""How long a request waits for a session."""
STATEMENT_TIMEOUT_S = 10.0


class ReadSessions:
    """Lends sessions to requests, each to one at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._free: list[psycopg.Connection] = []
        self._allowed = threading.BoundedSemaphore(SESSIONS)

    @contextlib.contextmanager
    def reading(self) -> Iterator[psycopg.Connection]:
        """Lend a session; all reads within the block are of one snapshot."""
        with self.session() as connection, snapshot(connection):
            yield connection

    @contextlib.contextmanager
    def changing(self) -> Iterator[psycopg.Connection]:
        """Lend a session in one transaction that may write: by the functions that the reader may call."""
        with self.session() as connection:
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            connection.read_only = False
            with connection.transaction():
                yield connection

    @contextlib.contextmanager
    def session(self) -> Iterator[psycopg.Connection]:
        """Lend a session; raise ServiceUnavailableError if none is free in time."""
        if not self._allowed.acquire(timeout=BUSY_S):
            raise ServiceUnavailableError("all database sessions of this server are busy")
        try:
            connection = self._take()
            try:
                yield connection
            except psycopg.OperationalError:
                connection.close()
                raise
            finally:
                if not connection.closed:
                    self._free.append(connection)
        finally:
            self._allowed.release()

    def _take(self) -> psycopg.Connection:
        """Return a session that works: one that a restart of PostgreSQL has ended is replaced."""
        with contextlib.suppress(IndexError):
            while connection := self._free.pop():
                try:
                    connection.execute("SELECT")
                except psycopg.Error:
                    connection.close()
                else:
                    return connection
        return connect_reader_once(self._settings, statement_timeout_s=STATEMENT_TIMEOUT_S)

    def close(self) -> None:
        """Close the sessions that nobody uses."""
        with contextlib.suppress(IndexError):
            while connection := self._free.pop():
                connection.close()
