"""A tick's limits, the arithmetic in which rounding is an error, and the pairs that people write."""

from __future__ import annotations

import decimal
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from cryptometrics.market import ticks
from cryptometrics.market.ticks import EXACT, is_pair, is_price, parse_pairs


def test_numbers_of_a_hundred_and_fourteen_digits_are_exact_and_longer_ones_an_error() -> None:
    assert EXACT.add(Decimal(10**113), Decimal(1)) == 10**113 + 1
    with pytest.raises(decimal.Inexact):
        EXACT.add(Decimal(10**114), Decimal(1))
    with pytest.raises(decimal.InvalidOperation):
        EXACT.subtract(Decimal("Infinity"), Decimal("Infinity"))


def test_the_limits_of_a_tick_are_what_the_documentation_says() -> None:
    assert is_price("9" * 20 + "." + "9" * 18)
    assert not is_price("9" * 21)
    assert not is_price("9." + "9" * 19)
    assert len("9" * 20 + "." + "9" * 18) == ticks.MAX_PRICE_CHARS
    assert is_pair("A" * 20 + "-" + "B" * 20)
    assert len("A" * 20 + "-" + "B" * 20) == ticks.MAX_PAIR_CHARS
    assert ticks.MAX_TRADE_ID + 1 == 2**63 - 1
    assert datetime(2009, 1, 1, tzinfo=UTC) == ticks.EARLIEST
    assert timedelta(hours=24) == ticks.MAX_AHEAD


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("BTC-USD", ["BTC-USD"]),
        ("btc/usd", ["BTC-USD"]),
        (" eth-eur , BTC-USD,btc-usd", ["ETH-EUR", "BTC-USD", "BTC-USD"]),
    ],
)
def test_pairs_are_read_as_people_write_them(text: str, pairs: list[str]) -> None:
    assert parse_pairs(text) == pairs


@pytest.mark.parametrize(
    ("text", "part"), [("", "''"), ("BTC-USD, ", "''"), ("btc", "'btc'"), ("BTC-USD, ß-usd", "'ß-usd'")]
)
def test_a_part_that_is_no_pair_is_named(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=f"^{part} is not a pair: pairs look like BTC-USD$"):
        parse_pairs(text)
