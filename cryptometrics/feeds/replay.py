"""A recording once more: through the very same code as the live socket, in its own time or any other."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from cryptometrics.feeds.coinbase.messages import seconds
from cryptometrics.feeds.recording import Lost
from cryptometrics.times import from_seconds, iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptometrics.feeds.coinbase.feed import Feed
    from cryptometrics.feeds.recording import Recording
    from cryptometrics.kafka.publisher import Message

BLOCK = 1024
"""Messages that are handed on together when it goes as fast as it goes."""
PATIENCE_S = 0.05
"""Seconds between two looks while the next frame is not due."""

_time_in = re.compile(rb'"time"\s*:\s*"([^"\\]{20,40})"').search


def replay(
    feed: Feed,
    recording: Recording,
    *,
    speed: float = 0.0,
    shift_to_now: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[list[Message]]:
    """Yield what a recording gives for the topic, in blocks; empty ones while the next frame is not due.

    speed: how many times as fast as it was recorded; 0: as fast as it goes.
    shift_to_now: let it begin now (at speed 0: end now), and let its times run as fast as the clock.
    """
    clock = _Shift(recording, speed) if shift_to_now else None
    pace = _Pace(speed) if speed else None
    block: list[Message] = []
    take, add, at = feed.take, block.extend, 0.0
    for received, content in recording.lines():
        if pace is not None:
            while (left := pace.left(received)) > 0 and not stop():
                yield block  # what is due, then nothing
                block = []
                add = block.extend
                time.sleep(min(left, PATIENCE_S))
            if stop():
                break
        at = received if clock is None else clock.time(received)
        if isinstance(content, Lost):
            add(feed.lost(content.pairs, content.kind, at))
            continue
        messages = take(content if clock is None else clock.frame(content), at)
        if messages:
            add(messages)
            if len(block) >= BLOCK:
                yield block
                block = []
                add = block.extend
    yield block + feed.end(at)


class _Pace:
    """Says how long the next frame has to wait."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._first: float | None = None
        self._started = 0.0

    def left(self, received: float) -> float:
        """Return the seconds until a frame is due that was received at this time."""
        if self._first is None:
            self._first, self._started = received, time.monotonic()
        return self._started + (received - self._first) / self._speed - time.monotonic()


class _Shift:
    """Brings the times of a recording to now."""

    def __init__(self, recording: Recording, speed: float) -> None:
        self._speed = speed or 1.0
        self._now = time.time()
        self._origin: float | None = None if speed else recording.last_receipt()

    def time(self, received: float) -> float:
        if self._origin is None:
            self._origin = received
        return self._now + (received - self._origin) / self._speed

    def frame(self, frame: bytes) -> bytes:
        found = _time_in(frame)
        event = seconds(found[1].decode("ascii", "replace")) if found else None
        if found is None or event is None:
            return frame
        text = iso(from_seconds(self.time(event)), timespec="microseconds")
        return frame[: found.start(1)] + text.encode() + frame[found.end(1) :]
