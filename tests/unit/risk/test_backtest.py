from __future__ import annotations

import math

import numpy as np
import pytest

from cryptometrics import risk
from cryptometrics.risk.horizon import tail_risk_of_minutes


def minutes(count: int, seed: int = 6) -> np.ndarray:
    return 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.001, count)))


def test_each_forecast_knows_only_the_minutes_up_to_its_moment() -> None:
    close = minutes(200)
    changed = close.copy()
    changed[121:] *= 2
    one, other = (
        risk.walk(prices, 0.95, range_minutes=40, horizon=10, method="normal") for prices in (close, changed)
    )
    assert one.minutes.tolist() == list(range(40, 190, 10))
    early = one.minutes <= 120
    np.testing.assert_array_equal(one.forecasts[early], other.forecasts[early])
    assert other.losses[early][-1] < -0.5  # the loss of the last one is already that of the other future


def test_an_invalid_confidence_is_refused_although_nothing_can_be_forecast() -> None:
    with pytest.raises(ValueError, match="confidence must be between 0 and 1"):
        risk.walk(minutes(5), 1.5, range_minutes=40, horizon=10, method="normal")


def test_a_forecast_and_its_loss_are_those_of_the_definitions() -> None:
    close = minutes(300)
    passed = risk.walk(close, 0.95, range_minutes=100, horizon=10, method="filtered")
    now = int(passed.minutes[3])
    expected = tail_risk_of_minutes(
        close[now - 100 - 17 : now + 1], 0.95, horizon=10, method="filtered", before=17
    )
    assert expected is not None
    assert passed.forecasts[3] == expected.value_at_risk
    assert passed.losses[3] == -math.log(close[now + 10] / close[now])


def test_the_start_window_reaches_across_unknown_minutes_before_the_range() -> None:
    close = minutes(300)
    close[120:140] = math.nan
    passed = risk.walk(close, 0.95, range_minutes=100, horizon=10, method="filtered")
    now = 240  # its range begins with the first known minute after the gap
    earlier = np.concatenate([close[100:120], close[140 : now + 1]])
    known = np.log(earlier[1:] / earlier[:-1])
    known = np.delete(known, 19)  # the return over the gap
    start = len(known) - 100 - 17
    found = risk.value_at_risk(known[start:], 0.95, method="filtered")
    one = tail_risk_of_minutes(
        close[100 : now + 1], 0.95, horizon=1, method="filtered", before=now - 100 - 100
    )
    assert one is not None
    assert one.value_at_risk == found
    expected = tail_risk_of_minutes(close[100 : now + 1], 0.95, horizon=10, method="filtered", before=40)
    assert expected is not None
    assert passed.forecasts[passed.minutes == now].tolist() == [expected.value_at_risk]


def test_the_start_window_may_begin_with_the_very_first_minute() -> None:
    close = minutes(200)
    passed = risk.walk(close, 0.95, range_minutes=100, horizon=17, method="filtered")
    expected = tail_risk_of_minutes(close[:118], 0.95, horizon=17, method="filtered", before=17)
    assert expected is not None
    assert passed.forecasts[passed.minutes == 117].tolist() == [expected.value_at_risk]


def test_moments_without_a_forecast_or_a_known_loss_are_left_out() -> None:
    close = minutes(200)
    close[100] = math.nan
    passed = risk.walk(close, 0.95, range_minutes=40, horizon=10, method="normal")
    assert 100 not in passed.minutes
    assert 90 not in passed.minutes
    assert 110 in passed.minutes


@pytest.mark.parametrize("count", [0, 1, 50, 110])
def test_a_short_past_has_no_forecast_and_tests_of_none(count: int) -> None:
    passed = risk.walk(minutes(count), 0.95, range_minutes=100, horizon=10, method="filtered")
    assert risk.evaluate(passed.forecasts, passed.losses, 0.95) == risk.Backtest(
        forecasts=0,
        failures=0,
        expected=0,
        kupiec=None,
        christoffersen=None,
        conditional_coverage=None,
        traffic_light=None,
        worst_excess=None,
    )


def test_a_failure_is_a_loss_beyond_its_forecast() -> None:
    result = risk.evaluate(np.full(4, 0.02), np.array([0.01, 0.02, 0.05, 0.03]), 0.95)
    assert (result.forecasts, result.failures) == (4, 2)
    assert result.expected == pytest.approx(0.2)
    assert result.worst_excess == pytest.approx(0.03)
    assert result.kupiec == risk.kupiec(4, 2, 0.95)
    assert result.christoffersen == risk.christoffersen([False, False, True, True], 0.95)
    assert result.traffic_light == risk.traffic_light(4, 2, 0.95)


def test_one_forecast_cannot_tell_whether_failures_cluster() -> None:
    result = risk.evaluate(np.array([0.02]), np.array([0.01]), 0.95)
    assert result.kupiec is not None
    assert result.christoffersen is None
    assert result.conditional_coverage is None
    assert result.worst_excess is None


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="range_minutes must be at least 1"):
        risk.walk(minutes(10), 0.95, range_minutes=0, horizon=1, method="normal")
    with pytest.raises(ValueError, match="horizon must be at least 1"):
        risk.walk(minutes(10), 0.95, range_minutes=5, horizon=0, method="normal")
    with pytest.raises(ValueError, match="equally long"):
        risk.evaluate(np.zeros(2), np.zeros(3), 0.95)


def test_forecasts_over_one_minute_are_a_minute_apart() -> None:
    passed = risk.walk(minutes(50), 0.95, range_minutes=40, horizon=1, method="normal")
    assert passed.minutes.tolist() == list(range(40, 49))
    nothing = risk.walk(minutes(50), 0.95, range_minutes=1, horizon=1, method="normal")
    assert not len(nothing.minutes)
