from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cryptometrics import risk
from cryptometrics.risk.columns import require_confidence
from cryptometrics.risk.horizon import tail_risk_of_minutes
from cryptometrics.risk.tail_risk import (
    min_quantile_returns,
    modified,
    normal,
    scaled_to_horizon,
    tail_risk,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptometrics.risk.tail_risk import Method, TailRisk


@pytest.mark.parametrize(
    ("method", "confidence", "needed"),
    [
        ("historical", 0.95, 20),
        ("historical", 0.99, 100),
        ("filtered", 0.95, 37),
        ("normal", 0.99, 2),
        ("modified", 0.99, 2),
    ],
)
def test_too_few_returns_give_none(method: str, confidence: float, needed: int) -> None:
    returns = [0.01 * (-1) ** index for index in range(needed)]
    for figure in (risk.value_at_risk, risk.expected_shortfall):
        assert figure(returns, confidence, method=method) is not None  # type: ignore[arg-type]
        assert figure(returns[:-1], confidence, method=method) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("method", [normal, modified])
def test_the_usual_horizon_is_that_of_one_return(method: Callable[..., TailRisk | None]) -> None:
    returns = np.array([0.01, -0.02, 0.03, -0.01])
    assert method(returns, 0.05) == method(returns, 0.05, 1) != method(returns, 0.05, 2)


def test_an_invalid_confidence_is_refused_although_there_are_no_returns() -> None:
    for figure in (risk.value_at_risk, risk.expected_shortfall):
        with pytest.raises(ValueError, match="confidence must be between 0 and 1"):
            figure([], 1.5)


def test_filtered_rescales_to_the_newest_volatility() -> None:
    """A calm past, then ten times as wild: the forecast is about that of the wild part."""
    rng = np.random.default_rng(3)
    returns = np.concatenate([rng.normal(0, 0.001, 2000), rng.normal(0, 0.01, 200)])
    calm = risk.value_at_risk(returns, 0.95)
    filtered = risk.value_at_risk(returns, 0.95, method="filtered", half_life=30)
    assert calm is not None
    assert filtered is not None
    assert calm < 0.006 < filtered
    assert filtered == pytest.approx(1.645 * 0.01, rel=0.3)


def test_filtered_leaves_out_returns_after_a_volatility_of_zero() -> None:
    assert risk.value_at_risk(np.zeros(200), 0.95, method="filtered") is None


def test_the_figures_of_returns_that_are_all_equal_are_their_loss() -> None:
    for method in ("historical", "normal", "modified"):
        for figure in (risk.value_at_risk, risk.expected_shortfall):
            assert figure([0.1] * 30, 0.95, method=method) == pytest.approx(-0.1)


@pytest.mark.parametrize("method", ["normal", "modified", "filtered"])
def test_a_horizon_scales_the_mean_by_time_and_the_dispersion_by_its_root(method: str) -> None:
    returns = np.random.default_rng(8).normal(0.001, 0.01, 3000)
    one = tail_risk(returns, 0.95, method=method)  # type: ignore[arg-type]
    many = tail_risk(returns, 0.95, method=method, horizon=16)  # type: ignore[arg-type]
    assert one is not None
    assert many is not None
    mean = returns.mean() if method != "filtered" else None
    if mean is not None:
        assert many.value_at_risk == pytest.approx((one.value_at_risk + mean) * 4 - 16 * mean)
    assert 2 * one.value_at_risk < many.value_at_risk < 4 * one.value_at_risk


def minutes(count: int) -> np.ndarray:
    return np.exp(np.cumsum(np.random.default_rng(4).normal(0, 0.001, count)))


def test_the_defaults_over_a_day_give_filtered_and_no_historical_figure() -> None:
    close = minutes(1441)
    decay = 2 ** (-1 / 60)
    assert tail_risk_of_minutes(close, 0.99, horizon=60, method="historical") is None
    assert tail_risk_of_minutes(close, 0.99, horizon=60, method="filtered", decay=decay) is not None


def test_historical_takes_overlapping_returns_of_which_enough_do_not_overlap() -> None:
    close = minutes(201)
    found = tail_risk_of_minutes(close, 0.95, horizon=10, method="historical")
    assert found is not None
    overlapping = np.log(close[10:] / close[:-10])
    assert found.value_at_risk == risk.value_at_risk(overlapping, 0.95)
    assert tail_risk_of_minutes(close[1:], 0.95, horizon=10, method="historical") is None


def test_returns_before_the_range_only_start_the_volatility() -> None:
    close = minutes(200)
    before = tail_risk_of_minutes(close, 0.95, horizon=1, method="filtered", before=50)
    assert before == tail_risk_of_minutes(close[50 - 17 :], 0.95, horizon=1, method="filtered")
    for method in ("historical", "normal", "modified"):
        found = tail_risk_of_minutes(close, 0.95, horizon=1, method=method, before=50)
        assert found == tail_risk_of_minutes(close[50:], 0.95, horizon=1, method=method)


@pytest.mark.parametrize("method", risk.METHODS)
def test_a_horizon_of_no_minute_is_refused(method: Method) -> None:
    with pytest.raises(ValueError, match="horizon must be at least one minute, not 0"):
        tail_risk_of_minutes(minutes(200), 0.95, horizon=0, method=method)


def test_unknown_minutes_are_left_out() -> None:
    close = minutes(300)
    close[100:110] = math.nan
    known = np.log(close[1:] / close[:-1])
    known = known[np.isfinite(known)]
    found = tail_risk_of_minutes(close, 0.95, horizon=1, method="normal")
    assert found is not None
    assert found.value_at_risk == risk.value_at_risk(known, 0.95, method="normal")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"confidence": 1.0}, "confidence must be between 0 and 1"),
        ({"confidence": math.nan}, "confidence must be between 0 and 1"),
        ({"confidence": 95}, "confidence must be between 0 and 1"),
        ({"confidence": 0.95, "method": "best"}, "unknown method 'best'"),
        ({"confidence": 0.95, "half_life": 0}, "half_life must be a positive number"),
        ({"confidence": 0.95, "returns": [[0.1]]}, "returns must have one dimension"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    for figure in (risk.value_at_risk, risk.expected_shortfall):
        with pytest.raises(ValueError, match=message):
            figure(**{"returns": [0.1] * 30, **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize("returns", [20, 100, 337, 900])
def test_a_quantile_needs_one_return_beyond_it(returns: int) -> None:
    """Whatever the rounding of floats: at confidence 1 − 1/n, n returns are enough."""
    q = require_confidence(1 - 1 / returns)
    assert min_quantile_returns(q) == returns
    assert min_quantile_returns(q * 0.999) == returns + 1


def test_returns_over_a_horizon_keep_their_order() -> None:
    """The mean of 2 % grows fourfold, the deviations of 1 % twofold."""
    assert scaled_to_horizon(np.array([0.01, 0.03]), 4) == pytest.approx([0.06, 0.10])
