"""What is said about a position, and about what the figures of a portfolio rest on."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from cryptometrics.risk.portfolio.definition import RiskSettings
from cryptometrics.risk.portfolio.marks import mark_position
from cryptometrics.risk.portfolio.notes import assumptions, position_notes
from tests.unit.risk.portfolio.holdings import AS_OF, portfolio, quote, range_of

if TYPE_CHECKING:
    from cryptometrics.risk.pair_minutes import RangeMinutes
    from cryptometrics.risk.portfolio.definition import Portfolio
    from cryptometrics.risk.portfolio.marks import MarkQuote, PositionMark

TRADED = quote("99", "101", bid_size=Decimal("0.5"), ask_size=Decimal("0.25"))
PRESENT = "drawdown and today's profit and loss: of the present positions, not of earlier ones"
ALWAYS = "closing costs are those of the touch; volatility counts 525,600 minutes a year"


def marks_of(book: Portfolio, of_market: MarkQuote | None = TRADED) -> list[PositionMark]:
    settings = {"as_of": AS_OF, "stale_after": book.risk.stale_after}
    return [
        mark_position(position, book.pairs[position.asset], of_market, None, **settings)  # type: ignore[arg-type]
        for position in book.positions
    ]


def notes(
    quantity: str, of_market: MarkQuote | None = TRADED, ranged: RangeMinutes | None = None
) -> list[str]:
    book = portfolio(("BTC", quantity))
    return list(position_notes(marks_of(book, of_market)[0], ranged, book))


def assumed(
    book: Portfolio, ranges: dict[str, RangeMinutes] | None = None, *, knows_holdings: bool = False
) -> list[str]:
    return list(assumptions(book, marks_of(book), ranges or {}, knows_holdings=knows_holdings))


def known_in(minutes: int) -> RangeMinutes:
    """Return a range of ten minutes, in so many of which the price is known."""
    return range_of([100] * (minutes + 1) + [math.nan] * (10 - minutes))


@pytest.mark.parametrize(
    ("of_market", "note"),
    [
        (None, "unmarked: no quote"),
        (quote("99", "101", age=61), "unmarked: the quote is 1m1s old, more than 1m"),
        (quote("99", "101", in_gap=True), "the feed has a gap in the minute of the mark"),
    ],
)
def test_a_doubtful_mark_has_its_note(of_market: MarkQuote | None, note: str) -> None:
    assert notes("0.1", of_market) == [note]


@pytest.mark.parametrize(
    ("quantity", "said"),
    [
        ("0.5", []),
        ("0.51", ["the bid takes only 0.5: closing costs more"]),
        ("-0.25", []),
        ("-0.26", ["the ask takes only 0.25: closing costs more"]),
        ("0", []),
    ],
)
def test_a_touch_that_takes_less_than_the_position_has_a_note(quantity: str, said: list[str]) -> None:
    assert notes(quantity) == said


@pytest.mark.parametrize(
    ("minutes", "said"), [(10, []), (8, []), (7, ["thin: 70 % of the minutes are known"])]
)
def test_minutes_are_thin_if_less_than_four_of_five_are_known(minutes: int, said: list[str]) -> None:
    assert notes("0.1", ranged=known_in(minutes)) == said


def test_what_counts_as_another_asset_has_a_note() -> None:
    book = portfolio(("USDT", "9"), treat_as={"USDT": "USD"}, pairs={"USDT": None})
    assert list(position_notes(marks_of(book)[0], None, book)) == ["counts as USD at 1"]


def test_a_plain_portfolio_rests_on_its_settings() -> None:
    assert assumed(portfolio(("BTC", "1"))) == [
        "value at risk and expected shortfall: filtered, 0.99, over 1h, from the last 1d of v",
        "from 1m to 1h: mean times time, deviation times its root, which understates trends",
        PRESENT,
        ALWAYS,
    ]


@pytest.mark.parametrize(
    ("settings", "is_scaled"),
    [
        ({"horizon": timedelta(minutes=1)}, False),
        ({"horizon": timedelta(minutes=2)}, True),
        ({"method": "normal"}, True),
        ({"method": "historical"}, False),
    ],
)
def test_what_is_scaled_from_one_minute_is_said(settings: dict[str, Any], is_scaled: bool) -> None:
    said = assumed(portfolio(("BTC", "1"), risk=RiskSettings(**settings)))
    assert any(each.startswith("from 1m to ") for each in said) == is_scaled


def test_the_past_of_a_drawdown_is_said() -> None:
    assert assumed(portfolio(("BTC", "1")), knows_holdings=True)[-2:] == [
        "drawdown: of what was held; today's profit and loss: of the present positions",
        ALWAYS,
    ]


def test_prices_in_another_currency_and_foreign_cash_are_named() -> None:
    book = portfolio(
        ("BTC", "1"),
        ("SOL", "1"),
        cash=dict.fromkeys(("EUR", "USD", "GBP"), Decimal(5)),
        treat_as={"USDT": "USD"},
        pairs={"BTC": "BTC-USD", "SOL": "SOL-USDT", "EUR": "EUR-USD", "USD": None, "GBP": "GBP-USD"},
    )
    assert assumed(book)[:3] == [
        "USDT counts as USD at 1",
        "SOL is priced by SOL-USDT",
        "cash in EUR, GBP is at its mark and not in the risk",
    ]


def test_the_least_known_of_the_pairs_that_are_held_is_said() -> None:
    book = portfolio(
        ("BTC", "1"), ("ETH", "1"), ("USDT", "1"), pairs={"BTC": "BTC-USD", "ETH": "ETH-USD", "USDT": None}
    )
    ranges = {"BTC-USD": known_in(9), "ETH-USD": known_in(5), "SOL-USD": known_in(1)}
    assert assumed(book, ranges)[-3] == "known minutes: at least 50 % of each pair"
    assert assumed(book, {"SOL-USD": known_in(1)})[-2:] == [PRESENT, ALWAYS]
    assert not any(each.startswith("known minutes") for each in assumed(book))
