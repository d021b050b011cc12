"""The thread that writes batches, one after the other, while the next one is being calculated."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from cryptometrics.store import batch_transaction as store

if TYPE_CHECKING:
    import psycopg

    from cryptometrics.pipeline.calculator import CalculatedBatch
    from cryptometrics.pipeline.progress import WorkerTotals
    from cryptometrics.store.offsets import GroupTopic

IN_FLIGHT = 2
"""Batches that may wait for the database; beyond them the reading waits."""


class BatchWriter:
    """Writes what it is offered, in order, over a connection of its own; after a failure nothing more."""

    def __init__(self, topic: GroupTopic, connection: psycopg.Connection, totals: WorkerTotals) -> None:
        self._topic = topic
        self._connection = connection
        self._totals = totals
        self._pending: deque[CalculatedBatch] = deque()
        self._changed = threading.Condition()
        self._retired = False
        self.failure: Exception | None = None
        self.failed_work: CalculatedBatch | None = None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def offer(self, work: CalculatedBatch, timeout: float) -> bool:
        """Take the batch if there is room within `timeout` seconds; a writer that has failed takes none."""
        with self._changed:
            self._changed.wait_for(lambda: self.failure or len(self._pending) < IN_FLIGHT, timeout)
            if self.failure or len(self._pending) >= IN_FLIGHT:
                return False
            self._pending.append(work)
            self._changed.notify_all()
            return True

    def drain(self, timeout: float) -> bool:
        """Wait until everything is written; return whether it is."""
        with self._changed:
            self._changed.wait_for(lambda: self.failure or not self._pending, timeout)
            return self.failure is None and not self._pending

    def in_flight(self) -> list[CalculatedBatch]:
        """Return what is offered and not yet known to be committed, oldest first."""
        with self._changed:
            return list(self._pending)

    def resume(self) -> None:
        """Forget what failed and what came after it, and write again."""
        with self._changed:
            self._pending.clear()
            self.failure = self.failed_work = None

    def retire(self, timeout: float) -> None:
        """Begin nothing more; wait `timeout` seconds for the thread to end, which then closes its connection.

        What is being written is not stopped, and may be committed even after the wait: its guard lets it
        in only while nobody has gone on from the stored offset, and who asks the database sees it there.
        """
        with self._changed:
            self._retired = True
            self._changed.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        while (work := self._next()) is not None:
            failure: Exception | None = None
            begun = time.monotonic()
            try:
                store.write(self._connection, self._topic, work.batch)
            except Exception as error:  # noqa: BLE001  (whatever it is, the loop decides on it)
                failure = error
            with self._changed:
                if failure is None:
                    self._pending.popleft()
                    self._totals.add(work, time.monotonic() - begun)
                else:
                    self.failure, self.failed_work = failure, work
                self._changed.notify_all()
        self._connection.close()

    def _next(self) -> CalculatedBatch | None:
        """Wait for work; return None when there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._retired or (self._pending and not self.failure))
            return None if self._retired else self._pending[0]
