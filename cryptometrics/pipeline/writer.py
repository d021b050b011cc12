"""The thread that writes batches, one after the other, while the next one is being calculated."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptometrics.store import batch as store

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

    from cryptometrics.pipeline.calculate import Work
    from cryptometrics.store.offsets import Reader

IN_FLIGHT = 2
"""Batches that may wait for the database; beyond them the reading waits."""


@dataclass
class Totals:
    """What was committed since the start."""

    metrics: int = 0
    rejected: int = 0
    gaps: int = 0
    duplicates: int = 0
    holes: int = 0
    late: int = 0
    batches: int = 0
    next_offsets: dict[int, int] = field(default_factory=dict)
    newest: datetime | None = None

    @property
    def offsets(self) -> int:
        """How many offsets have got their fate."""
        return self.metrics + self.rejected + self.gaps + self.duplicates + self.holes

    def add(self, work: Work) -> None:
        """Count one committed batch."""
        for partition, part in work.batch.parts.items():
            self.metrics += part.metrics
            self.rejected += part.rejected
            self.gaps += part.gaps
            self.duplicates += part.duplicates
            self.holes += part.holes
            self.next_offsets[partition] = part.next_offset
        self.late += work.late
        self.batches += 1
        self.newest = work.newest or self.newest


class Writer:
    """Writes what it is offered in order. After a failure it writes nothing more until it is begun anew."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._pending: deque[Work] = deque()
        self._changed = threading.Condition()
        self._connection: psycopg.Connection | None = None
        self._ended = False
        self.failure: Exception | None = None
        self.failed_work: Work | None = None
        self.totals = Totals()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def begin(self, connection: psycopg.Connection) -> None:
        """Write over this connection from now on; what was pending and what failed is forgotten."""
        with self._changed:
            self._pending.clear()
            self.failure = self.failed_work = None
            self._connection = connection
            self._changed.notify_all()

    def offer(self, work: Work, timeout: float) -> bool:
        """Take the batch if there is room within `timeout` seconds; a writer that has failed takes none."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.failure or len(self._pending) < IN_FLIGHT, timeout):
                return False
            if self.failure:
                return False
            self._pending.append(work)
            self._changed.notify_all()
            return True

    def drain(self, timeout: float) -> bool:
        """Wait until everything is written; return whether it is."""
        with self._changed:
            self._changed.wait_for(lambda: self.failure or not self._pending, timeout)
            return self.failure is None and not self._pending

    def in_flight(self) -> list[Work]:
        """Return what is offered and not yet known to be committed, oldest first."""
        with self._changed:
            return list(self._pending)

    def abandon(self, timeout: float) -> bool:
        """Forget what is pending and give up the connection; return whether the thread is at rest.

        A batch that is being written may still be committed: the database says so when it is asked again.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while len(self._pending) > 1:
                self._pending.pop()
            connection = self._connection
            idle = self._changed.wait_for(
                lambda: self.failure or not self._pending, max(deadline - time.monotonic(), 0)
            )
        if not idle and connection is not None:
            connection.cancel_safe(timeout=timeout)
            with self._changed:
                idle = self._changed.wait_for(lambda: self.failure or not self._pending, timeout)
        if connection is not None:
            connection.close()
        return bool(idle)

    def end(self) -> None:
        """Let the thread end."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join(timeout=5)
        if self._connection is not None:
            self._connection.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or (self._pending and not self.failure))
                if self._ended:
                    return
                work, connection = self._pending[0], self._connection
            failure: Exception | None = None
            try:
                assert connection is not None  # noqa: S101  (begun before anything is offered)
                store.write(connection, self._reader, work.batch)
            except Exception as error:  # noqa: BLE001  (whatever it is, the loop decides on it)
                failure = error
            with self._changed:
                if failure is None:
                    self._pending.popleft()
                    self.totals.add(work)
                else:
                    self.failure, self.failed_work = failure, work
                self._changed.notify_all()
