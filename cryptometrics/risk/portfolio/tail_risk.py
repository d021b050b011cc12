"""How much a portfolio could lose: value at risk, expected shortfall, and each position's part in them.

A scenario is what happened in one past minute, or over one past horizon, to all pairs at once. Applied to
what is held now, it is a loss in money:

    L_t = −Σ w_i · (e^{R_i,t} − 1),    w_i = quantity · mid price now

Only moments in which the returns of all pairs are known count. `historical` and `filtered` take the quantile
and the tail mean of these losses, and each position's loss in the same scenarios as its component. `normal`
and `modified` take the moments of Σ w_i · R_i; a component is w_i times the derivative by w_i. In each case
the components add up to the value at risk, because the value at risk grows in proportion to the portfolio.

| method | component of the value at risk over h minutes |
|---|---|
| `historical` | the loss of the position, interpolated between the two scenarios of the quantile |
| `filtered` | likewise, with R_t · σ_T/σ_{t−1} of each pair, mean times h and dispersion times √h |
| `normal` | −z·√h·w_i·(Σw)_i/√(wᵀΣw) − h·w_i·μ_i |
| `modified` | −w_i·(h·μ_i + √h·(s·∂z'/∂w_i + z'·∂s/∂w_i)) |

Sources: Garman 1996 (components); Boudt, Peterson, Croux 2008 (of `modified`); Barone-Adesi, Giannopoulos,
Vosper 1999 (`filtered` for portfolios); those of `tail_risk`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cryptometrics.risk import ewma
from cryptometrics.risk.columns import Column, require_confidence
from cryptometrics.risk.minutes import count_apart, log_returns
from cryptometrics.risk.reasons import too_few
from cryptometrics.risk.tail_risk import (
    MIN_RETURNS,
    cornish_fisher,
    historical,
    min_quantile_returns,
    modified,
    normal,
    quantile_place,
    scaled_to_horizon,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptometrics.risk.figures import FigureSettings
    from cryptometrics.risk.pair_minutes import RangeMinutes

Matrix: TypeAlias = NDArray[np.float64]
"""A row for each moment, a column for each position."""


class TooFewScenariosError(Exception):
    """A portfolio's risk cannot be known; the message is the reason, in a few words for people."""


@dataclass(frozen=True, slots=True)
class PortfolioTailRisk:
    """Losses in money, positive; a column has one number for each exposure, in their order."""

    value_at_risk: float
    expected_shortfall: float
    alone: Column
    """The value at risk of each position by itself."""
    components: Column
    """Each position's part in the value at risk; negative where it hedges. They add up."""


def portfolio_tail_risk(
    exposures: Column, ranges: Sequence[RangeMinutes], settings: FigureSettings
) -> PortfolioTailRisk:
    """Return the risk of exposures in money, each to the pair of its range, over the horizon.

    The ranges end at the same moment and are equally long. Raises TooFewScenariosError.
    """
    if not len(exposures):
        return PortfolioTailRisk(0.0, 0.0, exposures, exposures)
    q = require_confidence(settings.confidence)
    if settings.method == "historical":
        return _of_scenarios(exposures, _historical_returns(ranges, settings.horizon, q), q)
    returns, before = _joint_returns(ranges)
    if settings.method == "filtered":
        return _of_scenarios(exposures, _filtered_returns(returns, before, settings, q), q)
    known = _known_rows(returns[before:])
    if len(known) < MIN_RETURNS:
        raise TooFewScenariosError(
            too_few(MIN_RETURNS, len(known), "minutes in which all pairs have returns")
        )
    parts = known * exposures
    of_method = normal if settings.method == "normal" else modified
    components = _normal_components if settings.method == "normal" else _modified_components
    whole = of_method(parts.sum(axis=1), q, settings.horizon)
    alone = [of_method(part, q, settings.horizon) for part in parts.T]
    assert whole is not None  # noqa: S101  (there are enough returns)
    return PortfolioTailRisk(
        whole.value_at_risk,
        whole.expected_shortfall,
        np.array([each.value_at_risk for each in alone if each is not None]),
        components(parts, q, settings.horizon),
    )


def _joint_returns(ranges: Sequence[RangeMinutes]) -> tuple[Matrix, int]:
    """Return the one-minute returns of all ranges, and how many rows of them lie before the range."""
    rows = min(len(each.returns) for each in ranges)
    return np.column_stack([each.returns[len(each.returns) - rows :] for each in ranges]), (
        rows - ranges[0].minutes
    )


def _known_rows(returns: Matrix) -> Matrix:
    known: Matrix = returns[np.isfinite(returns).all(axis=1)]
    return known


def _historical_returns(ranges: Sequence[RangeMinutes], horizon: int, q: float) -> Matrix:
    returns = np.column_stack([log_returns(each.closes, horizon) for each in ranges])
    apart = count_apart(np.isfinite(returns.sum(axis=1)), horizon)
    if apart < min_quantile_returns(q):
        what = f"returns of all pairs over {horizon} min that do not overlap"
        raise TooFewScenariosError(too_few(min_quantile_returns(q), apart, what))
    return _known_rows(returns)


def _filtered_returns(returns: Matrix, before: int, settings: FigureSettings, q: float) -> Matrix:
    """Return the returns after the start window, each at the newest volatility of its own pair."""
    window = ewma.start_window(settings.decay)
    used = np.concatenate([_known_rows(returns[:before])[-window:], _known_rows(returns[before:])])
    scaled = _known_rows(_at_newest_volatility(used, window, settings.decay))
    if len(scaled) < min_quantile_returns(q):
        what = f"minutes after a start window of {window} in which all pairs have returns"
        raise TooFewScenariosError(too_few(min_quantile_returns(q), len(scaled), what))
    return np.column_stack([scaled_to_horizon(column, settings.horizon) for column in scaled.T])


def _at_newest_volatility(returns: Matrix, window: int, decay: float) -> Matrix:
    """Return R_t · σ_T/σ_{t−1} after the start window, NaN where the variance before was zero.

    As `ewma.rescaled` of each column, but it keeps the places of what it cannot scale, so that pairs stay
    side by side. A price that never moved stays where it is.
    """
    if len(returns) <= window:
        return returns[:0]
    volatility = np.sqrt(ewma.variance_rows(returns, decay))
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled: Matrix = returns[window:] * (volatility[-1] / volatility[:-1])
    scaled[:, ~returns.any(axis=0)] = 0
    return scaled


def _of_scenarios(exposures: Column, returns: Matrix, q: float) -> PortfolioTailRisk:
    """Compute the risk from scenarios; the caller ensures that there are enough for a quantile."""
    gains = np.expm1(returns) * exposures
    whole = historical(gains.sum(axis=1), q)
    alone = [historical(gain, q) for gain in gains.T]
    assert whole is not None  # noqa: S101  (there are enough scenarios)
    order = np.argsort(gains.sum(axis=1), kind="stable")
    index, weight = quantile_place(len(order), q)
    components = -gains[order[index]]
    if weight:
        components = components + weight * (-gains[order[index + 1]] - components)
    return PortfolioTailRisk(
        whole.value_at_risk,
        whole.expected_shortfall,
        np.array([each.value_at_risk for each in alone if each is not None]),
        components,
    )


def _normal_components(parts: Matrix, q: float, horizon: int) -> Column:
    z = NormalDist().inv_cdf(q)
    means = parts.mean(axis=0)
    from_mean = parts - means
    whole = from_mean.sum(axis=1)
    deviation = math.sqrt(float(np.square(whole).mean()))
    slopes = (from_mean * whole[:, None]).mean(axis=0) / deviation if deviation else np.zeros_like(means)
    return _negative(horizon * means + z * math.sqrt(horizon) * slopes)


def _modified_components(parts: Matrix, q: float, horizon: int) -> Column:
    z = NormalDist().inv_cdf(q)
    means = parts.mean(axis=0)
    from_mean = parts - means
    whole = from_mean.sum(axis=1)
    s = math.sqrt(float(np.square(whole).mean()))
    if not s:
        return _negative(horizon * means)
    # In units of s, so that no power of money overflows. The slopes are w_i · ∂/∂w_i of s (in units of s),
    # of the skewness S, of the kurtosis K and of z'.
    unit, part = whole / s, from_mean / s
    skewness, kurtosis = float((unit**3).mean()), float((unit**4).mean())
    slope = (part * unit[:, None]).mean(axis=0)
    slope_s = 3 * (part * (unit**2)[:, None]).mean(axis=0) - 3 * skewness * slope
    slope_k = 4 * (part * (unit**3)[:, None]).mean(axis=0) - 4 * kurtosis * slope
    slope_z = (
        (z**2 - 1) / 6 * slope_s
        + (z**3 - 3 * z) / 24 * slope_k
        - (2 * z**3 - 5 * z) / 18 * skewness * slope_s
    )
    corrected = cornish_fisher(z, skewness, kurtosis - 3)
    return _negative(horizon * means + math.sqrt(horizon) * s * (slope_z + corrected * slope))


def _negative(gains: Column) -> Column:
    losses: Column = -gains
    return losses
