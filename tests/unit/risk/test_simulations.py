"""The statistics of the figures over simulated markets, whose truth is known. Seeded."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cryptometrics import risk
from cryptometrics.risk.backtest import evaluate, walk
from cryptometrics.risk.coverage_tests import binomial_cdf

if TYPE_CHECKING:
    from cryptometrics.risk.columns import Column
    from cryptometrics.risk.volatility import Estimator

DAYS = 10_000
DAILY = 0.03
"""Standard deviation of the daily log return."""


STEPS = 256


def brownian_path(rng: np.random.Generator) -> tuple[Column, Column, Column, Column]:
    """Return days with exact extremes jointly: of bridges over 256 steps, each with its own exact extremes.

    Over one step, the highest and the lowest price are almost never both those of the day, so drawing them
    independently within a step does not matter.
    """
    opened, high, low, closed = (np.empty(DAYS) for _ in range(4))
    variance = DAILY**2 / STEPS
    start = math.log(100)
    for first in range(0, DAYS, 1000):
        days = slice(first, first + 1000)
        moves = rng.normal(0, math.sqrt(variance), (1000, STEPS))
        after = np.cumsum(moves.ravel()).reshape(moves.shape) + start
        before = after - moves
        above, below = (
            np.sqrt(np.square(moves) - 2 * variance * np.log(rng.random(moves.shape))) for _ in range(2)
        )
        opened[days], closed[days] = before[:, 0], after[:, -1]
        high[days] = (before + (moves + above) / 2).max(axis=1)
        low[days] = (before + (moves - below) / 2).min(axis=1)
        start = float(after[-1, -1])
    return np.exp(opened), np.exp(high), np.exp(low), np.exp(closed)


@pytest.fixture(scope="module")
def days() -> tuple[Column, Column, Column, Column]:
    """Return 10,000 days of geometric Brownian motion with the exact extremes of each day."""
    return brownian_path(np.random.default_rng(19))


@pytest.mark.parametrize("estimator", [name for name in risk.ESTIMATORS if name != "ewma"])
def test_estimators_are_unbiased(days: tuple[Column, Column, Column, Column], estimator: Estimator) -> None:
    found = risk.volatility(*days, estimator=estimator, bars_per_year=365)
    assert found == pytest.approx(DAILY * math.sqrt(365), rel=0.02)


def test_ewma_is_unbiased_on_average(days: tuple[Column, Column, Column, Column]) -> None:
    """A single estimate has an error of 12 %, so the mean of many variances is looked at."""
    close = days[3]
    variances = []
    for end in range(200, DAYS, 20):
        window = close[end - 200 : end]
        found = risk.volatility(window, window, window, window, estimator="ewma", bars_per_year=1)
        assert found is not None
        variances.append(found**2)
    assert math.sqrt(np.mean(variances)) == pytest.approx(DAILY, rel=0.02)


def test_the_jump_share_is_that_of_the_jumps() -> None:
    rng = np.random.default_rng(7)
    returns = rng.normal(0, 0.001, 20_000)
    returns[::1000] += 0.03  # 20 jumps, with nearly half of all variance
    share = risk.jump_share(returns)
    jumps, steady = 20 * 0.03**2, 20_000 * 0.001**2
    beside = math.pi / 2 * 40 * 0.03 * 0.001 * math.sqrt(2 / math.pi)  # products of a jump and a neighbour
    assert share == pytest.approx(1 - (steady + beside) / (steady + jumps), abs=0.02)


BACKTESTS = 2000
FORECASTS = 250
CONFIDENCE = 0.99


def zones(rng: np.random.Generator, forecast: float) -> Counter[str]:
    """Count the zones of backtests whose losses are standard normal and whose forecast is constant."""
    found: Counter[str] = Counter()
    for losses in rng.standard_normal((BACKTESTS, FORECASTS)):
        light = evaluate(np.full(FORECASTS, forecast), losses, CONFIDENCE).traffic_light
        assert light is not None
        found[light.zone] += 1
    return found


def test_zones_of_a_right_model_occur_as_often_as_the_binomial_says() -> None:
    found = zones(np.random.default_rng(11), 2.3263478740408408)
    green, yellow = binomial_cdf(4, FORECASTS, 0.01), binomial_cdf(9, FORECASTS, 0.01)
    shares = {"green": green, "yellow": yellow - green, "red": 1 - yellow}
    for zone, share in shares.items():
        error = math.sqrt(share * (1 - share) / BACKTESTS)
        assert abs(found[zone] / BACKTESTS - share) <= 3 * error, zone


def test_half_the_volatility_is_red() -> None:
    found = zones(np.random.default_rng(12), 2.3263478740408408 / 2)
    assert found["red"] >= 0.99 * BACKTESTS


def test_a_walk_through_a_steady_market_holds() -> None:
    """The whole way from closes to a verdict, with the default method."""
    rng = np.random.default_rng(5)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.0005, 12_000)))
    passed = walk(close, 0.95, range_minutes=400, horizon=15, method="filtered", decay=0.99)
    result = evaluate(passed.forecasts, passed.losses, 0.95)
    assert result.forecasts == len(range(400, 12_000 - 15, 15))
    assert result.expected == pytest.approx(result.forecasts * 0.05)
    assert result.kupiec is not None
    assert result.kupiec.p_value > 0.01
    assert result.traffic_light is not None
    assert result.traffic_light.zone == "green"
