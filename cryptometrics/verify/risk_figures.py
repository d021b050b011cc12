"""Compute risk figures from minutes again, by formulas that differ from those that wrote them. Pure.

The variances with falling weights come from one cumulative sum instead of a recursion, ranks from whole
numbers instead of floats, and prices of quiet minutes from one pass over all minutes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RANGES = {"15m": 15, "1h": 60, "24h": 1440}
LOOK_BACK = 1440
"""Minutes before a range that its figures may use."""
USED = max(RANGES.values()) + LOOK_BACK
"""Minutes that a row depends on."""

_YEAR = 525_600
_DECAY = 0.5 ** (1 / 60)
_START = 88
"""The first variance is the mean of 1/(1 − λ) squared returns, rounded up."""
_HORIZON = 60
_WORST = 100
"""One of so many returns lies beyond the value at risk."""


class Figures(NamedTuple):
    """The columns of a row, in their order."""

    minutes: int
    minutes_with_ticks: int
    coverage: float
    gap_minutes: int
    volatility: float | None
    volatility_ewma: float | None
    value_at_risk: float | None
    expected_shortfall: float | None
    drawdown: float | None
    max_drawdown: float | None


class Minutes:
    """All minutes of a pair, with `USED` unknown ones before the first."""

    def __init__(
        self, prices: Floats, ticks: NDArray[np.int64], quiet: NDArray[np.bool_], gap: NDArray[np.bool_]
    ) -> None:
        """Take the rows open, high, low and close, NaN without a price; quiet: heard, so perhaps empty."""
        unknown = np.full((4, USED), np.nan)
        prices = np.concatenate([unknown, prices], axis=1)
        self._ticks, self._quiet, self._gap = (
            np.concatenate([np.zeros(USED, dtype=marks.dtype), marks]) for marks in (ticks, quiet, gap)
        )
        priced = np.isfinite(prices[3])
        self._known = priced | self._quiet
        # The minute that each minute's price comes from; -1 for an unknown price.
        self._source = np.full(len(priced), -1)
        source = -1
        for minute, (has_price, was_heard) in enumerate(
            zip(priced.tolist(), self._quiet.tolist(), strict=True)
        ):
            if has_price:
                source = minute
            elif not was_heard:
                source = -1
            self._source[minute] = source
        carried = np.where(self._source >= 0, prices[3][self._source], np.nan)
        self._open, self._high, self._low, self._close = np.where(priced, prices, carried)
        self._returns = np.full(len(priced), np.nan)
        with np.errstate(invalid="ignore"):
            self._returns[1:] = np.log(self._close[1:] / self._close[:-1])

    def figures(self, end: int, length: int) -> Figures:
        """Return the figures of the `length` minutes before the one of index `end`."""
        end += USED
        begin, oldest = end - length, end - length - LOOK_BACK
        used = self._source[oldest:end] >= oldest
        returns = self._returns[oldest + 1 : end]
        is_known = used[1:] & used[:-1] & np.isfinite(returns)
        earlier = returns[: LOOK_BACK - 1][is_known[: LOOK_BACK - 1]]
        within = returns[LOOK_BACK - 1 :][is_known[LOOK_BACK - 1 :]]
        weighted = _Weighted(np.concatenate([earlier[-_START:], within]))
        tail = weighted.tail()
        return Figures(
            length,
            int(np.count_nonzero(self._ticks[begin:end])),
            np.count_nonzero(self._known[begin:end]) / length,
            int(np.count_nonzero(self._gap[begin:end])),
            math.sqrt(_YEAR * np.dot(within, within) / len(within)) if len(within) > 1 else None,
            weighted.volatility(),
            *(tail or (None, None)),
            *self._drawdowns(begin, end, used[LOOK_BACK:]),
        )

    def _drawdowns(
        self, begin: int, end: int, used: NDArray[np.bool_]
    ) -> tuple[float, float] | tuple[None, None]:
        if not used.any():
            return None, None
        opens, highs, lows, closes = (
            column[begin:end][used] for column in (self._open, self._high, self._low, self._close)
        )
        present = 1 - closes[-1] / highs.max()
        peaks = np.maximum(opens, np.maximum.accumulate(np.append(opens[0], highs[:-1])))
        return float(present), float(np.max(1 - lows / peaks))


class _Weighted:
    """The variances of returns with weights that fall exponentially, after a start window."""

    def __init__(self, returns: Floats) -> None:
        self._returns = returns[_START:]
        if len(returns) < _START:
            self._variances = np.empty(0)
            return
        steps = np.arange(len(self._returns) + 1)
        squares = np.append(0.0, self._returns**2)
        start = np.dot(returns[:_START], returns[:_START]) / _START
        self._variances = _DECAY**steps * (start + (1 - _DECAY) * np.cumsum(squares / _DECAY**steps))

    def volatility(self) -> float | None:
        return math.sqrt(_YEAR * self._variances[-1]) if len(self._variances) else None

    def tail(self) -> tuple[float, float] | None:
        """Return value at risk and expected shortfall of the returns at the newest variance."""
        before = self._variances[:-1]
        moved = before > 0
        if np.count_nonzero(moved) < _WORST:
            return None
        returns = self._returns[moved] * np.sqrt(self._variances[-1] / before[moved])
        mean = returns.mean()
        spread = returns - mean if np.ptp(returns) else 0 * returns
        losses = np.sort(-(_HORIZON * mean + math.sqrt(_HORIZON) * spread))[::-1]
        rank, share = divmod(len(losses) - 1, _WORST)
        worst, next_worst = losses[rank], losses[rank + 1]
        at_risk = worst + (next_worst - worst) * share / _WORST
        return float(at_risk), float(losses[: rank + 1][losses[: rank + 1] >= at_risk].mean())
