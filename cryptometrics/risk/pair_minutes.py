"""The minutes of one pair as columns, cut to the range that figures describe.

A figure of a range also uses minutes before it: the close before its first bar, the start window of `ewma`,
and the close that quiet minutes carry on. They are looked for in the day before the range and no further, so
that a figure does not depend on how much else is stored or was read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.risk.minutes import Bars, coverage, fill_quiet_minutes, log_returns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cryptometrics.risk.columns import Column

MAX_MINUTES_BEFORE = 1440
"""How far before a range its figures look."""


@dataclass(frozen=True, slots=True)
class PairMinutes:
    """Consecutive complete minutes of one pair of a venue, oldest first, none left out."""

    bars: Bars
    """Mid prices, NaN in a minute without a price."""
    ticks: NDArray[np.int64]
    heard: NDArray[np.bool_]
    """Labelled `verified` or `simulated`: a minute without a price is then quiet."""
    gap: NDArray[np.bool_]
    """Labelled `gap`."""
    unverified: NDArray[np.bool_]
    """Labelled `unverified`."""


@dataclass(frozen=True, slots=True)
class RangeMinutes:
    """The minutes of a range, behind those before it that its figures may use. Quiet ones have prices."""

    bars: Bars
    before: int
    """How many of the bars lie before the range; at least one, whose price may be unknown."""
    returns: Column
    """Log returns of one minute; the first `before - 1` lie before the range."""
    minutes: int
    minutes_with_ticks: int
    coverage: float
    gap_minutes: int
    unverified_minutes: int

    @property
    def range_bars(self) -> Bars:
        """The bars of the range itself."""
        return _from(self.bars, self.before)

    @property
    def bars_from_close_before(self) -> Bars:
        """The bars of the range behind one more, which knows the close before them."""
        return _from(self.bars, self.before - 1)

    @property
    def range_returns(self) -> Column:
        """The returns of the range; the first is that from the close before it."""
        return self.returns[self.before - 1 :]

    @property
    def closes(self) -> Column:
        """The closes that the returns of the range lie between: one more than it has minutes."""
        return self.bars.close[self.before - 1 :]


def cut_to_range(minutes: PairMinutes, range_minutes: int) -> RangeMinutes:
    """Return the newest minutes of a pair as a range, and up to a day before it.

    Minutes before the first one count as unknown. Raises ValueError for a range of less than one minute.
    """
    if range_minutes < 1:
        raise ValueError(f"range_minutes must be at least 1, not {range_minutes}")
    used = _newest(_at_least(minutes, range_minutes + 1), range_minutes + MAX_MINUTES_BEFORE)
    ranged = _newest(used, range_minutes)
    bars = fill_quiet_minutes(used.bars, used.heard)
    return RangeMinutes(
        bars=bars,
        before=len(used.ticks) - range_minutes,
        returns=log_returns(bars.close),
        minutes=range_minutes,
        minutes_with_ticks=int((ranged.ticks > 0).sum()),
        coverage=coverage(np.isfinite(ranged.bars.close), ranged.heard) or 0.0,
        gap_minutes=int(ranged.gap.sum()),
        unverified_minutes=int(ranged.unverified.sum()),
    )


def _at_least(minutes: PairMinutes, count: int) -> PairMinutes:
    """Return at least so many minutes: unknown ones come first, which nobody heard."""
    missing = count - len(minutes.ticks)
    if missing <= 0:
        return minutes
    unknown, no = np.full(missing, np.nan), np.zeros(missing, dtype=np.bool_)
    bars = minutes.bars
    return PairMinutes(
        Bars(*(np.concatenate([unknown, prices]) for prices in (bars.open, bars.high, bars.low, bars.close))),
        np.concatenate([np.zeros(missing, dtype=np.int64), minutes.ticks]),
        *(np.concatenate([no, marks]) for marks in (minutes.heard, minutes.gap, minutes.unverified)),
    )


def _newest(minutes: PairMinutes, count: int) -> PairMinutes:
    start = max(0, len(minutes.ticks) - count)
    return PairMinutes(
        _from(minutes.bars, start),
        minutes.ticks[start:],
        minutes.heard[start:],
        minutes.gap[start:],
        minutes.unverified[start:],
    )


def _from(bars: Bars, start: int) -> Bars:
    return Bars(bars.open[start:], bars.high[start:], bars.low[start:], bars.close[start:])
