from __future__ import annotations

import math
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from cryptometrics.risk.figures import FigureSettings, core_figures
from cryptometrics.risk.history import METRICS, history
from cryptometrics.risk.lines import (
    MarketRange,
    PairSeries,
    RangeTotals,
    RiskLine,
    correlation_matrix,
    risk_lines,
)
from cryptometrics.risk.pair_minutes import cut_to_range, until
from tests.unit.risk.pair_columns import pair_minutes, random_minutes

NAN = math.nan
AS_OF = datetime(2026, 7, 1, 12, tzinfo=UTC)
KEYS = [
    "pair",
    "venue",
    "group",
    "as_of",
    "range_seconds",
    "minutes",
    "minutes_with_ticks",
    "coverage",
    "gap_minutes",
    "unverified_minutes",
    "mid_price",
    "return_1h",
    "return_24h",
    "volatility",
    "jump_share",
    "value_at_risk",
    "expected_shortfall",
    "confidence",
    "horizon_seconds",
    "method",
    "drawdown",
    "max_drawdown",
    "max_drawdown_peak_at",
    "max_drawdown_trough_at",
    "against",
    "correlation",
    "beta",
    "spread_bps",
    "max_spread",
    "imbalance",
    "reasons",
]


def line(series: PairSeries, *, minutes: int = 3, against: dict[str, PairSeries] | None = None) -> RiskLine:
    market = MarketRange("g1", "coinbase", AS_OF, minutes)
    (found,) = risk_lines(
        {"ADA-USD": series} | (against or {}), ["ADA-USD"], "BTC-USD", market, FigureSettings()
    )
    return found


def test_a_line_has_the_keys_of_its_json() -> None:
    assert [field.name for field in fields(RiskLine)] == KEYS


def test_every_null_of_a_pair_without_a_price_has_a_reason() -> None:
    old = RangeTotals(mid_price=Decimal("9.5"))  # a close from before a gap
    found = line(PairSeries(pair_minutes([NAN] * 4, "gggg"), old))
    assert found.mid_price is None
    nulls = {name for name in KEYS if getattr(found, name) is None}
    nulls |= {f"volatility.{name}" for name, value in found.volatility.items() if value is None}
    assert found.reasons.keys() == nulls
    assert found.reasons["mid_price"] == "no minute of the range has a price"
    assert found.reasons["spread_bps"] == "no minute of the range has a tick"
    assert found.reasons["correlation"] == "the venue has no BTC-USD"
    assert (found.coverage, found.gap_minutes) == (0, 3)


def test_a_quiet_range_carries_on_the_close_before_it() -> None:
    found = line(PairSeries(pair_minutes([9.5, NAN, NAN, NAN]), RangeTotals(mid_price=Decimal("9.5"))))
    assert (found.mid_price, found.drawdown, found.coverage) == (Decimal("9.5"), 0, 1)
    assert found.minutes_with_ticks == 0


def test_sums_become_means_and_prices_stay_exact() -> None:
    exact = Decimal("0.000000000000000001")
    totals = RangeTotals(Decimal(2) + exact, 4, Decimal(10), exact, Decimal(3), Decimal(1))
    found = line(PairSeries(pair_minutes([1, 2, 1, 2]), totals))
    assert (found.mid_price, found.max_spread) == (Decimal(2) + exact, exact)
    assert (found.spread_bps, found.imbalance) == (2.5, 0.75)


def test_without_ticks_a_range_adds_up_to_nothing() -> None:
    nothing = RangeTotals()
    assert nothing.ticks == 0
    assert nothing.spread_bps_sum == nothing.bid_size_sum == nothing.ask_size_sum == 0
    assert (nothing.mid_price, nothing.max_spread) == (None, None)


def test_range_and_horizon_are_in_seconds() -> None:
    found = line(PairSeries(pair_minutes([1, 2, 1, 2]), RangeTotals(Decimal(2))))
    assert (found.range_seconds, found.horizon_seconds) == (3 * 60, 60 * 60)


def test_ticks_without_sizes_have_no_imbalance() -> None:
    found = line(PairSeries(pair_minutes([1, 2, 1, 2]), RangeTotals(Decimal(2), ticks=3)))
    assert found.imbalance is None
    assert found.reasons["imbalance"] == "no tick of the range has sizes"


def test_peak_and_trough_are_at_the_starts_of_their_minutes() -> None:
    found = line(PairSeries(pair_minutes([1, 4, 2, 3]), RangeTotals(Decimal(3))))
    assert found.max_drawdown == 0.5
    assert found.max_drawdown_peak_at == AS_OF - timedelta(minutes=3)
    assert found.max_drawdown_trough_at == AS_OF - timedelta(minutes=2)


def test_a_pair_is_compared_with_one_that_has_no_line() -> None:
    minutes = random_minutes(61)
    series = PairSeries(minutes, RangeTotals(Decimal(1)))
    found = line(series, minutes=60, against={"BTC-USD": series})
    assert found.correlation == pytest.approx(1)
    assert found.beta == pytest.approx(1)


def test_the_matrix_is_symmetric_and_its_betas_are_not() -> None:
    market = MarketRange("g1", "coinbase", AS_OF, 60)
    minutes = {"A-USD": random_minutes(61, seed=1), "B-USD": random_minutes(61, seed=2, scale=0.01)}
    found = correlation_matrix(minutes, market, 5)
    (aa, ab), (ba, bb) = found.rows
    assert aa.correlation == pytest.approx(1)
    assert bb.correlation == pytest.approx(1)
    assert ab.correlation == ba.correlation
    assert ab.beta != ba.beta
    assert {each.returns for row in found.rows for each in row} == {12}


@pytest.mark.parametrize("metric", METRICS)
def test_a_history_is_the_figures_of_each_moment_alone(metric: str) -> None:
    minutes = random_minutes(400)
    settings = FigureSettings(horizon=1, confidence=0.9)
    points = list(
        history(minutes, metric, range_minutes=100, step=50, count=4, settings=settings)  # type: ignore[arg-type]
    )
    assert [point.minutes_ago for point in points] == [150, 100, 50, 0]
    for point in points:
        alone = core_figures(cut_to_range(until(minutes, point.minutes_ago), 100), settings)
        assert point.value == getattr(alone, metric)
        assert point.value is not None
