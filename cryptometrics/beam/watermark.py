"""How far event time has come in what a reader reads. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.market.windows import MAX_OUT_OF_ORDER

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta


class Watermark:
    """The minimum over a reader's partitions of their newest tick, less what ticks may be out of order.

    A partition is idle only when it is read to its end and has been without a tick for a while; judged by
    the wall clock alone, a slow reader's backlog would be dropped as late. One that is idle does not hold
    the others back; when all are, the wall clock says how far time has come, or one reader without ticks
    would hold back all others.
    """

    def __init__(
        self, partitions: Iterable[int], now: datetime, idle: timedelta, value: datetime | None = None
    ) -> None:
        """Begin; value: how far it had come where another reader goes on, which still holds."""
        self._idle = idle
        self._newest: dict[int, datetime | None] = dict.fromkeys(partitions)
        self._seen = dict.fromkeys(self._newest, now)
        self._value = value

    def see(self, partition: int, newest: datetime, now: datetime) -> None:
        """Take note of ticks; one that is ahead of the clock moves the watermark to the present at most."""
        known = self._newest[partition]
        newest = min(newest, now)
        self._newest[partition] = newest if known is None else max(known, newest)
        self._seen[partition] = now

    def advance(self, now: datetime, at_end: Iterable[int]) -> datetime | None:
        """Return the watermark, which never goes back; it stays while a partition has told nothing yet.

        at_end: the partitions that are read to their end.
        """
        idle = {partition for partition in at_end if now - self._seen[partition] >= self._idle}
        busy = [newest for partition, newest in self._newest.items() if partition not in idle]
        if not busy:
            value = now - self._idle
        elif any(newest is None for newest in busy):
            return self._value
        else:
            value = min(newest for newest in busy if newest is not None) - MAX_OUT_OF_ORDER
        self._value = value if self._value is None else max(self._value, value)
        return self._value

    @property
    def value(self) -> datetime | None:
        """The watermark as it was last returned."""
        return self._value
