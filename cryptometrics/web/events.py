"""Server-sent events: their bytes, their numbers, and the newest ones for readers that come back. Pure."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import msgspec

MAX_KEPT_EVENTS = 1000
MAX_KEPT_BYTES = 1024 * 1024
"""Less than may wait for a reader, who would be too slow at once otherwise."""


class Event(NamedTuple):
    """One event as it is sent."""

    number: int
    data: bytes


def encode(start: str, number: int, name: str, data: object) -> bytes:
    """Return the bytes of an event.

    start: distinguishes this start of the server, so that no number of an earlier one is taken for ours.
    """
    return b"id: %s-%d\nevent: %s\ndata: %s\n\n" % (
        start.encode(),
        number,
        name.encode(),
        msgspec.json.encode(data),
    )


def number_in(event_id: str, start: str) -> int | None:
    """Return the number of an event of this start of the server; None for any other text."""
    prefix, _, number = event_id.rpartition("-")
    if prefix != start or not number.isascii() or not number.isdigit() or len(number) > 18:
        return None
    return int(number)


class RecentEvents:
    """The newest events, bounded by their number and their bytes."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._bytes = 0

    def add(self, event: Event) -> None:
        """Add the next event; drop the oldest ones beyond the limits."""
        self._events.append(event)
        self._bytes += len(event.data)
        while len(self._events) > MAX_KEPT_EVENTS or self._bytes > MAX_KEPT_BYTES:
            self._bytes -= len(self._events.popleft().data)

    def clear(self) -> None:
        """Drop all: what follows cannot be understood with what came before."""
        self._events.clear()
        self._bytes = 0

    def after(self, number: int, newest: int) -> list[Event] | None:
        """Return the events that follow a number, up to `newest`; None if some of them are gone."""
        if number == newest:
            return []
        if number > newest or not self._events or self._events[0].number > number + 1:
            return None
        return [event for event in self._events if event.number > number]
