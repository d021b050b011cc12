"""Which version is in force when, and drawdown across versions; small cases worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cryptometrics.risk.portfolio.timeline import (
    Effective,
    Holding,
    Timeline,
    drawdown_of_holdings,
    quantities_by_pair,
)
from tests.unit.risk.portfolio.holdings import portfolio, range_of

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def at(minutes: float) -> datetime:
    return NOON + minutes * MINUTE


def timeline(*versions: tuple[float, str | None]) -> Timeline:
    """Return versions of some bitcoins by the minute that they begin at; None is a removal."""
    return Timeline(
        Effective(at(minute), number, None if held is None else portfolio(("BTC", held)))
        for number, (minute, held) in enumerate(versions, start=1)
    )


def test_in_force_is_the_latest_version_and_of_equal_ones_the_newest() -> None:
    found = timeline((0, "1"), (10, "2"), (5, "3"), (5, "4"))
    in_force = [found.at(at(minute)) for minute in (-1, 0, 4.99, 5, 9, 10, 99)]
    assert [each and each.version for each in in_force] == [None, 1, 1, 4, 4, 2, 2]


def test_a_minute_belongs_to_the_version_in_force_at_its_end() -> None:
    found = timeline((-100, "1"), (-2.5, "2"))
    # Minutes that end at -2, -1 and 0 have the second version: its first close is that of minute -3.
    assert found.holdings(NOON, 5) == (Holding(0, 2, {"BTC-USD": 1.0}), Holding(2, 5, {"BTC-USD": 2.0}))
    assert timeline((-100, "1"), (-2, "2")).holdings(NOON, 5)[1].first == 2


def test_a_range_begins_with_the_first_version() -> None:
    assert timeline((-2, "1")).holdings(NOON, 5) == (Holding(2, 5, {"BTC-USD": 1.0}),)
    assert timeline((0, "1")).holdings(NOON, 5) == (Holding(4, 5, {"BTC-USD": 1.0}),)


def test_of_versions_within_one_minute_the_last_counts() -> None:
    found = timeline((-100, "1"), (-2.9, "2"), (-2.5, "3")).holdings(NOON, 5)
    assert [(each.first, each.last) for each in found] == [(0, 2), (2, 5)]
    assert found[1].quantities == {"BTC-USD": 3.0}


def test_another_market_or_currency_begins_anew() -> None:
    versions = [
        Effective(at(-9), 1, portfolio(("BTC", "1"))),
        Effective(at(-4), 2, replace(portfolio(("BTC", "1")), venue="w")),
        Effective(at(-2), 3, portfolio(("BTC", "5"))),
    ]
    assert Timeline(versions).holdings(NOON, 9) == (Holding(6, 9, {"BTC-USD": 5.0}),)


def test_nothing_is_gained_while_a_portfolio_is_removed() -> None:
    found = timeline((-9, "1"), (-4, None), (-2, "1")).holdings(NOON, 6)
    assert [dict(each.quantities) for each in found] == [{"BTC-USD": 1.0}, {}, {"BTC-USD": 1.0}]


def test_two_assets_of_one_pair_are_added() -> None:
    pairs = {"BTC": "BTC-USD", "WBTC": "BTC-USD", "USD": None}
    held = portfolio(("BTC", "1"), ("WBTC", "2.5"), ("USD", "9"), pairs=pairs)
    assert quantities_by_pair(held) == {"BTC-USD": 3.5}


@pytest.mark.parametrize(
    ("second", "drawdown"),
    [
        # 10 units gain 100 and lose 50; then they lose 20 more, half of that, or nothing.
        (10.0, 70),
        (5.0, 60),
        (0.0, 50),
        # A short position gains 20 of what was lost.
        (-10.0, 30),
    ],
)
def test_a_change_of_positions_is_neither_gain_nor_loss(second: float, drawdown: float) -> None:
    ranges = {"BTC-USD": range_of([100, 110, 105, 104, 103])}
    holdings = [Holding(0, 2, {"BTC-USD": 10.0}), Holding(2, 4, {"BTC-USD": second})]
    assert drawdown_of_holdings(holdings, ranges) == pytest.approx(drawdown)


def test_the_peak_may_be_in_an_earlier_holding_or_at_its_end() -> None:
    ranges = {"BTC-USD": range_of([100, 90, 120, 100])}
    assert drawdown_of_holdings([Holding(0, 2, {"BTC-USD": 1.0}), Holding(2, 3, {})], ranges) == 0
    fallen = [Holding(0, 2, {"BTC-USD": 1.0}), Holding(2, 3, {"BTC-USD": 3.0})]
    assert drawdown_of_holdings(fallen, ranges) == 60


def test_prices_that_are_not_known_are_left_out() -> None:
    nan = float("nan")
    ranges = {"BTC-USD": range_of([100, nan, 120, nan, 90, nan])}
    assert drawdown_of_holdings([Holding(0, 5, {"BTC-USD": 1.0})], ranges) == 30
    assert drawdown_of_holdings([Holding(2, 3, {"BTC-USD": 1.0})], {"BTC-USD": range_of([nan] * 5)}) is None
    assert drawdown_of_holdings([Holding(0, 5, {"ETH-USD": 1.0})], ranges) is None
    assert drawdown_of_holdings([], ranges) is None


def test_versions_within_a_time_begin_with_the_one_in_force_at_its_start() -> None:
    found = timeline((0, "1"), (5, "2"), (10, "3"), (15, "4"))
    ranges = [(5, 10), (4.99, 9.99), (7, 8), (-5, 0), (-5, -1), (10, 99)]
    versions = [[each.version for each in found.within(at(since), at(until))] for since, until in ranges]
    assert versions == [[2, 3], [1, 2], [2], [1], [], [3, 4]]
