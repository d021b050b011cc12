"""The thread that writes one batch after another while the next one is calculated."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from cryptometrics.store import batch_transaction as store

if TYPE_CHECKING:
    import psycopg

    from cryptometrics.pipeline.calculator import CalculatedBatch
    from cryptometrics.pipeline.worker_report import WorkerTotals
    from cryptometrics.store.partition_claims import GroupTopic

MAX_PENDING = 2
"""Maximum number of pending batches; when reached, consuming waits."""


class BatchWriter:
    """Writes batches in order over its own connection; stops at the first failure."""

    def __init__(self, topic: GroupTopic, connection: psycopg.Connection, totals: WorkerTotals) -> None:
        self._topic = topic
        self._connection = connection
        self._totals = totals
        self._pending: deque[CalculatedBatch] = deque()
        self._changed = threading.Condition()
        self._retired = False
        self.failure: Exception | None = None
        self.failed_batch: CalculatedBatch | None = None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def offer(self, work: CalculatedBatch, timeout: float) -> bool:
        """Accept a batch if there is room within `timeout` seconds and no write has failed."""
        with self._changed:
            self._changed.wait_for(lambda: self.failure or len(self._pending) < MAX_PENDING, timeout)
            if self.failure or len(self._pending) >= MAX_PENDING:
                return False
            self._pending.append(work)
            self._changed.notify_all()
            return True

    def drain(self, timeout: float) -> bool:
        """Wait until nothing is pending; return whether that is so."""
        with self._changed:
            self._changed.wait_for(lambda: self.failure or not self._pending, timeout)
            return self.failure is None and not self._pending

    def in_flight(self) -> list[CalculatedBatch]:
        """Return the pending batches, oldest first: accepted, but not known to be committed."""
        with self._changed:
            return list(self._pending)

    def resume(self) -> None:
        """Discard the failed batch and all after it, and accept batches again."""
        with self._changed:
            self._pending.clear()
            self.failure = self.failed_batch = None

    def retire(self, timeout: float) -> None:
        """Begin no more batches; wait `timeout` seconds for the thread, which closes its connection.

        A running transaction is not cancelled and may still commit later. That is safe, because it requires
        an unchanged offset: once another transaction has moved the offset, it cannot commit.
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
            except Exception as error:  # noqa: BLE001  (the worker's loop decides what it means)
                failure = error
            with self._changed:
                if failure is None:
                    self._pending.popleft()
                    self._totals.add(work, time.monotonic() - begun)
                else:
                    self.failure, self.failed_batch = failure, work
                self._changed.notify_all()
        self._connection.close()

    def _next(self) -> CalculatedBatch | None:
        """Wait for the next batch; return None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._retired or (self._pending and not self.failure))
            return None if self._retired else self._pending[0]
