"""Estimate volatility from the bars of one series: how much its price varies, as an annualised ratio.

Every estimator gives a variance per bar. Annualised volatility is √(variance · bars per year). Crypto never
closes: the 525,600 minutes of 365 days are the default. 0.6 reads as 60 % a year.

O, H, L, C are the prices of a bar, r_t = ln(C_t / C_{t−1}) its log return, n the number of terms in a sum.

| estimator | variance per bar | source |
|---|---|---|
| `close` | Σ (r − mean)² / (n − 1) | textbook |
| `realized` | Σ r² / n | Andersen, Bollerslev, Diebold, Labys 2003 |
| `bipower` | (π/2) Σ abs(r_t)·abs(r_{t−1}) / n, n pairs of neighbours | Barndorff-Nielsen, Shephard 2004 |
| `parkinson` | Σ ln(H/L)² / (4 n ln 2) | Parkinson 1980 |
| `garman_klass` | Σ [½ ln(H/L)² − (2 ln 2 − 1) ln(C/O)²] / n | Garman, Klass 1980 |
| `rogers_satchell` | Σ [ln(H/C) ln(H/O) + ln(L/C) ln(L/O)] / n | Rogers, Satchell 1991 |
| `yang_zhang` | V_o + k V_c + (1 − k) V_rs, see `yang_zhang_variance` | Yang, Zhang 2000 |
| `ewma` | λ σ²_{t−1} + (1 − λ) r², see the module `ewma` | RiskMetrics 1996 |

The functions named `…_variance` leave out what is NaN and return NaN for too few bars; `volatility` is for
complete columns.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from cryptometrics.risk import ewma
from cryptometrics.risk.columns import (
    all_finite,
    known,
    prices,
    require_equal_length,
    require_positive,
    root_or_none,
    sample_variance,
)
from cryptometrics.risk.minutes import log_returns

if TYPE_CHECKING:
    from cryptometrics.risk.columns import Column, Numbers

Estimator: TypeAlias = Literal[
    "close", "realized", "bipower", "parkinson", "garman_klass", "rogers_satchell", "yang_zhang", "ewma"
]
ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)
MINUTES_PER_YEAR = 525_600
"""365 · 24 · 60: crypto is traded at all times."""

MIN_RETURNS = 2
"""The fewest returns that a standard deviation is computed from."""


def volatility(
    open: Numbers,  # noqa: A002  (the name of the price, as everywhere)
    high: Numbers,
    low: Numbers,
    close: Numbers,
    *,
    estimator: Estimator,
    bars_per_year: float = MINUTES_PER_YEAR,
    half_life: float | None = None,
) -> float | None:
    """Return the annualised volatility of bars, oldest first, as a ratio: 0.6 is 60 % a year.

    Formula and source: √(variance per bar · bars_per_year), with the variances in the table of the module.
    The first bar has no close before it: n bars have n − 1 returns, and `yang_zhang` takes from the first
    bar only its close. `half_life` in bars belongs to `ewma`; without it λ = 0.94.

    None if a price is missing or not finite, or if there are too few bars: two returns are needed, for
    `ewma` ⌈1/(1 − λ)⌉, for the range estimators one bar. Raises ValueError for an unknown estimator, for
    columns of unequal length, and for prices, `bars_per_year` or `half_life` that are not positive.
    """
    columns = {
        "open": prices(open, "open"),
        "high": prices(high, "high"),
        "low": prices(low, "low"),
        "close": prices(close, "close"),
    }
    require_equal_length(**columns)
    require_positive(bars_per_year, "bars_per_year")
    decay = ewma.decay_factor(half_life)
    if estimator not in ESTIMATORS:
        raise ValueError(f"unknown estimator {estimator!r}: it must be one of {', '.join(ESTIMATORS)}")
    if not all_finite(*columns.values()):
        return None
    return annualised(bar_variance(**columns, estimator=estimator, decay=decay), bars_per_year)


def annualised(variance: float, bars_per_year: float = MINUTES_PER_YEAR) -> float | None:
    """Return √(variance per bar · bars per year), None if the variance is not known or negative."""
    return root_or_none(variance * bars_per_year)


def bar_variance(
    open: Column,  # noqa: A002
    high: Column,
    low: Column,
    close: Column,
    *,
    estimator: Estimator,
    decay: float = ewma.RISKMETRICS_DECAY,
) -> float:
    """Return the variance per bar by one of the estimators, without what is NaN; NaN for too few bars."""
    with np.errstate(over="ignore", invalid="ignore"):
        returns = log_returns(close)
        match estimator:
            case "close":
                variance = sample_variance(known(returns))
            case "realized":
                variance = realized_variance(returns)
            case "bipower":
                variance = bipower_variance(returns)
            case "ewma":
                variance = ewma.newest_variance(known(returns), decay)
            case "parkinson":
                variance = parkinson_variance(high, low)
            case "garman_klass":
                variance = garman_klass_variance(open, high, low, close)
            case "rogers_satchell":
                variance = rogers_satchell_variance(open, high, low, close)
            case "yang_zhang":
                variance = yang_zhang_variance(open, high, low, close)
    return variance


def realized_variance(returns: Column) -> float:
    """Return Σ r² / n: no mean is taken off, for over a minute it is nothing but noise."""
    left = known(returns)
    return _mean(np.square(left)) if len(left) >= MIN_RETURNS else math.nan


def bipower_variance(returns: Column) -> float:
    """Return the part of the variance that is not made of jumps.

        (π/2) Σ abs(r_t)·abs(r_{t−1}) / n over the n pairs of neighbours

    A jump is one large return between two ordinary ones, so its products stay small. A pair with an
    unknown return is left out.
    """
    size = np.abs(returns)
    return math.pi / 2 * _mean(known(size[1:] * size[:-1]))


def jump_share(returns: Column) -> float | None:
    """Return the share of the realized variance that came in jumps, from 0 to 1.

        max(0, 1 − bipower variance / realized variance)

    None without two neighbouring returns, or if nothing moved. Source: Barndorff-Nielsen, Shephard 2004.
    """
    realized, bipower = realized_variance(returns), bipower_variance(returns)
    if not (math.isfinite(bipower) and realized > 0):
        return None
    return max(0.0, 1 - bipower / realized)


def parkinson_variance(high: Column, low: Column) -> float:
    """Return Σ ln(H/L)² / (4 n ln 2): it assumes no drift, and that every move within a bar is seen."""
    return _mean(known(np.square(np.log(high / low)))) / (4 * math.log(2))


def garman_klass_variance(
    open: Column,  # noqa: A002
    high: Column,
    low: Column,
    close: Column,
) -> float:
    """Return Σ [½ ln(H/L)² − (2 ln 2 − 1) ln(C/O)²] / n."""
    squares = np.square(np.log(high / low)) / 2
    return _mean(known(squares - (2 * math.log(2) - 1) * np.square(np.log(close / open))))


def rogers_satchell_variance(
    open: Column,  # noqa: A002
    high: Column,
    low: Column,
    close: Column,
) -> float:
    """Return Σ [ln(H/C) ln(H/O) + ln(L/C) ln(L/O)] / n: a trend does not disturb it."""
    above = np.log(high / close) * np.log(high / open)
    return _mean(known(above + np.log(low / close) * np.log(low / open)))


def yang_zhang_variance(
    open: Column,  # noqa: A002
    high: Column,
    low: Column,
    close: Column,
) -> float:
    """Return V_o + k V_c + (1 − k) V_rs with k = 0.34 / (1.34 + (n + 1)/(n − 1)).

    V_o is the sample variance of ln(O_t / C_{t−1}), V_c that of ln(C/O), V_rs that of Rogers and Satchell,
    all over the same n bars: those that know the close before them.
    """
    overnight = np.log(open[1:] / close[:-1])
    bars = np.isfinite(overnight) & np.isfinite(high[1:] + low[1:] + close[1:])
    n = int(bars.sum())
    if n < MIN_RETURNS:
        return math.nan
    open, high, low, close = (prices[1:][bars] for prices in (open, high, low, close))  # noqa: A001
    k = 0.34 / (1.34 + (n + 1) / (n - 1))
    within = rogers_satchell_variance(open, high, low, close)
    return sample_variance(overnight[bars]) + k * sample_variance(np.log(close / open)) + (1 - k) * within


def _mean(numbers: Column) -> float:
    return float(numbers.mean()) if len(numbers) else math.nan
