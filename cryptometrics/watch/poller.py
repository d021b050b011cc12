"""Keeps looking: reads snapshots, goes on with the last one while PostgreSQL is away, and connects again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

import psycopg

from cryptometrics import retry
from cryptometrics.store.connection import connect, connect_once
from cryptometrics.store.database_errors import explaining, is_transient, one_line
from cryptometrics.watch.lag import ANSWER_S, Lag
from cryptometrics.watch.queries import Reader
from cryptometrics.watch.screen import Frame
from cryptometrics.watch.snapshot import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptometrics.config import Settings
    from cryptometrics.watch.snapshot import Snapshot

STATEMENT_TIMEOUT = "5s"


class View:
    """What a person looks at, kept up to date by `frame`; a context manager."""

    def __init__(
        self,
        settings: Settings,
        group: Callable[[psycopg.Connection], str],
        pairs: Sequence[str] = (),
        notice: Callable[[BaseException, float], None] | None = None,
    ) -> None:
        """Look at the group that `group` chooses once connected.

        notice: told while PostgreSQL is waited for at the start. Raises what `connect` and `group` raise.
        """
        self._settings = settings
        self._pairs = pairs
        self._connection = connect(settings, notice=notice)
        with explaining():
            self.group = group(self._connection)
            self._reader = self._make_reader()
        self._lag = Lag(settings)
        self._memory = Memory()
        self._last: Snapshot | None = None
        self._failures = 0
        self._next_attempt = 0.0
        self._trouble: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def frame(self) -> Frame:
        """Return the newest there is; raise UserError where there is nothing to see."""
        if time.monotonic() >= self._next_attempt:
            try:
                self._look()
            except psycopg.Error as error:
                if self._last is None or not is_transient(error):
                    with explaining():
                        raise
                self._failures += 1
                self._next_attempt = time.monotonic() + retry.wait_after(self._failures)
                self._trouble = f"PostgreSQL: {one_line(error)}; what you see is old"
        assert self._last is not None  # noqa: S101  (else it was raised)
        kafka = f"Kafka: {self._lag.trouble}; lag is not known" if self._lag.trouble else None
        return Frame(self._last, self._memory, self._lag.known, self._trouble or kafka)

    def wait_for_lag(self) -> None:
        """Wait until Kafka has said what the lag is, or has not said it in time."""
        self._lag.listen(ANSWER_S + 1)

    def _look(self) -> None:
        if self._failures:
            self._connection.close()
            self._connection = connect_once(self._settings.postgres())
            self._reader = self._make_reader()
        self._lag.listen()
        places = [(part.topic, part.partition) for part in self._last.partitions] if self._last else []
        asked = self._lag.ask(places)
        snapshot = self._reader.read()
        if asked:
            self._lag.compare(snapshot.partitions)
        if self._last is None or not self._last.rows:
            for pair, mids in self._reader.recall().items():
                self._memory.recall(pair, mids)
        self._memory.see(snapshot)
        self._last, self._failures, self._trouble = snapshot, 0, None

    def _make_reader(self) -> Reader:
        self._connection.execute(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'".encode())
        return Reader(self._connection, self.group, self._pairs)
