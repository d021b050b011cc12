"""What must hold for any input, checked with generated ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cryptometrics import risk

if TYPE_CHECKING:
    from cryptometrics.risk.tail_risk import Method
    from cryptometrics.risk.volatility import Estimator

few_examples = settings(max_examples=25)
"""For inputs that take long to draw."""

PRICES = st.floats(0.01, 1e6)
RETURNS = st.floats(-0.5, 0.5, allow_subnormal=False).map(lambda number: round(number, 6))
COLUMNS = st.lists(RETURNS, min_size=40, max_size=80)
CONFIDENCES = st.sampled_from([0.5, 0.9, 0.95])
BARS = st.lists(st.tuples(PRICES, PRICES, st.floats(0, 0.1), st.floats(0, 0.1)), min_size=20, max_size=40)


def prices_of(bars: list[tuple[float, float, float, float]]) -> list[list[float]]:
    """Return open, high, low and close of bars drawn as (open, close, part above, part below)."""
    rows = [
        (opened, max(opened, closed) * (1 + above), min(opened, closed) * (1 - below), closed)
        for opened, closed, above, below in bars
    ]
    return [list(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("estimator", risk.ESTIMATORS)
@few_examples
@given(bars=BARS, scale=st.floats(0.001, 1000))
def test_volatility_does_not_depend_on_the_unit_of_prices(
    estimator: Estimator, bars: list[tuple[float, float, float, float]], scale: float
) -> None:
    prices = prices_of(bars)
    scaled = [[price * scale for price in column] for column in prices]
    one, other = (risk.volatility(*columns, estimator=estimator) for columns in (prices, scaled))
    assert one is not None
    assert other == pytest.approx(one, rel=1e-6, abs=1e-6)
    assert one >= 0


@pytest.mark.parametrize("estimator", risk.ESTIMATORS)
@few_examples
@given(price=PRICES, bars=st.integers(18, 60))
def test_volatility_of_constant_prices_is_zero(estimator: Estimator, price: float, bars: int) -> None:
    flat = [price] * bars
    assert risk.volatility(flat, flat, flat, flat, estimator=estimator) == 0


@few_examples
@given(bars=BARS, bars_per_year=st.floats(1, 1e6))
def test_volatility_grows_with_the_root_of_time(
    bars: list[tuple[float, float, float, float]], bars_per_year: float
) -> None:
    prices = prices_of(bars)
    one = risk.volatility(*prices, estimator="realized", bars_per_year=1)
    other = risk.volatility(*prices, estimator="realized", bars_per_year=bars_per_year)
    assert one is not None
    assert other == pytest.approx(one * math.sqrt(bars_per_year))


@pytest.mark.parametrize("method", risk.METHODS)
@few_examples
@given(returns=COLUMNS, confidence=CONFIDENCES)
def test_expected_shortfall_is_at_least_the_value_at_risk(
    method: Method, returns: list[float], confidence: float
) -> None:
    found = risk.value_at_risk(returns, confidence, method=method)
    beyond = risk.expected_shortfall(returns, confidence, method=method)
    assert (found is None) == (beyond is None)
    if found is not None and beyond is not None:
        assert beyond >= found


@pytest.mark.parametrize("method", risk.METHODS)
@few_examples
@given(returns=COLUMNS, confidence=CONFIDENCES, scale=st.sampled_from([0.125, 0.5, 2.0, 16.0]))
def test_tail_risk_scales_with_the_returns(
    method: Method, returns: list[float], confidence: float, scale: float
) -> None:
    scaled = [number * scale for number in returns]
    for figure in (risk.value_at_risk, risk.expected_shortfall):
        one = figure(returns, confidence, method=method)
        other = figure(scaled, confidence, method=method)
        assert other == (None if one is None else pytest.approx(one * scale, rel=1e-9, abs=1e-12))


@few_examples
@given(returns=COLUMNS, confidence=CONFIDENCES)
def test_the_order_of_returns_matters_only_where_volatility_is_filtered(
    returns: list[float], confidence: float
) -> None:
    shuffled = sorted(returns)
    methods: tuple[Method, ...] = ("historical", "normal", "modified")
    for method in methods:
        one = risk.value_at_risk(returns, confidence, method=method)
        assert risk.value_at_risk(shuffled, confidence, method=method) == pytest.approx(one, abs=1e-9)


@few_examples
@given(returns=COLUMNS, confidence=CONFIDENCES)
def test_historical_value_at_risk_is_between_two_order_statistics(
    returns: list[float], confidence: float
) -> None:
    found = risk.value_at_risk(returns, confidence)
    assert found is not None
    ordered = sorted(returns)
    place = (len(returns) - 1) * (1 - confidence)
    low, high = math.floor(place + 1e-9), math.ceil(place - 1e-9)
    assert ordered[low] <= -found <= ordered[high]
    assert -found == pytest.approx(np.quantile(returns, 1 - confidence), abs=1e-12)


@few_examples
@given(returns=COLUMNS)
def test_historical_and_normal_value_at_risk_rise_with_confidence(returns: list[float]) -> None:
    methods: tuple[Method, ...] = ("historical", "normal")
    for method in methods:
        figures = [risk.value_at_risk(returns, confidence, method=method) for confidence in (0.5, 0.8, 0.95)]
        known = [figure for figure in figures if figure is not None]
        assert len(known) == 3
        assert known == sorted(known)


@few_examples
@given(st.lists(PRICES, min_size=1, max_size=60))
def test_max_drawdown_is_the_largest_over_all_pairs(prices: list[float]) -> None:
    found = risk.max_drawdown(prices)
    assert found is not None
    falls = [
        (peak - trough) / peak
        for at, trough in enumerate(prices)
        for peak in prices[: at + 1]
        if peak >= trough
    ]
    assert found.value == pytest.approx(max(falls), abs=1e-15)
    assert found.peak <= found.trough
    peak, trough = prices[found.peak], prices[found.trough]
    assert found.value == (peak - trough) / peak
    assert 0 <= found.value < 1


@few_examples
@given(prices=st.lists(PRICES, min_size=1, max_size=60), scale=st.sampled_from([0.25, 2.0, 1024.0]))
def test_max_drawdown_does_not_depend_on_the_unit_of_prices(prices: list[float], scale: float) -> None:
    assert risk.max_drawdown([price * scale for price in prices]) == risk.max_drawdown(prices)


@few_examples
@given(pairs=st.lists(st.tuples(RETURNS, RETURNS), min_size=3, max_size=60))
def test_correlation_is_symmetric_and_bounded_and_beta_its_ratio(pairs: list[tuple[float, float]]) -> None:
    a, b = ([pair[side] for pair in pairs] for side in (0, 1))
    found = risk.correlation(a, b)
    assume(found is not None)
    assert found is not None
    assert -1 <= found <= 1
    assert risk.correlation(b, a) == pytest.approx(found, abs=1e-12)
    assert risk.correlation([2 * number + 1 for number in a], b) == pytest.approx(found, abs=1e-6)
    ratio = np.std(a) / np.std(b)
    assert risk.beta(a, b) == pytest.approx(found * ratio, rel=1e-6, abs=1e-9)


UNKNOWN = st.sampled_from([None, math.nan, math.inf, -math.inf])


@pytest.mark.parametrize("estimator", risk.ESTIMATORS)
@few_examples
@given(bars=BARS, data=st.data())
def test_an_unknown_price_makes_volatility_unknown(
    estimator: Estimator, bars: list[tuple[float, float, float, float]], data: st.DataObject
) -> None:
    prices: list[list[float | None]] = [list(column) for column in prices_of(bars)]
    column = data.draw(st.sampled_from(prices))
    column[data.draw(st.integers(0, len(column) - 1))] = data.draw(
        st.sampled_from([None, math.nan, math.inf])
    )
    assert risk.volatility(*prices, estimator=estimator) is None


@few_examples
@given(numbers=COLUMNS, unknown=UNKNOWN, data=st.data())
def test_an_unknown_return_makes_every_figure_unknown_and_never_zero(
    numbers: list[float], unknown: float | None, data: st.DataObject
) -> None:
    returns: list[float | None] = list(numbers)
    returns[data.draw(st.integers(0, len(returns) - 1))] = unknown
    for method in risk.METHODS:
        assert risk.value_at_risk(returns, 0.9, method=method) is None
        assert risk.expected_shortfall(returns, 0.9, method=method) is None
    assert risk.correlation(returns, numbers) is None
    assert risk.beta(numbers, returns) is None
    prices = [None if price in (None, -math.inf) else abs(price or 1) + 1 for price in returns]
    assert risk.max_drawdown(prices) is None


@few_examples
@given(observations=st.integers(1, 3000), share=st.floats(0, 1), confidence=st.floats(0.5, 0.999))
def test_coverage_tests_give_probabilities(observations: int, share: float, confidence: float) -> None:
    failures = int(observations * share)
    test = risk.kupiec(observations, failures, confidence)
    light = risk.traffic_light(observations, failures, confidence)
    assert test is not None
    assert light is not None
    assert test.statistic >= 0
    assert 0 <= test.p_value <= 1
    assert 0 <= light.probability <= 1


@few_examples
@given(failed=st.lists(st.booleans(), min_size=2, max_size=200), confidence=st.floats(0.5, 0.999))
def test_conditional_coverage_is_the_sum_of_both_tests(failed: list[bool], confidence: float) -> None:
    frequency = risk.kupiec(len(failed), sum(failed), confidence)
    independence = risk.christoffersen(failed, confidence)
    both = risk.conditional_coverage(failed, confidence)
    assert frequency is not None
    assert independence is not None
    assert both is not None
    assert both.statistic == pytest.approx(frequency.statistic + independence.statistic)
    assert independence.statistic >= 0
    assert both.p_value == pytest.approx(math.exp(-both.statistic / 2))
