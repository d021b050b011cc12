"""The figures against values that others have published, to every printed digit.

Each value is printed in the source that is named beside it, together with its inputs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cryptometrics import risk
from cryptometrics.risk import ewma
from tests.unit.risk.edhec_returns import CTA_GLOBAL, MERGER_ARBITRAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptometrics.risk.tail_risk import Method


def assert_printed(value: float | None, printed: str) -> None:
    """Check a figure against its printed form: it must round to the same digits."""
    assert value is not None
    mantissa, _, exponent = printed.partition("e")
    places = len(mantissa.partition(".")[2])
    unit = 10.0 ** (int(exponent or 0) - places)
    assert abs(value - float(printed)) <= unit * 0.500001, f"{value} is not {printed}"


# Basel Committee on Banking Supervision, "Supervisory framework for the use of backtesting", January 1996,
# table 2: exceptions in 250 days at 99 %, zone, cumulative probability in per cent.
@pytest.mark.parametrize(
    ("failures", "zone", "printed"),
    [
        (0, "green", "8.11"),
        (1, "green", "28.58"),
        (2, "green", "54.32"),
        (3, "green", "75.81"),
        (4, "green", "89.22"),
        (5, "yellow", "95.88"),
        (6, "yellow", "98.63"),
        (7, "yellow", "99.60"),
        (8, "yellow", "99.89"),
        (9, "yellow", "99.97"),
        (10, "red", "99.99"),
    ],
)
def test_the_table_of_the_basel_committee(failures: int, zone: str, printed: str) -> None:
    light = risk.traffic_light(250, failures, 0.99)
    assert light is not None
    assert light.zone == zone
    assert_printed(light.probability * 100, printed)


# Kupiec 1995, table 3, as in Jorion, "Value at Risk", 3rd edition, table 6-2: failures N at which the model
# is not rejected at 95 %, by probability of failure and number of observations: low < N < high. The first
# one is printed as N < 7.
@pytest.mark.parametrize(
    ("probability", "observations", "low", "high"),
    [
        (0.01, 255, None, 7),
        (0.01, 510, 1, 11),
        (0.01, 1000, 4, 17),
        (0.025, 255, 2, 12),
        (0.025, 510, 6, 21),
        (0.025, 1000, 15, 36),
        (0.05, 255, 6, 21),
        (0.05, 510, 16, 36),
        (0.05, 1000, 37, 65),
        (0.075, 255, 11, 28),
        (0.075, 510, 27, 51),
        (0.075, 1000, 59, 92),
        (0.10, 255, 16, 36),
        (0.10, 510, 38, 65),
        (0.10, 1000, 81, 120),
    ],
)
def test_the_regions_of_kupiec(probability: float, observations: int, low: int | None, high: int) -> None:
    kept = []
    for failures in range(high + 20):
        test = risk.kupiec(observations, failures, 1 - probability)
        assert test is not None
        if test.p_value > 0.05:
            kept.append(failures)
    assert kept[-1] == high - 1
    assert low is None or kept[0] == low + 1


# MathWorks, Risk Management Toolbox: the example of `varbacktest.pof` (Normal95 and Normal99), and that of
# `risk.validation.proportionOfFailuresTest`.
@pytest.mark.parametrize(
    ("observations", "failures", "confidence", "statistic", "p_value"),
    [
        (1043, 57, 0.95, "0.46147", "0.49694"),
        (1043, 17, 0.99, "3.5118", "0.060933"),
        (250, 3, 0.95, "10.812", "0.0010083"),
        (250, 3, 0.99, "0.09494", "0.75799"),
    ],
)
def test_proportion_of_failures_as_matlab(
    observations: int, failures: int, confidence: float, statistic: str, p_value: str
) -> None:
    test = risk.kupiec(observations, failures, confidence)
    assert test is not None
    assert_printed(test.statistic, statistic)
    assert_printed(test.p_value, p_value)


def failures_in_order(n00: int, n01: int, n10: int, n11: int) -> list[bool]:
    """Return forecasts with these counts of (before, now), which begin without a failure."""
    assert n01 == n10
    single = [True, False] * (n01 - 1)
    cluster = [True] * (n11 + 1) + [False]
    return [False] * (n00 + 1) + single + cluster


# MathWorks, Risk Management Toolbox: the examples of `varbacktest.cci` and `varbacktest.cc` (Normal95), with
# N00 = 932, N10 = 53, N01 = 53, N11 = 4 of 1043 observations and 57 failures.
def test_independence_and_conditional_coverage_as_matlab() -> None:
    failed = failures_in_order(932, 53, 53, 4)
    assert (len(failed), sum(failed)) == (1043, 57)
    independence = risk.christoffersen(failed, 0.95)
    both = risk.conditional_coverage(failed, 0.95)
    assert independence is not None
    assert both is not None
    assert_printed(independence.statistic, "0.25866")
    assert_printed(independence.p_value, "0.61104")
    assert_printed(both.statistic, "0.72013")
    assert_printed(both.p_value, "0.69763")


# MathWorks, Financial Toolbox: both examples of `portvrisk`, from mean, standard deviation and value.
@pytest.mark.parametrize(
    ("mean", "deviation", "confidence", "value", "printed"),
    [
        (0.0029, 0.0308, 0.99, 1, "0.0688"),
        (0.0029, 0.0308, 0.95, 1, "0.0478"),
        (0.0029, 0.0308, 0.90, 1, "0.0366"),
        (0.0029, 0.0308, 0.90, 1_000_000_000, "3.6572e7"),
        (0.0030, 0.0315, 0.90, 500_000_000, "1.8684e7"),
    ],
)
def test_normal_value_at_risk_as_matlab(
    mean: float, deviation: float, confidence: float, value: float, printed: str
) -> None:
    returns = [mean - deviation, mean + deviation]  # two returns of just this mean and deviation
    found = risk.value_at_risk(returns, confidence, method="normal")
    assert found is not None
    assert_printed(found * value, printed)


# R package PerformanceAnalytics, output of the examples of `ES`
# (tests/Examples/PerformanceAnalytics-Ex.Rout.save), on data(edhec) as it was then; there as gains. Its
# historical figure of CTA Global is missing here: two returns equal the quantile, which that package leaves
# out of the tail and this one does not.
@pytest.mark.parametrize(
    ("returns", "method", "confidence", "printed"),
    [
        (CTA_GLOBAL, "normal", 0.95, "0.04517756"),
        (CTA_GLOBAL, "modified", 0.95, "0.04284185"),
        (CTA_GLOBAL, "modified", 0.99, "0.05572595"),
        (MERGER_ARBITRAGE, "historical", 0.95, "0.024625"),
        (MERGER_ARBITRAGE, "normal", 0.95, "0.01617616"),
        (MERGER_ARBITRAGE, "modified", 0.95, "0.03326371"),
        (MERGER_ARBITRAGE, "modified", 0.99, "0.03630211"),
    ],
)
def test_expected_shortfall_as_r(
    returns: np.ndarray, method: Method, confidence: float, printed: str
) -> None:
    assert len(returns) == 152
    assert_printed(risk.expected_shortfall(returns, confidence, method=method), printed)


# The same file, output of the examples of `VaR`.
@pytest.mark.parametrize(
    ("returns", "method", "confidence", "printed"),
    [
        (CTA_GLOBAL, "historical", 0.95, "0.0354"),
        (CTA_GLOBAL, "normal", 0.95, "0.03471098"),
        (CTA_GLOBAL, "modified", 0.95, "0.03380228"),
        (CTA_GLOBAL, "modified", 0.99, "0.04847019"),
        (MERGER_ARBITRAGE, "historical", 0.95, "0.013455"),
        (MERGER_ARBITRAGE, "normal", 0.95, "0.01152478"),
        (MERGER_ARBITRAGE, "modified", 0.95, "0.01486869"),
    ],
)
def test_value_at_risk_as_r(returns: np.ndarray, method: Method, confidence: float, printed: str) -> None:
    assert_printed(risk.value_at_risk(returns, confidence, method=method), printed)


# The same file, output of the examples of `StdDev` and `sd.annualized`.
@pytest.mark.parametrize(
    ("returns", "bars_per_year", "printed"),
    [
        (CTA_GLOBAL, 1, "0.0251309"),
        (CTA_GLOBAL, 12, "0.08705599"),
        (MERGER_ARBITRAGE, 1, "0.01116827"),
        (MERGER_ARBITRAGE, 12, "0.03868803"),
    ],
)
def test_standard_deviations_as_r(returns: np.ndarray, bars_per_year: float, printed: str) -> None:
    close = np.exp(np.cumsum([0.0, *returns]))  # prices with just these log returns
    found = risk.volatility(close, close, close, close, estimator="close", bars_per_year=bars_per_year)
    assert_printed(found, printed)


# R package PerformanceAnalytics, output of `table.Stats(edhec)` in the same file: lower quartiles.
@pytest.mark.parametrize(("returns", "printed"), [(CTA_GLOBAL, "-0.0115"), (MERGER_ARBITRAGE, "0.0018")])
def test_lower_quartiles_as_r(returns: np.ndarray, printed: str) -> None:
    found = risk.value_at_risk(returns, 0.75)
    assert found is not None
    assert_printed(-found, printed)


# Microsoft, Excel functions PERCENTILE.INC and QUARTILE.INC: the examples of their pages.
@pytest.mark.parametrize(
    ("numbers", "share", "printed"),
    [([1, 2, 3, 4], 0.3, "1.9"), ([1, 2, 4, 7, 8, 9, 10, 12], 0.25, "3.5")],
)
def test_quantiles_as_excel(numbers: list[float], share: float, printed: str) -> None:
    found = risk.value_at_risk(numbers, 1 - share)
    assert found is not None
    assert_printed(-found, printed)


# Microsoft, Excel functions CORREL and SLOPE: the examples of their pages.
def test_correlation_and_slope_as_excel() -> None:
    assert_printed(risk.correlation([3, 2, 4, 5, 6], [9, 7, 12, 15, 17]), "0.997054")
    assert_printed(risk.beta([2, 3, 9, 1, 8, 7, 5], [6, 5, 11, 7, 5, 4, 4]), "0.305556")


_ANSCOMBE_X = [10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5]


# Anscombe, "Graphs in statistical analysis", The American Statistician 27, 1973: to two places, all four sets
# have a slope of 0.50 and a correlation of 0.82.
@pytest.mark.parametrize(
    ("x", "y"),
    [
        (_ANSCOMBE_X, [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68]),
        (_ANSCOMBE_X, [9.14, 8.14, 8.74, 8.77, 9.26, 8.10, 6.13, 3.10, 9.13, 7.26, 4.74]),
        (_ANSCOMBE_X, [7.46, 6.77, 12.74, 7.11, 7.81, 8.84, 6.08, 5.39, 8.15, 6.42, 5.73]),
        ([8] * 7 + [19] + [8] * 3, [6.58, 5.76, 7.71, 8.84, 8.47, 7.04, 5.25, 12.50, 5.56, 7.91, 6.89]),
    ],
)
def test_the_quartet_of_anscombe(x: Sequence[float], y: Sequence[float]) -> None:
    assert_printed(risk.beta(y, x), "0.50")
    assert_printed(risk.correlation(x, y), "0.82")


# NIST, Statistical Reference Datasets, linear regression, dataset Norris (y, x) with certified B1 and R².
def test_the_dataset_norris_of_nist() -> None:
    rows = """
    0.1 0.2 338.8 337.4 118.1 118.2 888.0 884.6 9.2 10.1 228.1 226.5 668.5 666.3 998.5 996.3 449.1 448.6
    778.9 777.0 559.2 558.2 0.3 0.4 0.1 0.6 778.1 775.5 668.8 666.9 339.3 338.0 448.9 447.5 10.8 11.6
    557.7 556.0 228.3 228.1 998.0 995.8 888.8 887.6 119.6 120.2 0.3 0.3 0.6 0.3 557.6 556.8 339.3 339.1
    888.0 887.2 998.5 999.0 778.9 779.0 10.2 11.1 117.6 118.3 228.9 229.2 668.4 669.1 449.2 448.9 0.2 0.5
    """
    y, x = np.array(rows.split(), dtype=np.float64).reshape(-1, 2).T
    slope, correlation = risk.beta(y, x), risk.correlation(x, y)
    assert slope is not None
    assert correlation is not None
    assert slope == pytest.approx(1.00211681802045, rel=1e-13)
    assert correlation**2 == pytest.approx(0.999993745883712, rel=1e-13)


# Hull, "Options, Futures, and Other Derivatives", table "Computation of volatility", from 21 daily prices:
# 0.01216 a day, 19.3 % a year of 252 days.
def test_historical_volatility_as_hull() -> None:
    close = [20.00, 20.10, 19.90, 20.00, 20.50, 20.25, 20.90, 20.90, 20.90, 20.75, 20.75]
    close += [21.00, 21.10, 20.90, 20.90, 21.25, 21.40, 21.40, 21.25, 21.75, 22.00]
    for bars_per_year, printed in ((1, "0.01216"), (252, "0.193")):
        found = risk.volatility(close, close, close, close, estimator="close", bars_per_year=bars_per_year)
        assert_printed(found, printed)


# Hull, the same book, EWMA: λ = 0.90, a volatility of 1 % a day and a return of 2 % give a variance of
# 0.00013, that is 1.14 %.
def test_ewma_as_hull() -> None:
    variance = float(ewma.recursion(np.array([0.02**2]), 0.90, 0.01**2)[0])
    assert_printed(variance, "0.00013")
    assert_printed(math.sqrt(variance) * 100, "1.14")


# Python package empyrical (quantopian/empyrical), expected values of `test_max_drawdown`; there as gains.
@pytest.mark.parametrize(
    ("per_cent", "printed"),
    [
        ([1, 10, -4, 2, 3, 2, 1, -10], "0.1"),
        ([0, -6, -7, -1, -9, -2, -6, -8, -5], "0.365907303498736"),
        ([10, -10, 10], "0.10"),
        ([1, 2, 1, 1, 1, 1, 1, 1, 1], "0.0"),
        ([0, 1, 0, 1, 0, 1, 0, 1, 0], "0.0"),
    ],
)
def test_max_drawdown_as_empyrical(per_cent: list[float], printed: str) -> None:
    found = risk.max_drawdown(np.cumprod([1, *(1 + np.array(per_cent) / 100)]))
    assert found is not None
    assert_printed(found.value, printed)
