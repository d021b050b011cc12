"""Estimate variance with exponentially falling weights, as RiskMetrics does.

    σ²_t = λ σ²_{t−1} + (1 − λ) r²_t

σ²_t is the forecast for t + 1, made from r_t and earlier. The recursion begins with the mean of r² over a
start window of ⌈1/(1 − λ)⌉ returns, which is the mean age of the information in σ². Unknown returns are
left out before: they neither age the variance nor count.

Source: J.P. Morgan/Reuters, RiskMetrics Technical Document, 4th edition, 1996, section 5.2; λ = 0.94 there
for daily returns.
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.risk.columns import require_positive

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cryptometrics.risk.columns import Column

RISKMETRICS_DECAY = 0.94


def decay_factor(half_life: float | None) -> float:
    """Return λ = 2^(−1/half_life), with the half-life in bars; 0.94 without one.

    Raises ValueError unless the half-life is positive.
    """
    if half_life is None:
        return RISKMETRICS_DECAY
    require_positive(half_life, "half_life")
    return 2 ** (-1 / half_life)


def start_window(decay: float) -> int:
    """Return how many returns the first variance is the mean of: ⌈1/(1 − λ)⌉."""
    return math.ceil(round(1 / (1 - decay), 9))  # rounded: 1/(1 − 0.9) is above 10 in floats


def recursion(squares: Column, decay: float, start: float) -> Column:
    """Return the variance after each squared return, in order, beginning with `start` before the first."""
    new = 1 - decay
    steps = accumulate(squares.tolist(), lambda old, square: decay * old + new * square, initial=start)
    return np.fromiter(steps, dtype=np.float64, count=len(squares) + 1)[1:]


def variances(returns: Column, decay: float) -> Column:
    """Return the variance after each return; NaN within the start window, except at its end."""
    window = start_window(decay)
    found = np.full(len(returns), np.nan)
    if len(returns) >= window:
        squares = np.square(returns)
        start = float(squares[:window].mean())
        found[window - 1] = start
        found[window:] = recursion(squares[window:], decay, start)
    return found


def variance_rows(returns: NDArray[np.float64], decay: float) -> NDArray[np.float64]:
    """Return the variances of several columns at once, a row for each moment from the end of the window on.

    As `variances` of each column, which must all be known, but in one pass for all.
    """
    window = start_window(decay)
    squares = np.square(returns)
    steps = accumulate(
        (1 - decay) * squares[window:],
        lambda old, new: decay * old + new,
        initial=squares[:window].mean(axis=0),
    )
    return np.array(list(steps))


def newest_variance(returns: Column, decay: float) -> float:
    """Return the variance after the newest return, NaN if there are fewer than the start window needs."""
    return float(variances(returns, decay)[-1]) if len(returns) else math.nan


def rescaled(returns: Column, decay: float) -> Column:
    """Return the returns after the start window as if they came at the newest volatility.

        R_t · σ_T / σ_{t−1}

    σ_{t−1} is the forecast made before R_t. A return after a variance of zero has no scale and is left out.
    Source: Hull, White 1998; Barone-Adesi, Giannopoulos, Vosper 1999.
    """
    window = start_window(decay)
    if len(returns) <= window:
        return np.empty(0)
    volatility = np.sqrt(variances(returns, decay)[window - 1 :])
    before, newest = volatility[:-1], volatility[-1]
    scaled = before > 0
    found: Column = returns[window:][scaled] * (newest / before[scaled])
    return found
