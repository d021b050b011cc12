from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptometrics.risk.figures import FigureSettings
from cryptometrics.risk.horizon import tail_risk_of_minutes
from cryptometrics.risk.portfolio.tail_risk import TooFewScenariosError, portfolio_tail_risk
from cryptometrics.risk.tail_risk import METHODS, Method
from tests.unit.risk.portfolio.holdings import closes_of, range_of

if TYPE_CHECKING:
    from cryptometrics.risk.pair_minutes import RangeMinutes

few_examples = settings(max_examples=25, deadline=None)
SEEDS = st.integers(0, 10_000)
EXPOSURES = st.lists(st.floats(-1e6, 1e6).map(lambda number: round(number, 2)), min_size=2, max_size=5)


def ranges_of(seed: int, pairs: int, minutes: int = 600) -> list[RangeMinutes]:
    generator = np.random.default_rng(seed)
    common = generator.normal(0, 0.001, minutes)
    return [
        range_of(closes_of(common + generator.standard_t(4, minutes) * 0.001), minutes - 150)
        for _ in range(pairs)
    ]


def of_method(method: Method, horizon: int = 5, confidence: float = 0.95) -> FigureSettings:
    return FigureSettings(confidence=confidence, horizon=horizon, method=method)


def test_historical_components_are_the_losses_in_the_two_scenarios_of_the_quantile() -> None:
    # Five returns over one minute; at confidence 0.7 the quantile lies at place 4 · 0.3 = 1.2.
    a = range_of(closes_of([math.log(1 + r) for r in (0.01, -0.03, 0.02, -0.02, 0.00)]))
    b = range_of(closes_of([math.log(1 + r) for r in (0.02, -0.01, 0.00, 0.04, 0.01)]))
    found = portfolio_tail_risk(np.array([1000.0, -500.0]), [a, b], of_method("historical", 1, 0.7))
    # Losses: a −10, 30, −20, 20, 0; b 10, −5, 0, 20, 5; together 0, 25, −20, 40, 5. The worst are 40 and 25.
    assert found.value_at_risk == pytest.approx(25 + 0.2 * (5 - 25))
    assert found.components == pytest.approx([30 + 0.2 * (0 - 30), -5 + 0.2 * (5 - -5)])
    assert found.expected_shortfall == pytest.approx((40 + 25) / 2)
    assert found.alone == pytest.approx([20 + 0.2 * (0 - 20), 10 + 0.2 * (5 - 10)])


def test_normal_components_are_those_of_the_definition() -> None:
    returns = np.array([[0.01, 0.02], [-0.03, -0.01], [0.02, 0.01], [-0.01, 0.03]])
    w = np.array([1000.0, -400.0])
    mean, covariance = returns.mean(axis=0), np.cov(returns.T, ddof=0)
    z, h = abs(NormalDist().inv_cdf(0.05)), 4
    deviation = math.sqrt(w @ covariance @ w)
    ranges = [range_of(closes_of(list(column))) for column in returns.T]
    found = portfolio_tail_risk(w, ranges, of_method("normal", h))
    assert found.value_at_risk == pytest.approx(z * deviation * 2 - h * w @ mean)
    assert found.components == pytest.approx(z * 2 * w * (covariance @ w) / deviation - h * w * mean)
    density = NormalDist().pdf(z)
    assert found.expected_shortfall == pytest.approx(deviation * 2 * density / 0.05 - h * w @ mean)


@pytest.mark.parametrize("method", METHODS)
def test_one_position_has_the_value_at_risk_of_its_pair(method: Method) -> None:
    [ranged] = ranges_of(3, 1)
    config = of_method(method)
    found = portfolio_tail_risk(np.array([1000.0]), [ranged], config)
    of_pair = tail_risk_of_minutes(
        ranged.bars.close,
        config.confidence,
        horizon=config.horizon,
        method=method,
        decay=config.decay,
        before=ranged.before - 1,
    )
    assert of_pair is not None
    # Scenarios lose a simple return, the moments are those of log returns.
    loss = (
        -math.expm1(-of_pair.value_at_risk) if method in ("historical", "filtered") else of_pair.value_at_risk
    )
    assert found.value_at_risk == pytest.approx(1000 * loss, rel=1e-4)
    assert found.components == pytest.approx([found.value_at_risk])
    assert found.alone == pytest.approx([found.value_at_risk])


@pytest.mark.parametrize("method", METHODS)
@few_examples
@given(seed=SEEDS, exposures=EXPOSURES)
def test_components_add_up(method: Method, seed: int, exposures: list[float]) -> None:
    w = np.array(exposures)
    found = portfolio_tail_risk(w, ranges_of(seed, len(w)), of_method(method))
    assert found.components.sum() == pytest.approx(found.value_at_risk, rel=1e-9, abs=1e-9 * abs(w).sum())
    assert found.expected_shortfall >= found.value_at_risk - 1e-9 * abs(w).sum()


@pytest.mark.parametrize("method", METHODS)
@few_examples
@given(seed=SEEDS, exposures=EXPOSURES, scale=st.floats(0.001, 1000))
def test_risk_grows_in_proportion_to_what_is_held(
    method: Method, seed: int, exposures: list[float], scale: float
) -> None:
    w, ranges = np.array(exposures), ranges_of(seed, len(exposures))
    one, other = (portfolio_tail_risk(each, ranges, of_method(method)) for each in (w, w * scale))
    tolerance = 1e-9 * abs(w).sum() * scale
    assert other.value_at_risk == pytest.approx(one.value_at_risk * scale, rel=1e-9, abs=tolerance)
    assert other.components == pytest.approx(
        one.components * scale, rel=1e-6, abs=1e-6 * abs(w).sum() * scale
    )


@pytest.mark.parametrize("method", ["normal", "modified"])
@few_examples
@given(seed=SEEDS, exposures=EXPOSURES)
def test_a_short_loses_what_a_long_loses_in_the_mirrored_market(
    method: Method, seed: int, exposures: list[float]
) -> None:
    w, ranges = np.array(exposures), ranges_of(seed, len(exposures))
    mirrored = [range_of(1e4 / each.bars.close, each.minutes) for each in ranges]
    one = portfolio_tail_risk(w, ranges, of_method(method))
    other = portfolio_tail_risk(-w, mirrored, of_method(method))
    tolerance = 1e-9 * abs(w).sum()
    assert other.value_at_risk == pytest.approx(one.value_at_risk, rel=1e-6, abs=tolerance)
    assert other.alone == pytest.approx(one.alone, rel=1e-6, abs=tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_a_long_and_an_equal_short_of_one_pair_lose_nothing(method: Method) -> None:
    [ranged] = ranges_of(4, 1)
    found = portfolio_tail_risk(np.array([1000.0, -1000.0]), [ranged, ranged], of_method(method))
    assert found.value_at_risk == pytest.approx(0, abs=1e-9)
    assert (found.alone > 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_component_is_the_slope_of_the_value_at_risk(method: Method) -> None:
    ranges, w = ranges_of(5, 3), np.array([1000.0, -700.0, 300.0])
    found = portfolio_tail_risk(w, ranges, of_method(method))
    for place in range(3):
        step = np.zeros(3)
        step[place] = 1e-4 * w[place]
        up, down = (portfolio_tail_risk(w + sign * step, ranges, of_method(method)) for sign in (1, -1))
        slope = (up.value_at_risk - down.value_at_risk) / 2e-4
        assert found.components[place] == pytest.approx(slope, rel=1e-3, abs=1e-3)


def test_a_component_of_skewed_returns_is_the_slope_of_the_modified_value_at_risk() -> None:
    generator, w = np.random.default_rng(7), np.array([1000.0, -700.0, 300.0])
    ranges = [range_of(closes_of(-0.001 * generator.exponential(1, 200))) for _ in w]
    settings = of_method("modified")
    found = portfolio_tail_risk(w, ranges, settings).components
    for place, step in enumerate(np.diag(1e-4 * w)):
        up, down = (portfolio_tail_risk(w + sign * step, ranges, settings) for sign in (1, -1))
        assert found[place] == pytest.approx((up.value_at_risk - down.value_at_risk) / 2e-4, rel=1e-6)


@pytest.mark.parametrize(
    ("method", "enough"), [("filtered", 88 + 20), ("historical", 5 * 20), ("normal", 2), ("modified", 2)]
)
def test_just_enough_minutes_have_a_risk(method: Method, enough: int) -> None:
    """At confidence 0.95 and over five minutes, which need 20 scenarios, or two returns."""
    closes = closes_of([0.001 * (-1) ** index for index in range(enough)])
    w, settings = np.array([1.0]), of_method(method)
    assert portfolio_tail_risk(w, [range_of(closes)], settings).value_at_risk > 0
    fewer = f"there {'is 1' if enough == 2 else 'are 19'}$"
    with pytest.raises(TooFewScenariosError, match=fewer):
        portfolio_tail_risk(w, [range_of(closes[1:])], settings)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_held_loses_nothing(method: Method) -> None:
    found = portfolio_tail_risk(np.array([]), [], of_method(method))
    assert (found.value_at_risk, found.expected_shortfall, len(found.components)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        (
            "filtered",
            "100 minutes after a start window of 88 in which all pairs have returns are needed, there are 0",
        ),
        ("historical", "100 returns of all pairs over 5 min that do not overlap are needed, there are 12"),
        ("normal", None),
    ],
)
def test_too_few_scenarios_are_a_reason(method: Method, reason: str | None) -> None:
    ranges = [range_of(closes_of([0.001, -0.002] * 30)) for _ in range(2)]
    config = of_method(method, confidence=0.99)
    if reason is None:
        assert portfolio_tail_risk(np.array([1.0, 2.0]), ranges, config).value_at_risk > 0
        return
    with pytest.raises(TooFewScenariosError, match="^" + reason + "$"):
        portfolio_tail_risk(np.array([1.0, 2.0]), ranges, config)


def test_only_moments_with_all_returns_count() -> None:
    closes = closes_of([0.001, -0.002, 0.003, 0.001, -0.004, 0.002])
    gappy = [*closes[:3], math.nan, *closes[4:]]
    whole, holed = range_of(closes), range_of(gappy)
    found = portfolio_tail_risk(np.array([100.0, 100.0]), [whole, holed], of_method("normal", 1))
    kept = [range_of(closes_of([0.001, -0.002, -0.004, 0.002])) for _ in range(2)]
    expected = portfolio_tail_risk(np.array([100.0, 100.0]), kept, of_method("normal", 1))
    assert found.value_at_risk == pytest.approx(expected.value_at_risk)


def test_a_price_that_never_moved_leaves_the_others_their_risk() -> None:
    [moving] = ranges_of(6, 1)
    still = range_of([1.0] * len(moving.bars.close), moving.minutes)
    alone = portfolio_tail_risk(np.array([1000.0]), [moving], of_method("filtered"))
    both = portfolio_tail_risk(np.array([1000.0, 500.0]), [moving, still], of_method("filtered"))
    assert both.value_at_risk == pytest.approx(alone.value_at_risk)
    assert both.components[1] == 0
