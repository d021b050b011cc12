"""Put minutes on a grid: one row a minute, NaN where the price is unknown.

A minute without a tick has no price of its own. If the feed was heard and sent nothing (the minute is
*quiet*), its price is the last close, and its return is 0. If it may not have been heard, the price is
unknown: returns across such a minute are NaN, and so is a quiet minute after it, until the next tick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cryptometrics.risk.columns import Column

THIN_BELOW = 0.8
"""A figure of less coverage than this is shown as thin."""


@dataclass(frozen=True, slots=True)
class Bars:
    """Prices of consecutive minutes, oldest first; all four are NaN where the price is not known."""

    open: Column
    high: Column
    low: Column
    close: Column


def fill_quiet_minutes(bars: Bars, quiet: NDArray[np.bool_]) -> Bars:
    """Return the bars with flat ones, at the last close, for the quiet minutes among the missing ones.

    A quiet minute with no known minute right before it, or only quiet ones, stays NaN.
    """
    missing = np.isnan(bars.close)
    if len(quiet) != len(missing):
        raise ValueError(f"there are {len(missing)} minutes and {len(quiet)} labels")
    places = np.arange(len(missing))
    priced = np.maximum.accumulate(np.where(missing, -1, places))
    unknown = np.maximum.accumulate(np.where(missing & ~quiet, places, -1))
    filled = missing & quiet & (priced > unknown)
    last_close = bars.close[np.maximum(priced, 0)]
    return Bars(
        *(np.where(filled, last_close, prices) for prices in (bars.open, bars.high, bars.low, bars.close))
    )


def coverage(ticked: NDArray[np.bool_], quiet: NDArray[np.bool_]) -> float | None:
    """Return the share of minutes with a price or heard to be empty, from 0 to 1; None without a minute."""
    if len(ticked) != len(quiet):
        raise ValueError(f"there are {len(ticked)} minutes and {len(quiet)} labels")
    return float((ticked | quiet).mean()) if len(ticked) else None


def log_returns(close: Column, step: int = 1) -> Column:
    """Return ln(C_t / C_{t−step}), overlapping if step > 1: one for each minute from the step-th on.

    NaN where one of the two closes is not known.
    """
    if step < 1:
        raise ValueError(f"step must be at least 1, not {step}")
    returns: Column = np.log(close[step:] / close[:-step])
    return returns


def simple_return(close: Column, minutes: int) -> float | None:
    """Return C/C₀ − 1 from the close so many minutes before the newest one; None if one is not known."""
    if minutes < 1:
        raise ValueError(f"minutes must be at least 1, not {minutes}")
    if len(close) <= minutes:
        return None
    found = close[-1] / close[-1 - minutes] - 1
    return float(found) if np.isfinite(found) else None


def every(close: Column, bar: int) -> Column:
    """Return the closes a bar of so many minutes apart, counted back from the newest.

    The grid on which two pairs are compared: its log returns are not known where one of two closes is not.
    """
    if bar < 1:
        raise ValueError(f"bar must be at least 1, not {bar}")
    return close[::-1][::bar][::-1]


def count_apart(known: NDArray[np.bool_], step: int) -> int:
    """Return how many of the known returns over `step` minutes can be chosen so that none overlap."""
    places = np.flatnonzero(known)
    count, index = 0, 0
    while index < len(places):
        count += 1
        index = int(np.searchsorted(places, places[index] + step))
    return count
