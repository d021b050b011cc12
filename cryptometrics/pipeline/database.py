"""A worker's database sessions: one writes, another reads the past meanwhile, a third minds the index."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Self

import psycopg

from cryptometrics import log
from cryptometrics.pipeline.alerting import Alerting
from cryptometrics.pipeline.calculator import Calculator
from cryptometrics.pipeline.writer import BatchWriter
from cryptometrics.store.connection import connect_once
from cryptometrics.store.database_errors import one_line
from cryptometrics.store.offsets import Backend, backend_of
from cryptometrics.store.past import StoredPast, summarize

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptometrics.config import Settings
    from cryptometrics.pipeline.options import WorkerOptions
    from cryptometrics.pipeline.progress import WorkerTotals
    from cryptometrics.store.offsets import GroupTopic

STATEMENT_TIMEOUT = "60s"
LOCK_TIMEOUT = "10s"
IDLE_TIMEOUT = "5s"
SEND_BYTES = 4 * 1024 * 1024
"""A batch goes to a local server in one piece where the system allows that: after each piece the writing
thread would have to get Python's lock back while the server waits."""
CANCEL_S = 2.0
"""How long the end waits for what is being done."""
RETIRE_S = 2.0
"""How long a writer may take to come to rest before it is left to itself."""


@dataclass
class Database:
    """Lives from one connect to the next doubt; then another one takes its place."""

    past: StoredPast
    calculator: Calculator
    writer: BatchWriter
    index_updater: IndexUpdater
    backend: Backend
    """The writing session: the next owner of a partition ends it if it holds a lock and sleeps."""

    @classmethod
    def connect(
        cls, settings: Settings, topic: GroupTopic, options: WorkerOptions, totals: WorkerTotals
    ) -> Self:
        """Open the sessions that read and write, and begin a calculation; raises psycopg's errors."""
        uri = settings.postgres()
        reading, writing = connect_once(uri), connect_once(uri)
        for connection in (reading, writing):
            connection.execute(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'".encode())
            connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'".encode())
        # Claims are its only transactions: who falls asleep in one must not keep the next owner out.
        reading.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_TIMEOUT}'".encode())
        _widen(writing)
        backend = backend_of(writing)
        past = StoredPast(reading, topic.group)
        alerting = None
        if options.rules:
            alerting = Alerting(options.rules, past.alert_states, notify=settings.has_webhook)
        calculator = Calculator(options.group, options.session, past, alerting)
        writer = BatchWriter(topic, writing, totals)
        return cls(past, calculator, writer, IndexUpdater(uri), backend)

    @property
    def connection(self) -> psycopg.Connection:
        """The session that reads."""
        return self.past.connection

    def close(self) -> None:
        """Give all up; a batch that is just being written may still be committed."""
        self.index_updater.close()
        self.writer.retire(RETIRE_S)
        self.connection.close()


def _widen(connection: psycopg.Connection) -> None:
    """Give a Unix socket room for a whole batch; over TCP the system adjusts it better by itself."""
    if connection.info.host.startswith("/"):
        with (
            socket.socket(fileno=os.dup(connection.fileno())) as sending,
            contextlib.suppress(OSError),  # a system that allows less may refuse, and nothing is lost
        ):
            sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)


class IndexUpdater:
    """Summarizes the newest blocks of the days that it is told of."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._days: set[str] = set()
        self._changed = threading.Condition()
        self._retired = False
        self._connection: psycopg.Connection | None = None
        self._thread: threading.Thread | None = None

    def request(self, days: Iterable[str]) -> None:
        """Ask for these days, as 2026-01-31."""
        with self._changed:
            self._days.update(days)
            if self._days and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="index-updater", daemon=True)
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
