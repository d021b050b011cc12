"""What a quote makes of a position, and which day a moment belongs to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from cryptometrics.risk.portfolio.definition import Position
from cryptometrics.risk.portfolio.marks import mark_position, start_of_day
from tests.unit.risk.portfolio.holdings import AS_OF, quote


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 7, 1, 12, 34, 56, 789, tzinfo=UTC),
        datetime(2026, 7, 1, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 7, 1, tzinfo=UTC),
    ],
)
def test_a_day_begins_at_midnight_exactly(moment: datetime) -> None:
    assert start_of_day(moment) == datetime(2026, 7, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("quantity", "mark", "takes"),
    [("0.1", 99, 7), ("5", 99, 7), ("0", 99, 7), ("-0.1", 101, 8), ("-5", 101, 8)],
)
def test_only_what_is_short_closes_at_the_ask(quantity: str, mark: int, takes: int) -> None:
    of_market = quote("99", "101", bid_size=Decimal(7), ask_size=Decimal(8))
    found = mark_position(
        Position("BTC", Decimal(quantity)),
        "BTC-USD",
        of_market,
        None,
        as_of=AS_OF,
        stale_after=timedelta(seconds=60),
    )
    assert (found.mark, found.touch_size, found.mid) == (Decimal(mark), Decimal(takes), Decimal(100))
