"""The thread that brings the table's index up to date, in a session of its own.

The index makes reads quicker and nothing right or wrong, so neither reading nor writing waits for it: after a
million ticks of backlog it takes a second. What fails is tried again when there is news.
"""

from __future__ import annotations

import contextlib
import threading
from datetime import date
from typing import TYPE_CHECKING

import psycopg

from cryptometrics import log
from cryptometrics.store.connection import connect_once
from cryptometrics.store.database_errors import one_line
from cryptometrics.store.past import summarize

if TYPE_CHECKING:
    from collections.abc import Iterable

STATEMENT_TIMEOUT = "60s"
CANCEL_S = 2.0
"""How long the end waits for what is being done."""


class Indexing:
    """Summarizes the newest blocks of the days that it is told of."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._days: set[str] = set()
        self._changed = threading.Condition()
        self._retired = False
        self._connection: psycopg.Connection | None = None
        self._thread: threading.Thread | None = None

    def add(self, days: Iterable[str]) -> None:
        """Ask for these days, as 2026-01-31."""
        with self._changed:
            self._days.update(days)
            if self._days and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="indexing", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """End, also what is being done: whoever comes next does it."""
        with self._changed:
            self._retired = True
            self._changed.notify_all()
        if self._thread is None:
            return
        if (connection := self._connection) is not None:
            with contextlib.suppress(psycopg.Error):
                connection.cancel_safe(timeout=CANCEL_S)
        self._thread.join(CANCEL_S)

    def _run(self) -> None:
        while days := self._next():
            try:
                if self._connection is None:
                    self._connection = connect_once(self._uri)
                    self._connection.execute(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'".encode())
                summarize(self._connection, map(date.fromisoformat, days))
            except psycopg.Error as error:
                log.get_logger().debug("index_not_summarized", error=one_line(error))
                self._disconnect()
        self._disconnect()

    def _next(self) -> set[str]:
        """Wait for days; return none when there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._retired or self._days)
            days, self._days = self._days, set()
            return set() if self._retired else days

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
