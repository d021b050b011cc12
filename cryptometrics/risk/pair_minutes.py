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

    def known_closes(self) -> Column:
        """Return the close of each minute, quiet ones with the last close, NaN where it is not known."""
        return fill_quiet_minutes(self.bars, self.heard).close


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
    missing = range_minutes + 1 - len(minutes.ticks)
    whole = joined(unknown_minutes(missing), minutes) if missing > 0 else minutes
    used = _newest(whole, range_minutes + MAX_MINUTES_BEFORE)
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


def unknown_minutes(count: int) -> PairMinutes:
    """Return `count` minutes without data, in which the feed was not heard; none if it is negative."""
    count = max(0, count)
    nan, no = np.full(count, np.nan), np.zeros(count, dtype=np.bool_)
    return PairMinutes(Bars(nan, nan, nan, nan), np.zeros(count, dtype=np.int64), no, no, no)


def begins_within(minutes: PairMinutes) -> bool:
    """Return whether the pair's first minute is among these, and not the first of them.

    The minutes of a pair follow each other without a break, each with a label; before its first one there is
    nothing.
    """
    stored = minutes.heard | minutes.gap | minutes.unverified | np.isfinite(minutes.bars.close)
    return bool(stored.any() and not stored[0])


def joined(*parts: PairMinutes) -> PairMinutes:
    """Return consecutive minutes as one."""
    bars = [part.bars for part in parts]
    return PairMinutes(
        Bars(
            np.concatenate([each.open for each in bars]),
            np.concatenate([each.high for each in bars]),
            np.concatenate([each.low for each in bars]),
            np.concatenate([each.close for each in bars]),
        ),
        np.concatenate([part.ticks for part in parts]),
        np.concatenate([part.heard for part in parts]),
        np.concatenate([part.gap for part in parts]),
        np.concatenate([part.unverified for part in parts]),
    )


def until(minutes: PairMinutes, newest: int) -> PairMinutes:
    """Return the minutes without so many of the newest ones."""
    return _slice(minutes, slice(0, max(0, len(minutes.ticks) - newest)))


def _newest(minutes: PairMinutes, count: int) -> PairMinutes:
    return _slice(minutes, slice(max(0, len(minutes.ticks) - count), None))


def _slice(minutes: PairMinutes, part: slice) -> PairMinutes:
    bars = minutes.bars
    return PairMinutes(
        Bars(bars.open[part], bars.high[part], bars.low[part], bars.close[part]),
        minutes.ticks[part],
        minutes.heard[part],
        minutes.gap[part],
        minutes.unverified[part],
    )


def _from(bars: Bars, start: int) -> Bars:
    return Bars(bars.open[start:], bars.high[start:], bars.low[start:], bars.close[start:])
