"""Value at risk and expected shortfall: how much could be lost, from a column of past returns.

At confidence p, value at risk is the loss that is exceeded in the worst q = 1 − p of cases; expected
shortfall is the mean loss in these cases. Both are positive for a loss, in units of the returns: 0.02 is 2 %.

z = Φ⁻¹(q), φ the normal density, μ the mean and s the population standard deviation of the returns R,
S their skewness m₃/m₂^1.5 and K their excess kurtosis m₄/m₂² − 3, all with the divisor n.

| method | value at risk | expected shortfall |
|---|---|---|
| `historical` | −quantile(R, q), linear between order statistics | −mean of the R ≤ that quantile |
| `normal` | −(μ + z s) | −(μ − s φ(z)/q) |
| `modified` | −(μ + z' s) | −(μ + s·min(−E, z')) |
| `filtered` | `historical` of R_t · σ_T/σ_{t−1} | likewise |

Sources: Hyndman, Fan 1996 (type 7, numpy's default); Zangari 1996 and Favre, Galeano 2002 (z'); Boudt,
Peterson, Croux 2008 (E); Hull, White 1998 and Barone-Adesi, Giannopoulos, Vosper 1999 (`filtered`). The
methods `historical`, `gaussian` and `modified` of the R package PerformanceAnalytics are the first three.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from cryptometrics.risk import ewma
from cryptometrics.risk.columns import (
    all_finite,
    column,
    deviations,
    finite_or_none,
    require_confidence,
)

if TYPE_CHECKING:
    from cryptometrics.risk.columns import Column, Numbers

Method: TypeAlias = Literal["filtered", "historical", "normal", "modified"]
METHODS: tuple[Method, ...] = get_args(Method)

MIN_RETURNS = 2
"""The fewest returns that a standard deviation is computed from."""

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class TailRisk:
    """Value at risk and expected shortfall of one series: positive losses, in units of its returns."""

    value_at_risk: float
    expected_shortfall: float


def value_at_risk(
    returns: Numbers,
    confidence: float,
    *,
    method: Method = "historical",
    half_life: float | None = None,
) -> float | None:
    """Return the loss that returns exceed with probability 1 − confidence: positive, in their units.

    Formulas and sources: the table of the module. `half_life` in returns belongs to `filtered`; without it
    λ = 0.94. Returns are in order, the newest last.

    None if a return is missing or not finite, or if there are too few: `historical` needs
    1/(1 − confidence) of them, `filtered` as many after its start window, the others two. Raises ValueError
    for an unknown method, a confidence outside of (0, 1) and a half-life that is not positive.
    """
    found = _tail_risk(returns, confidence, method, half_life)
    return None if found is None else finite_or_none(found.value_at_risk)


def expected_shortfall(
    returns: Numbers,
    confidence: float,
    *,
    method: Method = "historical",
    half_life: float | None = None,
) -> float | None:
    """Return the mean loss beyond the value at risk: positive, in units of the returns.

    Formulas, sources, None and ValueError: as in `value_at_risk`, which it is never below.
    """
    found = _tail_risk(returns, confidence, method, half_life)
    return None if found is None else finite_or_none(found.expected_shortfall)


def _tail_risk(
    returns: Numbers, confidence: float, method: Method, half_life: float | None
) -> TailRisk | None:
    numbers = column(returns, "returns")
    require_confidence(confidence)
    decay = ewma.decay_factor(half_life)
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}: it must be one of {', '.join(METHODS)}")
    if not all_finite(numbers):
        return None
    return tail_risk(numbers, confidence, method=method, decay=decay)


def tail_risk(
    returns: Column,
    confidence: float,
    *,
    method: Method,
    decay: float = ewma.RISKMETRICS_DECAY,
    horizon: int = 1,
) -> TailRisk | None:
    """Return both figures of a column without NaN, None if it is too short.

    The returns are of one step; `horizon` is in steps and scales the mean by h and the dispersion by √h.
    This holds for independent returns and understates when they trend. `historical` has no such law: it
    takes returns of the horizon itself, so its horizon must be 1.
    """
    q = require_confidence(confidence)
    with np.errstate(over="ignore", invalid="ignore"):
        match method:
            case "historical":
                if horizon != 1:
                    raise ValueError("historical takes returns of the horizon, and no horizon in steps")
                return historical(returns, q)
            case "filtered":
                return historical(scaled_to_horizon(ewma.rescaled(returns, decay), horizon), q)
            case "normal":
                return normal(returns, q, horizon)
            case "modified":
                return modified(returns, q, horizon)


def min_quantile_returns(q: float) -> int:
    """Return how many returns a quantile at q needs at least: 1/q, so that one of them lies beyond it."""
    return math.ceil(round(1 / q, 6))  # rounded: 1/0.01 need not be 100 in floats


def quantile_place(n: int, q: float) -> tuple[int, float]:
    """Return where the quantile of n sorted numbers lies: an index, and the weight of the number after it.

    The place is (n − 1)·q (Hyndman, Fan 1996, type 7). A place within rounding of a number is that number:
    otherwise it would be left out of the tail.
    """
    place = (n - 1) * q
    if abs(place - round(place)) < 1e-9:
        place = round(place)
    index = math.floor(place)
    return index, place - index


def historical(returns: Column, q: float) -> TailRisk | None:
    """Return the empirical quantile and the mean of what is not above it, None for fewer than 1/q returns."""
    if len(returns) < min_quantile_returns(q):
        return None
    ordered = np.sort(returns)
    index, weight = quantile_place(len(ordered), q)
    quantile = float(ordered[index])
    if weight:
        above = float(ordered[index + 1])
        quantile = min(quantile + weight * (above - quantile), above)
    tail = ordered[: np.searchsorted(ordered, quantile, side="right")]
    # The mean of equal numbers may round to one above them.
    return TailRisk(-quantile, -min(float(tail.mean()), quantile))


def normal(returns: Column, q: float, horizon: int = 1) -> TailRisk | None:
    """Return what a normal distribution of the same mean and deviation would lose, None below two returns."""
    if len(returns) < MIN_RETURNS:
        return None
    mean, deviation = _scaled_moments(returns, horizon)
    z = _NORMAL.inv_cdf(q)
    return TailRisk(-(mean + z * deviation), -(mean - deviation * _NORMAL.pdf(z) / q))


def modified(returns: Column, q: float, horizon: int = 1) -> TailRisk | None:
    """Return the normal figures corrected for skewness and kurtosis by the expansion of Cornish and Fisher.

        z' = z + (z² − 1) S/6 + (z³ − 3z) K/24 − (2z³ − 5z) S²/36
        E  = φ(z')/q · [1 + z'³ S/6 + (z'⁶ − 9z'⁴ + 9z'² + 3) S²/72 + (z'⁴ − 2z'² − 1) K/24]

    The expansion holds near the normal distribution: far from it, z' need not even rise with confidence.
    """
    if len(returns) < MIN_RETURNS:
        return None
    mean, deviation = _scaled_moments(returns, horizon)
    skewness, kurtosis = _shape(returns)
    z = _NORMAL.inv_cdf(q)
    corrected = cornish_fisher(z, skewness, kurtosis)
    x = corrected
    tail = (
        1
        + x**3 * skewness / 6
        + (x**6 - 9 * x**4 + 9 * x**2 + 3) * skewness**2 / 72
        + (x**4 - 2 * x**2 - 1) * kurtosis / 24
    )
    beyond = _NORMAL.pdf(x) * tail / q
    return TailRisk(-(mean + corrected * deviation), -(mean + deviation * min(-beyond, corrected)))


def cornish_fisher(z: float, skewness: float, kurtosis: float) -> float:
    """Return z', the normal quantile z corrected for skewness and excess kurtosis."""
    return (
        z + (z**2 - 1) * skewness / 6 + (z**3 - 3 * z) * kurtosis / 24 - (2 * z**3 - 5 * z) * skewness**2 / 36
    )


def _scaled_moments(returns: Column, horizon: int) -> tuple[float, float]:
    deviation = math.sqrt(float(np.square(deviations(returns)).mean()))
    return float(returns.mean()) * horizon, deviation * math.sqrt(horizon)


def _shape(returns: Column) -> tuple[float, float]:
    """Return skewness and excess kurtosis, both 0 if the returns are equal and have no shape."""
    from_mean = deviations(returns)
    scale = math.sqrt(float(np.square(from_mean).mean()))
    if not scale:
        return 0.0, 0.0
    units = from_mean / scale
    return float((units**3).mean()), float((units**4).mean()) - 3


def scaled_to_horizon(returns: Column, horizon: int) -> Column:
    """Return returns with their mean times the horizon and their deviations times its root."""
    if horizon == 1 or not len(returns):
        return returns
    scaled: Column = returns.mean() * horizon + deviations(returns) * math.sqrt(horizon)
    return scaled
