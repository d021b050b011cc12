"""Test whether a value at risk held: losses beyond it must be as rare as promised, and not in clusters.

T forecasts at confidence p were exceeded x times, and q = 1 − p. Likelihood ratios are compared with the
χ² distribution: a small p-value speaks against the model. 0⁰ = 1 throughout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from cryptometrics.risk.columns import all_finite, column, require_confidence

if TYPE_CHECKING:
    from cryptometrics.risk.columns import Column, Numbers

YELLOW_FROM = 0.95
RED_FROM = 0.9999
"""The cumulative probabilities at which the zones of the traffic light begin (Basel Committee 1996)."""


@dataclass(frozen=True, slots=True)
class CoverageTest:
    """A likelihood ratio and the probability of a larger one if the model is right."""

    statistic: float
    p_value: float


@dataclass(frozen=True, slots=True)
class TrafficLight:
    """A zone of the Basel Committee, and the probability of so few failures or fewer."""

    zone: Literal["green", "yellow", "red"]
    probability: float


def chi_square_1_tail(statistic: float) -> float:
    """Return the probability that χ² with one degree of freedom exceeds a value: erfc(√(x/2))."""
    return math.erfc(math.sqrt(statistic / 2))


def chi_square_2_tail(statistic: float) -> float:
    """Return the probability that χ² with two degrees of freedom exceeds a value: e^(−x/2)."""
    return math.exp(-statistic / 2)


def kupiec(observations: int, failures: int, confidence: float) -> CoverageTest | None:
    """Test whether failures were as frequent as promised.

    Formula: LR = −2 ln[(1 − q)^(T−x) q^x] + 2 ln[(1 − x/T)^(T−x) (x/T)^x], χ² with one degree of freedom.
    Source: Kupiec 1995, proportion of failures. The statistic has no unit.

    None without observations. Raises ValueError for counts that are not whole, negative, or more failures
    than observations, and for a confidence outside of (0, 1).
    """
    observations, failures = _counts(observations, failures)
    q = require_confidence(confidence)
    if not observations:
        return None
    promised = _log_likelihood(observations - failures, failures, q)
    observed = _log_likelihood(observations - failures, failures, failures / observations)
    statistic = max(0.0, 2 * (observed - promised))
    return CoverageTest(statistic, chi_square_1_tail(statistic))


def christoffersen(failed: Numbers, confidence: float) -> CoverageTest | None:
    """Test whether a failure makes another one at the next forecast more or less likely.

    Formula: with n_ij forecasts in state j after one in state i (1 is a failure), π_i = n_i1/(n_i0 + n_i1)
    and π = (n_01 + n_11)/n,
    LR = −2 ln[(1 − π)^(n_00+n_10) π^(n_01+n_11)]
         + 2 ln[(1 − π_0)^n_00 π_0^n_01 (1 − π_1)^n_10 π_1^n_11], χ² with one degree of freedom.
    Source: Christoffersen 1998, independence. It does not depend on `confidence`, which is only checked.

    None for fewer than two forecasts or if one is missing. Raises ValueError for values other than 0 and 1
    (False and True), and for a confidence outside of (0, 1).
    """
    states = _states(failed)
    require_confidence(confidence)
    if len(states) < 2 or not all_finite(states):
        return None
    before, now = states[:-1] == 1, states[1:] == 1
    n00, n01 = int((~before & ~now).sum()), int((~before & now).sum())
    n10, n11 = int((before & ~now).sum()), int((before & now).sum())
    independent = _log_likelihood(n00 + n10, n01 + n11, (n01 + n11) / len(now))
    dependent = _log_likelihood(n00, n01, n01 / (n00 + n01 or 1))
    dependent += _log_likelihood(n10, n11, n11 / (n10 + n11 or 1))
    statistic = max(0.0, 2 * (dependent - independent))
    return CoverageTest(statistic, chi_square_1_tail(statistic))


def conditional_coverage(failed: Numbers, confidence: float) -> CoverageTest | None:
    """Test both at once: whether failures were as frequent as promised, and independent.

    Formula: the sum of the statistics of `kupiec` and `christoffersen`, χ² with two degrees of freedom.
    Source: Christoffersen 1998. None and ValueError as in `christoffersen`.
    """
    independence = christoffersen(failed, confidence)
    if independence is None:
        return None
    states = _states(failed)
    frequency = kupiec(len(states), int(states.sum()), confidence)
    if frequency is None:
        return None
    statistic = frequency.statistic + independence.statistic
    return CoverageTest(statistic, chi_square_2_tail(statistic))


def traffic_light(observations: int, failures: int, confidence: float) -> TrafficLight | None:
    """Return the zone that so many failures fall into: green, yellow or red.

    Formula: the cumulative binomial probability F(x; T, q); green below 0.95, yellow below 0.9999, red from
    there. 250 forecasts at 0.99 are green up to 4 failures, yellow from 5 to 9, red from 10.
    Source: Basel Committee on Banking Supervision, January 1996.

    None and ValueError as in `kupiec`.
    """
    observations, failures = _counts(observations, failures)
    q = require_confidence(confidence)
    if not observations:
        return None
    probability = binomial_cdf(failures, observations, q)
    if probability < YELLOW_FROM:
        return TrafficLight("green", probability)
    return TrafficLight("yellow" if probability < RED_FROM else "red", probability)


def binomial_cdf(failures: int, observations: int, q: float) -> float:
    """Return the probability of at most so many failures, each of probability q and independent."""
    log_all = math.lgamma(observations + 1)
    terms = (
        math.exp(
            log_all
            - math.lgamma(x + 1)
            - math.lgamma(observations - x + 1)
            + x * math.log(q)
            + (observations - x) * math.log1p(-q)
        )
        for x in range(failures + 1)
    )
    return 1.0 if failures == observations else min(1.0, math.fsum(terms))


def _log_likelihood(kept: int, failed: int, q: float) -> float:
    """Return ln[(1 − q)^kept · q^failed], with 0⁰ = 1."""
    return (kept * math.log1p(-q) if kept else 0.0) + (failed * math.log(q) if failed else 0.0)


def _counts(observations: int, failures: int) -> tuple[int, int]:
    for name, count in (("observations", observations), ("failures", failures)):
        if not isinstance(count, (int, np.integer)) or isinstance(count, bool) or count < 0:
            raise ValueError(f"{name} must be a whole number of at least 0, not {count!r}")
    if failures > observations:
        raise ValueError(f"there cannot be more failures ({failures}) than observations ({observations})")
    return int(observations), int(failures)


def _states(failed: Numbers) -> Column:
    states = column(failed, "failed")
    if not (np.isnan(states) | (states == 0) | (states == 1)).all():
        raise ValueError("failed must be True or False for each forecast")
    return states
