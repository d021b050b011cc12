"""Replay a recording through the code of the live feed, at its own pace or any other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cryptometrics.feeds.gzip_members import Damage
from cryptometrics.feeds.recording import LostPairs
from cryptometrics.market.gap_records import GapKind
from cryptometrics.market.venues import replayed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptometrics.feeds.interface import Feed
    from cryptometrics.feeds.recording import Recording
    from cryptometrics.kafka.publisher import Message

BLOCK = 1024
"""Messages in a block at full speed."""
POLL_S = 0.05
"""Seconds between two looks at `stop` while the next frame is not due."""


def replay(
    feed: Feed,
    recording: Recording,
    *,
    speed: float = 0.0,
    shift_to_now: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[list[Message]]:
    """Yield the messages of a recording in blocks; empty ones while the next frame is not due.

    speed: multiple of the recorded speed; 0: as fast as possible.
    shift_to_now: move the times so that the recording begins now; at speed 0, so that it ends now. The venue
    then gets the suffix of a replay.
    """
    clock = _ShiftedClock(recording, speed) if shift_to_now else None
    if clock is not None:
        feed.venue = replayed(feed.venue)
    pace = _ReplayPace(speed) if speed else None
    block: list[Message] = []
    take, add, at = feed.take, block.extend, 0.0
    for received, content, connection, _ in recording.lines():
        if pace is not None:
            while (left := pace.seconds_left(received)) > 0 and not stop():
                yield block
                block = []
                add = block.extend
                time.sleep(min(left, POLL_S))
            if stop():
                break
        at = received if clock is None else clock(received)
        if isinstance(content, Damage):
            add(feed.lost(list(feed.quality), GapKind.UNREADABLE, at))
            continue
        if isinstance(content, LostPairs):
            add(feed.lost(content.pairs, content.kind, at, connection))
            continue
        messages = take(content if clock is None else feed.shifted(content, clock), at, connection)
        if messages:
            add(messages)
            if len(block) >= BLOCK:
                yield block
                block = []
                add = block.extend
    yield block + feed.end(at)


class _ReplayPace:
    """Computes when each frame is due."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._first: float | None = None
        self._started = 0.0

    def seconds_left(self, received: float) -> float:
        """Return the seconds until the frame received at this time is due."""
        if self._first is None:
            self._first, self._started = received, time.monotonic()
        return self._started + (received - self._first) / self._speed - time.monotonic()


class _ShiftedClock:
    """Maps the times of a recording to now."""

    def __init__(self, recording: Recording, speed: float) -> None:
        self._speed = speed or 1.0
        self._now = time.time()
        self._origin: float | None = None if speed else recording.last_receipt()

    def __call__(self, recorded: float) -> float:
        if self._origin is None:
            self._origin = recorded
        return self._now + (recorded - self._origin) / self._speed
