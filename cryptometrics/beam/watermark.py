"""The watermark of a reader: how far event time has come. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.market.windows import MAX_OUT_OF_ORDER

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta


class Watermark:
    """The oldest of the newest ticks of a reader's partitions, less the time ticks may be out of order.

    A partition is idle only when it has been read to its end and had no tick for a while. By the wall clock
    alone, the backlog of a slow reader would be dropped as late. An idle partition does not hold the others
    back. If all are idle, the wall clock counts; otherwise one reader without ticks would hold back the rest.
    """

    def __init__(
        self, partitions: Iterable[int], now: datetime, idle: timedelta, value: datetime | None = None
    ) -> None:
        """value: the watermark of the reader that this one continues."""
        self._idle = idle
        self._newest: dict[int, datetime | None] = dict.fromkeys(partitions)
        self._seen = dict.fromkeys(self._newest, now)
        self._value = value

    def see(self, partition: int, newest: datetime, now: datetime) -> None:
        """Note the newest tick of a partition; one from the future counts as of now."""
        known = self._newest[partition]
        newest = min(newest, now)
        self._newest[partition] = newest if known is None else max(known, newest)
        self._seen[partition] = now

    def advance(self, now: datetime, at_end: Iterable[int]) -> datetime | None:
        """Return the watermark. It never goes back, and waits for the first tick of every busy partition.

        at_end: the partitions that have been read to their end.
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
        """The watermark last returned."""
        return self._value
