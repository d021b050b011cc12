"""Poll snapshots; keep the last one while PostgreSQL is down, and reconnect."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

import psycopg

from cryptometrics import retry
from cryptometrics.kafka.lag import ANSWER_S, Lag
from cryptometrics.store.connection import connect, connect_once
from cryptometrics.store.database_errors import explaining, is_transient, one_line
from cryptometrics.store.live_snapshot import SnapshotReader
from cryptometrics.watch.history import History
from cryptometrics.watch.screen_data import ScreenData

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptometrics.config import Settings
    from cryptometrics.store.live_snapshot import Snapshot

STATEMENT_TIMEOUT = "5s"


class Poller:
    """Polls the screen's data; a context manager."""

    def __init__(
        self,
        settings: Settings,
        group: Callable[[psycopg.Connection], str],
        pairs: Sequence[str] = (),
        notice: Callable[[BaseException, float], None] | None = None,
        *,
        venue: str | None = None,
    ) -> None:
        """Connect, and poll the group that `group` returns: all its markets, or those of `pairs` or `venue`.

        notice: called while the start waits for PostgreSQL. Raises the errors of `connect` and `group`.
        """
        self._settings = settings
        self._pairs = pairs
        self._venue = venue
        self._connection = connect(settings, notice=notice)
        with explaining():
            self.group = group(self._connection)
            self._reader = self._make_reader()
        self._lag = Lag(settings)
        self._history = History()
        self._last: Snapshot | None = None
        self._failures = 0
        self._next_attempt = 0.0
        self._trouble: str | None = None
        self._polling = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A query that still runs in the thread of a screen uses the connection: it ends with the process.
        if self._polling.acquire(blocking=False):
            self._connection.close()

    def poll(self) -> ScreenData:
        """Return the newest data; raise UserError if there is none."""
        with self._polling:
            return self._poll()

    def _poll(self) -> ScreenData:
        if time.monotonic() >= self._next_attempt:
            try:
                self._read()
            except psycopg.Error as error:
                if self._last is None or not is_transient(error):
                    with explaining():
                        raise
                self._failures += 1
                self._next_attempt = time.monotonic() + retry.wait_after(self._failures)
                self._trouble = f"PostgreSQL: {one_line(error)}; the data is old"
        assert self._last is not None  # noqa: S101  (otherwise the error was raised)
        kafka = f"Kafka: {self._lag.trouble}; the lag is unknown" if self._lag.trouble else None
        return ScreenData(
            self._last,
            self._history.copy(),
            self._lag.known,
            self._trouble or kafka,
            open_transactions=dict(self._lag.open_transactions),
        )

    def wait_for_lag(self) -> None:
        """Wait until Kafka has answered, up to the time limit."""
        self._lag.listen(ANSWER_S + 1)

    def _read(self) -> None:
        if self._failures:
            self._connection.close()
            self._connection = connect_once(self._settings.postgres())
            self._reader = self._make_reader()
        self._lag.listen()
        places = [(part.topic, part.partition) for part in self._last.partitions] if self._last else []
        asked = self._lag.ask(places)
        snapshot = self._reader.read()
        if asked:
            self._lag.compare(snapshot.next_offsets)
        if self._last is None or not self._last.rows:
            self._history.begin(snapshot, self._reader.recent_minutes())
        self._history.add(snapshot)
        self._last, self._failures, self._trouble = snapshot, 0, None

    def _make_reader(self) -> SnapshotReader:
        self._connection.execute(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'".encode())
        return SnapshotReader(self._connection, self.group, self._pairs, self._venue)
