"""Deliver each event to all readers: the same bytes to everybody, and no reader waits for a slower one.

All methods run in the event loop's thread, except `publish`, which the poller calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from typing import TYPE_CHECKING

from cryptometrics.web.events import Event, RecentEvents, encode, number_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptometrics.web.view import View

MAX_READERS = 100
MAX_WAITING_BYTES = 2 * 1024 * 1024
"""A reader with more bytes waiting, in more than one event, is too slow and is dropped."""


class TooManyReadersError(Exception):
    """As many streams are open as are allowed."""


class Reader:
    """One open stream: what it still has to be sent."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self.ended = asyncio.Event()
        """Set when nothing more will come: the server stops, or the reader is too slow."""
        self.is_slow = False

    def add(self, data: bytes) -> None:
        """Queue bytes; end a reader that does not keep up."""
        self._waiting.append(data)
        self._bytes += len(data)
        self._news.set()
        if self._bytes > MAX_WAITING_BYTES and len(self._waiting) > 1:
            self.is_slow = True
            self._waiting.clear()
            self.ended.set()

    async def next(self) -> bytes:
        """Wait for bytes, and return all that are waiting."""
        await self._news.wait()
        self._news.clear()
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._bytes = 0
        return data


class Hub:
    """The newest view, its recent changes, and the readers of both."""

    def __init__(self) -> None:
        self._start = secrets.token_hex(4)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._published: View | None = None
        self._view: View | None = None
        self._number = 0
        self._snapshot: tuple[int, bytes] | None = None
        self._recent = RecentEvents()
        self._readers: set[Reader] = set()
        self.dropped = 0
        """Readers that were too slow."""
        self.on_reader: Callable[[], None] = lambda: None
        """Called when a reader comes."""

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the loop whose readers are served."""
        self._loop = loop

    @property
    def readers(self) -> int:
        """How many streams are open."""
        return len(self._readers)

    @property
    def events(self) -> int:
        """How many events there were, without signs of life."""
        return self._number

    @property
    def view(self) -> View | None:
        """The newest view; None before the first one."""
        return self._view

    def publish(self, view: View) -> None:
        """Deliver what has changed since the view before; the poller's thread calls this."""
        before, self._published = self._published, view
        if self._loop is None or self._loop.is_closed():
            return
        if before is None or not view.has_same_markets(before):
            name, data = "snapshot", view.snapshot()
        elif changes := view.changes_since(before):
            name, data = "update", changes
        else:
            name, data = "", None
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._deliver, view, name, data)

    def _deliver(self, view: View, name: str, data: object) -> None:
        self._view = view
        if not name:
            return
        self._number += 1
        event = Event(self._number, encode(self._start, self._number, name, data))
        if name == "snapshot":
            self._recent.clear()
        self._recent.add(event)
        self._send(event.data)

    def beat(self, data: object) -> None:
        """Send a sign of life to all readers."""
        self._send(encode(self._start, self._number, "beat", data))

    def _send(self, data: bytes) -> None:
        for reader in list(self._readers):
            reader.add(data)

    @contextlib.contextmanager
    def reading(self, last_event_id: str | None) -> Iterator[Reader]:
        """Yield a new reader: with what it has missed since its last event, else with a snapshot.

        Raises TooManyReadersError.
        """
        if len(self._readers) >= MAX_READERS:
            raise TooManyReadersError
        reader = Reader()
        for data in self._first(last_event_id):
            reader.add(data)
        self._readers.add(reader)
        self.on_reader()
        try:
            yield reader
        finally:
            self._readers.discard(reader)
            self.dropped += reader.is_slow

    def _first(self, last_event_id: str | None) -> list[bytes]:
        number = None if last_event_id is None else number_in(last_event_id, self._start)
        missed = None if number is None else self._recent.after(number, self._number)
        if missed is not None:
            return [event.data for event in missed]
        if self._view is None:
            return []  # the first view is sent to all
        if self._snapshot is None or self._snapshot[0] != self._number:
            data = encode(self._start, self._number, "snapshot", self._view.snapshot())
            self._snapshot = self._number, data
        return [self._snapshot[1]]

    def close(self) -> None:
        """End all streams."""
        for reader in self._readers:
            reader.ended.set()
