"""Measure drawdowns: how far a price fell from its highest value before.

    drawdown = (peak − price) / peak, against the running peak; 0.25 is a fall by 25 %

It describes what happened and assumes nothing, but it grows with the length of the range.
Source: the `maxDrawdown` of the R package PerformanceAnalytics; Magdon-Ismail, Atiya 2004.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.risk.columns import all_finite, prices, require_equal_length

if TYPE_CHECKING:
    from cryptometrics.risk.columns import Column, Numbers


@dataclass(frozen=True, slots=True)
class MaxDrawdown:
    """The largest drawdown of a series, as a ratio, with the indices of its peak and trough."""

    value: float
    peak: int
    trough: int


def max_drawdown(prices_: Numbers, /) -> MaxDrawdown | None:
    """Return the largest fall of a series of prices from the peak before it, as a ratio from 0 to 1.

    Formula: max over t of (M_t − P_t)/M_t, with M_t the largest price up to t. Source: the module.
    Of equal drawdowns the first counts, of equal peaks the first. A series that never falls has a drawdown
    of 0 at its first price.

    None if there is no price, or one is missing or not finite. Raises ValueError if one is not positive.
    """
    series = prices(prices_, "prices")
    return largest_fall(series) if all_finite(series) else None


def largest_fall(series: Column) -> MaxDrawdown | None:
    """Return the largest drawdown of positive prices, without what is NaN; None if nothing is left."""
    seen = np.flatnonzero(np.isfinite(series))
    if not len(seen):
        return None
    left = series[seen]
    peaks = np.maximum.accumulate(left)
    falls = (peaks - left) / peaks
    trough = int(falls.argmax())
    peak = int(left[: trough + 1].argmax())
    return MaxDrawdown(float(falls[trough]), int(seen[peak]), int(seen[trough]))


def largest_fall_of_bars(
    open: Column,  # noqa: A002
    high: Column,
    low: Column,
) -> MaxDrawdown | None:
    """Return the largest drawdown of bars, with the bars of its peak and trough; None without a bar.

    The order of high and low within a bar is unknown, so a bar's low is compared with the larger of the
    peak so far and its own open, and its high raises the peak only afterwards. The result may understate
    by what fell from a high to a low within one bar, and never overstates. Bars with a NaN are left out.
    """
    require_equal_length(open=open, high=high, low=low)
    seen = np.flatnonzero(np.isfinite(open + high + low))
    if not len(seen):
        return None
    open, high, low = open[seen], high[seen], low[seen]  # noqa: A001
    before = np.concatenate([open[:1], np.maximum.accumulate(high)[:-1]])
    peaks = np.maximum(before, open)
    falls = (peaks - low) / peaks
    trough = int(falls.argmax())
    peak = trough if open[trough] >= before[trough] else int(high[:trough].argmax())
    return MaxDrawdown(float(falls[trough]), int(seen[peak]), int(seen[trough]))


def present_drawdown(high: Column, close: Column) -> float | None:
    """Return how far the newest close is below the highest high of the bars, None without one of each."""
    require_equal_length(high=high, close=close)
    highs, closes = high[np.isfinite(high)], close[np.isfinite(close)]
    if not (len(highs) and len(closes)):
        return None
    peak = float(highs.max())
    return (peak - float(closes[-1])) / peak
