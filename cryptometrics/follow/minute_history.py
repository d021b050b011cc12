"""The newest minutes of a venue's pairs in memory, so that a new minute needs no second read of a day."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.risk.minutes import Bars
from cryptometrics.risk.pair_minutes import MAX_MINUTES_BEFORE, PairMinutes
from cryptometrics.store.labelled_minutes import Label
from cryptometrics.times import EPOCH

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from numpy.typing import NDArray

    from cryptometrics.store.labelled_minutes import LabelledMinutes

RANGES = {"15m": 15, "1h": 60, "24h": 24 * 60}
"""The ranges of `crypto_risk`, in minutes."""
USED_MINUTES = max(RANGES.values()) + MAX_MINUTES_BEFORE
"""How many minutes a row depends on: those of its range, and those that its figures may use before it."""
SPARE = 1440
"""Minutes for which there is more room, so that the oldest are dropped seldom."""

HEARD = (Label.VERIFIED, Label.SIMULATED)
"""Labels of a minute that is known to be empty if it has no ticks."""


def minute_number(moment: datetime) -> int:
    """Return the number of the minute that contains a moment, counted from the epoch."""
    return int((moment - EPOCH).total_seconds()) // 60


class PairHistory:
    """Consecutive minutes of one pair, enough for each end in the newest half of the spare ones.

    Minutes that were never put count as unknown: no price, and a feed that was not heard.
    """

    def __init__(self, minutes: LabelledMinutes, spare: int = SPARE, used: int = USED_MINUTES) -> None:
        """Begin with the first of these minutes; those before it are unknown. used: those of one moment."""
        self.begins = _numbers(minutes)[0]
        self._used = used
        self._first = self.begins - used
        size = used + spare
        self._prices: NDArray[np.float64] = np.full((4, size), np.nan)
        self._ticks: NDArray[np.int64] = np.zeros(size, dtype=np.int64)
        self._labels: NDArray[np.bool_] = np.zeros((3, size), dtype=np.bool_)
        self.put(minutes)

    def put(self, minutes: LabelledMinutes) -> None:
        """Put minutes, or replace them; those that are too old to be used are ignored."""
        first, end = _numbers(minutes)
        self._make_room(end)
        skipped = max(0, self._first - first)
        if first + skipped >= end:
            return
        place = slice(first + skipped - self._first, end - self._first)
        for row, prices in enumerate((minutes.open, minutes.high, minutes.low, minutes.close)):
            self._prices[row, place] = prices[skipped:]
        self._ticks[place] = minutes.ticks[skipped:]
        label = minutes.label[skipped:]
        self._labels[:, place] = np.isin(label, HEARD), label == Label.GAP, label == Label.UNVERIFIED

    def until(self, end: int) -> PairMinutes:
        """Return the used minutes before the minute of number `end`, as views that `put` may change."""
        self._make_room(end)
        last = end - self._first
        used = slice(last - self._used, last)
        heard, gap, unverified = self._labels[:, used]
        return PairMinutes(Bars(*self._prices[:, used]), self._ticks[used], heard, gap, unverified)

    def _make_room(self, end: int) -> None:
        """Drop the oldest minutes, if the one before `end` has no place."""
        size = len(self._ticks)
        if end - self._first <= size:
            return
        dropped = end - self._first - size + (size - self._used) // 2
        self._first += dropped
        kept = max(0, size - dropped)
        for columns, empty in ((self._prices, np.nan), (self._ticks, 0), (self._labels, False)):
            columns[..., :kept] = columns[..., size - kept :].copy()
            columns[..., kept:] = empty


class VenueHistory:
    """The histories of a venue's pairs."""

    def __init__(self, used: int = USED_MINUTES) -> None:
        """Begin without a pair. used: how many minutes figures of one moment use."""
        self._used = used
        self._pairs: dict[str, PairHistory] = {}

    def has(self, pair: str) -> bool:
        """Return whether any minute of a pair was put."""
        return pair in self._pairs

    def begins(self, pair: str) -> int:
        """Return the number of the first minute that was put of a pair."""
        return self._pairs[pair].begins

    def put(self, minutes: Mapping[str, LabelledMinutes]) -> None:
        """Put minutes of any pairs; the oldest of a new pair must come first."""
        for pair, of_pair in minutes.items():
            if pair in self._pairs:
                self._pairs[pair].put(of_pair)
            else:
                self._pairs[pair] = PairHistory(of_pair, used=self._used)

    def at(self, end: int) -> list[tuple[str, PairMinutes]]:
        """Return the minutes of each pair that has begun before the minute of number `end`."""
        return [(name, pair.until(end)) for name, pair in self._pairs.items() if pair.begins < end]


def _numbers(minutes: LabelledMinutes) -> tuple[int, int]:
    """Return the number of the first minute, and that after the last one."""
    first = int(minutes.time[0].astype("datetime64[m]").astype(np.int64))
    return first, first + len(minutes)
