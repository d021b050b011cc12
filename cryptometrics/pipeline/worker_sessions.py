"""A worker's database sessions: one writes, one loads the past meanwhile, and one updates the index."""

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
from cryptometrics.alerts.channels import Recipients
from cryptometrics.pipeline.alerting import Alerting
from cryptometrics.pipeline.calculator import Calculator
from cryptometrics.pipeline.writer import BatchWriter
from cryptometrics.store.connection import connect_once
from cryptometrics.store.database_errors import one_line
from cryptometrics.store.partition_claims import Backend, backend_of
from cryptometrics.store.worker_past import StoredPast, summarize

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptometrics.config import Settings
    from cryptometrics.pipeline.options import WorkerOptions
    from cryptometrics.pipeline.worker_report import WorkerTotals
    from cryptometrics.store.partition_claims import GroupTopic

STATEMENT_TIMEOUT = "60s"
LOCK_TIMEOUT = "10s"
IDLE_TIMEOUT = "5s"
SEND_BYTES = 4 * 1024 * 1024
"""Send buffer of a Unix socket. A batch that fits leaves in one piece; after each further piece the writer
would have to reacquire the GIL while the server waits."""
CANCEL_S = 2.0
"""Limit for cancelling an update of the index."""
RETIRE_S = 2.0
"""Limit for the writer to finish its transaction before it is abandoned."""


@dataclass
class Database:
    """The sessions, with the state calculated from them; after a doubt, a new Database replaces it."""

    past: StoredPast
    calculator: Calculator
    writer: BatchWriter
    index_updater: IndexUpdater
    backend: Backend
    """The writing session; the next owner of a partition ends it if it is suspended in a transaction."""

    @classmethod
    def connect(
        cls, settings: Settings, topic: GroupTopic, options: WorkerOptions, totals: WorkerTotals
    ) -> Self:
        """Open the sessions that read and write, and start the calculator; raise psycopg's errors."""
        uri = settings.postgres()
        reading, writing = connect_once(uri), connect_once(uri)
        for connection in (reading, writing):
            connection.execute(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'".encode())
            connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'".encode())
        # Its only transactions are claims: a worker suspended in one must not block the next owner.
        reading.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_TIMEOUT}'".encode())
        # A batch's statements run again and again: planning each anew would cost more than running it.
        writing.execute("SET plan_cache_mode = force_generic_plan")
        _widen(writing)
        backend = backend_of(writing)
        past = StoredPast(reading, topic.group)
        alerting = None
        if options.rules:
            recipients = Recipients(settings.has_webhook, options.channels)
            alerting = Alerting(options.rules, past.alert_states, recipients)
        calculator = Calculator(options.group, options.session, past, alerting)
        writer = BatchWriter(topic, writing, totals)
        return cls(past, calculator, writer, IndexUpdater(uri), backend)

    @property
    def connection(self) -> psycopg.Connection:
        """The reading session."""
        return self.past.connection

    def close(self) -> None:
        """Close all sessions; a transaction already running may still commit."""
        self.index_updater.close()
        self.writer.retire(RETIRE_S)
        self.connection.close()


def _widen(connection: psycopg.Connection) -> None:
    """Enlarge the send buffer of a Unix socket; TCP adjusts its own."""
    if connection.info.host.startswith("/"):
        with (
            socket.socket(fileno=os.dup(connection.fileno())) as sending,
            contextlib.suppress(OSError),  # a system with a lower limit may refuse, which does no harm
        ):
            sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)


class IndexUpdater:
    """Updates the BRIN index of requested days in a background thread, over its own session.

    The index only makes reads faster, and an update takes a second after a million ticks, so nothing waits
    for it. The next request repeats what failed.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._days: set[str] = set()
        self._changed = threading.Condition()
        self._retired = False
        self._connection: psycopg.Connection | None = None
        self._thread: threading.Thread | None = None

    def request(self, days: Iterable[str]) -> None:
        """Queue days, written as 2026-01-31."""
        with self._changed:
            self._days.update(days)
            if self._days and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="index-updater", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Cancel the running update and end the thread; the next owner repeats the update."""
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
        """Wait for days; return an empty set at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._retired or self._days)
            days, self._days = self._days, set()
            return set() if self._retired else days

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
