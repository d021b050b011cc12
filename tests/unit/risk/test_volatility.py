from __future__ import annotations

import math

import numpy as np
import pytest

from cryptometrics import risk
from cryptometrics.risk.ewma import decay_factor, start_window
from cryptometrics.risk.volatility import bar_variance, bipower_variance, realized_variance

ONE = [100.0]
NAN = math.nan


@pytest.mark.parametrize("estimator", ["parkinson", "garman_klass", "rogers_satchell"])
def test_one_bar_is_enough_for_an_estimator_from_extremes(estimator: str) -> None:
    assert risk.volatility([100], [103], [99], [101], estimator=estimator) is not None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("estimator", "bars"), [("close", 2), ("realized", 2), ("bipower", 2), ("yang_zhang", 2), ("ewma", 17)]
)
def test_too_few_bars_give_none_and_one_more_a_figure(estimator: str, bars: int) -> None:
    prices = [100.0 + index % 3 for index in range(bars + 1)]
    few = prices[:bars]
    assert risk.volatility(few, few, few, few, estimator=estimator) is None  # type: ignore[arg-type]
    assert risk.volatility(prices, prices, prices, prices, estimator=estimator) is not None  # type: ignore[arg-type]


def test_no_bars_give_none() -> None:
    assert all(risk.volatility([], [], [], [], estimator=name) is None for name in risk.ESTIMATORS)


def test_the_half_life_is_where_half_the_weight_lies() -> None:
    """With a half-life of one bar, λ is ½ and the start window has two returns."""
    close = np.exp(np.cumsum([0.0, 0.01, 0.03, 0.02]))
    found = risk.volatility(close, close, close, close, estimator="ewma", bars_per_year=1, half_life=1)
    assert found == pytest.approx(math.sqrt(0.5 * (0.01**2 + 0.03**2) / 2 + 0.5 * 0.02**2))


def test_unknown_returns_are_left_out_and_counted_out() -> None:
    returns = np.array([0.01, math.nan, 0.03, 0.02])
    assert realized_variance(returns) == pytest.approx((0.01**2 + 0.03**2 + 0.02**2) / 3)
    assert bipower_variance(returns) == pytest.approx(math.pi / 2 * 0.03 * 0.02)


@pytest.mark.parametrize("estimator", risk.ESTIMATORS)
def test_minutes_without_a_price_are_left_out(estimator: str) -> None:
    rng = np.random.default_rng(1)
    close = np.exp(np.cumsum(rng.normal(0, 0.01, 60)))
    opened = np.concatenate([close[:1], close[:-1]])
    high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
    whole = bar_variance(opened, high, low, close, estimator=estimator)  # type: ignore[arg-type]
    with_gap = [np.concatenate([prices, [math.nan]]) for prices in (opened, high, low, close)]
    assert bar_variance(*with_gap, estimator=estimator) == pytest.approx(whole)  # type: ignore[arg-type]


def test_yang_zhang_takes_from_the_first_bar_only_its_close() -> None:
    """So that n + 1 bars give what TTR's volatility(calc="yang.zhang", n = n) gives for the last of them."""
    opened, high = np.array([90.0, 101.0, 102.0, 99.0]), np.array([95.0, 104.0, 103.0, 101.0])
    low, close = np.array([80.0, 100.0, 98.0, 97.0]), np.array([100.0, 103.0, 99.0, 100.0])
    n, k = 3, 0.34 / (1.34 + 4 / 2)
    within = np.log(high / close) * np.log(high / opened) + np.log(low / close) * np.log(low / opened)
    variance = (
        np.var(np.log(opened[1:] / close[:-1]), ddof=1)
        + k * np.var(np.log(close / opened)[1:], ddof=1)
        + (1 - k) * within[1:].sum() / n
    )
    found = risk.volatility(opened, high, low, close, estimator="yang_zhang", bars_per_year=1)
    assert found == pytest.approx(math.sqrt(variance))


def test_yang_zhang_leaves_out_a_bar_without_the_close_before_it() -> None:
    opened, high = np.array([90, 101, NAN, 99, 102, 98]), np.array([95, 104, NAN, 101, 103, 104])
    low, close = np.array([80, 100, NAN, 97, 98, 97]), np.array([100, 103, NAN, 100, 99, 103])
    left = [1, 4, 5]  # of the bars; the third is unknown, and the fourth has no close before it
    k = 0.34 / (1.34 + 4 / 2)
    within = np.log(high / close) * np.log(high / opened) + np.log(low / close) * np.log(low / opened)
    variance = (
        np.var(np.log(opened[left] / close[[0, 3, 4]]), ddof=1)
        + k * np.var(np.log(close / opened)[left], ddof=1)
        + (1 - k) * within[left].mean()
    )
    assert bar_variance(opened, high, low, close, estimator="yang_zhang") == pytest.approx(variance)


def test_the_jump_share_is_unknown_if_nothing_moved() -> None:
    assert risk.jump_share(np.zeros(5)) is None
    assert risk.jump_share(np.array([0.01])) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"estimator": "best"}, "unknown estimator 'best'"),
        ({"bars_per_year": 0}, "bars_per_year must be a positive number"),
        ({"half_life": -1}, "half_life must be a positive number"),
        ({"low": [1.0, 2.0]}, "equally long"),
        ({"low": [0.0]}, "low must be positive prices"),
        ({"low": [ONE]}, "low must have one dimension"),
        ({"low": ["cheap"]}, "low must be numbers"),
    ],
)
def test_wrong_arguments_are_refused(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "open": ONE,
        "high": ONE,
        "low": ONE,
        "close": ONE,
        "estimator": "close",
        **change,
    }
    with pytest.raises(ValueError, match=message):
        risk.volatility(**arguments)  # type: ignore[arg-type]


def test_a_year_has_525600_minutes_unless_told_otherwise() -> None:
    prices = [100.0, 200.0, 100.0]
    found = risk.volatility(prices, prices, prices, prices, estimator="realized")
    assert found == pytest.approx(math.log(2) * math.sqrt(365 * 24 * 60), rel=1e-9)


def test_the_start_window_is_the_mean_age_rounded_up() -> None:
    assert all(start_window(1 - 1 / bars) == bars for bars in range(2, 1500))
    assert start_window(0.94) == 17  # 16.67
    assert start_window(1 - 1 / 2.000000002) == 3
    assert start_window(decay_factor(60)) == 88  # 87.06
