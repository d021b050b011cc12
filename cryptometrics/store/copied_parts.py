"""Read the output of many COPYs one after the other, with several sessions in turns.

The server takes longer to sort and format rows than a client to pass them on. So while the rows of one part
are written, another session already prepares the next, as far ahead as a few megabytes.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

import psycopg

from cryptometrics.store.copied_rows import TEXT_BYTES, CopiedRows, copied_rows

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from psycopg import sql

BYTES_AHEAD = 4 * 1024 * 1024
"""Bytes that a session may read ahead."""
PARTS_AHEAD = 2
"""Parts assigned to a session at once: the one that it reads, and the next."""
LOOK_S = 0.1
"""Seconds between two looks whether the reading was given up."""
CANCEL_S = 2.0
"""Limit for ending the query of a session that was given up."""


def copied_parts(
    sessions: Sequence[psycopg.Connection], parts: Iterable[sql.Composed], size: int = TEXT_BYTES
) -> Generator[tuple[int, CopiedRows]]:
    """Yield the blocks of each part in order, with the number of the part, counted from 0.

    Nothing else may use the sessions before the end; only the first of the parts may be made with their help.
    size: of a block, in bytes. A generator that is closed before its end cancels what still runs.
    """
    todo = iter(parts)
    first = list(islice(todo, PARTS_AHEAD * len(sessions)))
    if len(sessions) == 1 or len(first) < 2:
        for number, part in enumerate((*first, *todo)):
            for block in copied_rows(sessions[0], part, size):
                yield number, block
        return
    readers = [_Reader(session, size) for session in sessions]
    asked: deque[_Reader] = deque()
    try:
        for at, part in enumerate(first):
            asked.append(readers[at % len(readers)])
            asked[-1].ask(part)
        number = 0
        while asked:
            reader = asked.popleft()
            for block in reader.next_part():
                yield number, block
            number += 1
            if (following := next(todo, None)) is not None:
                asked.append(reader)
                reader.ask(following)
    finally:
        for reader in readers:
            reader.give_up()
        for reader in readers:
            reader.join()


class _Reader:
    """Reads parts over one session in a thread of its own."""

    def __init__(self, session: psycopg.Connection, size: int) -> None:
        self._session = session
        self._size = size
        self._parts: queue.SimpleQueue[sql.Composed | None] = queue.SimpleQueue()
        self._blocks: queue.Queue[CopiedRows | BaseException | None] = queue.Queue(
            max(BYTES_AHEAD // size, 1)
        )
        """None ends a part."""
        self._given_up = threading.Event()
        self._is_reading = False
        self._thread = threading.Thread(target=self._run, name="export-reader", daemon=True)
        self._thread.start()

    def ask(self, part: sql.Composed) -> None:
        """Read this part after those that were asked for before."""
        self._parts.put(part)

    def next_part(self) -> Iterator[CopiedRows]:
        """Yield the blocks of the next part; raise the error that ended it."""
        while (block := self._blocks.get()) is not None:
            if isinstance(block, BaseException):
                raise block
            yield block

    def give_up(self) -> None:
        """Read no further."""
        self._given_up.set()
        self._parts.put(None)

    def join(self) -> None:
        """Wait until the session is free; cancel the query that runs, if any."""
        deadline = time.monotonic() + CANCEL_S
        while self._thread.is_alive() and time.monotonic() < deadline:
            if self._is_reading:  # more than once: the query may not have begun yet
                with contextlib.suppress(psycopg.Error):
                    self._session.cancel_safe(timeout=CANCEL_S)
            self._thread.join(LOOK_S)

    def _run(self) -> None:
        try:
            while (part := self._parts.get()) is not None:
                self._is_reading = True
                if self._given_up.is_set():
                    return
                with contextlib.closing(copied_rows(self._session, part, self._size)) as blocks:
                    for block in blocks:
                        if not self._hand_over(block):
                            return
                self._is_reading = False
                self._hand_over(None)
        except BaseException as error:  # noqa: BLE001  (raised where the rows are read)
            self._hand_over(error)
        finally:
            self._is_reading = False

    def _hand_over(self, block: CopiedRows | BaseException | None) -> bool:
        """Wait until there is room for a block; return False if the reading was given up meanwhile."""
        while not self._given_up.is_set():
            with contextlib.suppress(queue.Full):
                self._blocks.put(block, timeout=LOOK_S)
                return True
        return False
