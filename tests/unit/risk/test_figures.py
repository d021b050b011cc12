from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cryptometrics import risk
from cryptometrics.risk.figures import (
    FigureSettings,
    core_figures,
    dependence,
    liquidity,
    pair_figures,
    range_volatility,
)
from cryptometrics.risk.minutes import Bars
from cryptometrics.risk.pair_minutes import PairMinutes, RangeMinutes, cut_to_range
from cryptometrics.risk.reasons import no_correlation, reasons
from tests.unit.risk.pair_columns import pair_minutes, random_minutes

if TYPE_CHECKING:
    from cryptometrics.risk.volatility import Estimator

NAN = math.nan
YEAR = math.sqrt(525_600)


def of_closes(*close: float, labels: str = "", range_minutes: int | None = None) -> RangeMinutes:
    return cut_to_range(pair_minutes(close, labels), range_minutes or len(close) - 1)


def newest(minutes: PairMinutes, count: int) -> PairMinutes:
    bars = minutes.bars
    return PairMinutes(
        Bars(bars.open[-count:], bars.high[-count:], bars.low[-count:], bars.close[-count:]),
        minutes.ticks[-count:],
        minutes.heard[-count:],
        minutes.gap[-count:],
        minutes.unverified[-count:],
    )


def test_the_figures_of_a_small_range_are_those_worked_by_hand() -> None:
    # Returns: ln 2, −ln 2, ln 2.
    found = pair_figures(of_closes(100, 200, 100, 200), FigureSettings())
    assert found.core.volatility == pytest.approx(math.log(2) * YEAR)
    assert found.volatility["close"] == pytest.approx(math.log(2) * math.sqrt(8 / 9 * 3 / 2) * YEAR)
    assert found.volatility["bipower"] == pytest.approx(math.log(2) * math.sqrt(math.pi / 2) * YEAR)
    assert found.jump_share == 0
    assert found.core.drawdown == 0
    assert found.core.max_drawdown == 0.5
    assert (found.max_drawdown_peak, found.max_drawdown_trough) == (0, 1)


def test_the_bars_before_the_range_do_not_count() -> None:
    found = pair_figures(of_closes(1000, 100, 200, 100, 200, range_minutes=3), FigureSettings())
    assert found.core.max_drawdown == 0.5
    assert found.core.volatility == pytest.approx(math.log(2) * YEAR)


def test_estimators_of_a_range_are_those_of_its_bars_and_the_close_before() -> None:
    minutes = random_minutes(300)
    ranged = cut_to_range(minutes, 299)
    bars = minutes.bars
    of_returns: tuple[Estimator, ...] = ("close", "realized", "bipower", "yang_zhang")
    of_bars: tuple[Estimator, ...] = ("parkinson", "garman_klass", "rogers_satchell")
    for estimator in of_returns:
        expected = risk.volatility(bars.open, bars.high, bars.low, bars.close, estimator=estimator)
        assert range_volatility(ranged, estimator, 0.9) == pytest.approx(expected, rel=1e-12)
    for estimator in of_bars:
        expected = risk.volatility(
            bars.open[1:], bars.high[1:], bars.low[1:], bars.close[1:], estimator=estimator
        )
        assert range_volatility(ranged, estimator, 0.9) == pytest.approx(expected, rel=1e-12)


def test_ewma_and_the_filtered_figures_begin_with_the_returns_right_before_the_range() -> None:
    minutes = random_minutes(2000)
    ranged = cut_to_range(minutes, 1440)
    close = minutes.bars.close[-1440 - 88 - 1 :]
    returns = np.log(close[1:] / close[:-1])
    expected = risk.volatility(close, close, close, close, estimator="ewma", half_life=60)
    core = core_figures(ranged, FigureSettings(horizon=1))
    assert core.volatility_ewma == pytest.approx(expected, rel=1e-12)
    assert core.value_at_risk == pytest.approx(
        risk.value_at_risk(returns, 0.99, method="filtered", half_life=60), rel=1e-12
    )
    assert core.expected_shortfall == pytest.approx(
        risk.expected_shortfall(returns, 0.99, method="filtered", half_life=60), rel=1e-12
    )


def test_figures_do_not_depend_on_how_much_was_read_before_the_range() -> None:
    minutes = random_minutes(4000)
    found = [
        pair_figures(cut_to_range(newest(minutes, count), 1440), FigureSettings())
        for count in (2880, 3000, 4000)
    ]
    assert found[0] == found[1] == found[2]


def test_returns_are_those_of_the_last_hour_and_day_whatever_the_range_is() -> None:
    minutes = random_minutes(1600)
    close = minutes.bars.close
    found = pair_figures(cut_to_range(minutes, 200), FigureSettings())
    assert found.return_1h == pytest.approx(close[-1] / close[-61] - 1, rel=1e-12)
    assert found.return_24h == pytest.approx(close[-1] / close[-1441] - 1, rel=1e-12)


def test_each_null_has_its_reason_and_no_number_has_one() -> None:
    ranged = of_closes(100, 200, 100, 200)
    settings = FigureSettings()
    found = reasons(ranged, settings, pair_figures(ranged, settings))
    few = "100 returns after a start window of 88 are needed, there are 0"
    assert found == {
        "volatility.ewma": "88 returns are needed, there are 3",
        "return_1h": "the price 1 h before as_of is not known",
        "return_24h": "the price 24 h before as_of is not known",
        "value_at_risk": few,
        "expected_shortfall": few,
    }


def test_a_range_without_a_price_has_no_figure() -> None:
    ranged = of_closes(NAN, NAN, NAN, labels="ggg")
    settings = FigureSettings(method="normal")
    figures = pair_figures(ranged, settings)
    found = reasons(ranged, settings, figures)
    assert figures.core.coverage == 0
    assert set(figures.volatility.values()) == {None}
    assert found["volatility.realized"] == "2 returns are needed, there are 0"
    assert found["volatility.bipower"] == "no two neighbouring returns are known"
    assert found["volatility.parkinson"] == "no minute of the range has a price"
    assert found["value_at_risk"] == "2 returns are needed, there are 0"
    assert found["drawdown"] == found["max_drawdown_peak_at"] == "no minute of the range has a price"
    assert found["return_1h"] == "the price at as_of is not known"


@pytest.mark.parametrize(
    ("newest", "reason"),
    [
        ((NAN, 100), "the price 1 h before as_of is not known"),
        ((100, NAN), "the price at as_of is not known"),
    ],
)
def test_the_price_that_a_return_lacks_is_named(newest: tuple[float, float], reason: str) -> None:
    ranged = of_closes(NAN, 100, *newest, labels="gvgg")
    settings = FigureSettings()
    assert reasons(ranged, settings, pair_figures(ranged, settings))["return_1h"] == reason


def test_a_price_that_stands_still_has_a_volatility_of_zero_and_no_jumps() -> None:
    ranged = of_closes(*[100.0] * 400)
    settings = FigureSettings()
    figures = pair_figures(ranged, settings)
    assert set(figures.volatility.values()) == {0.0}
    assert figures.core.max_drawdown == 0
    assert reasons(ranged, settings, figures) == {
        "jump_share": "the price did not move",
        "return_24h": "the price 24 h before as_of is not known",
        "value_at_risk": "100 returns after a start window of 88 are needed, there are 0",
        "expected_shortfall": "100 returns after a start window of 88 are needed, there are 0",
    }


def test_a_historical_quantile_says_how_many_returns_do_not_overlap() -> None:
    ranged = cut_to_range(random_minutes(1600), 1440)
    settings = FigureSettings(method="historical")
    figures = pair_figures(ranged, settings)
    assert figures.core.value_at_risk is None
    assert reasons(ranged, settings, figures)["value_at_risk"] == (
        "100 returns over 60 min that do not overlap are needed, there are 24"
    )


def test_two_pairs_are_compared_on_bars_counted_back_from_the_end() -> None:
    a = of_closes(10, 99, 20, 99, 20, 99, 40, range_minutes=6)
    b = of_closes(10, 77, 40, 77, 40, 77, 160, range_minutes=6)
    found = dependence(a, b, 2)
    assert found.returns == 3
    assert found.correlation == pytest.approx(1)
    assert found.beta == pytest.approx(0.5)


def test_common_returns_are_those_that_both_pairs_know() -> None:
    a = of_closes(10, 20, 40, NAN, 20, 10, labels="vvvgvv")
    b = of_closes(10, NAN, 40, 10, 20, 30, labels="vgvvvv")
    found = dependence(a, b, 1)
    assert (found.returns, found.correlation, found.beta) == (1, None, None)
    assert no_correlation(found.returns, 1) == "2 common returns over 1 min are needed, there is 1"


def test_two_pairs_of_which_one_stands_still_have_no_correlation() -> None:
    found = dependence(of_closes(10, 20, 10, 30), of_closes(5, 5, 5, 5), 1)
    assert (found.returns, found.correlation, found.beta) == (3, None, None)
    assert no_correlation(found.returns, 1) == "the price did not move"


def test_liquidity_comes_from_sums() -> None:
    found = liquidity(ticks=4, spread_bps_sum=10, bid_size_sum=3, ask_size_sum=1)
    assert (found.spread_bps, found.imbalance) == (2.5, 0.75)
    none = liquidity(ticks=0, spread_bps_sum=0, bid_size_sum=0, ask_size_sum=0)
    assert (none.spread_bps, none.imbalance) == (None, None)
