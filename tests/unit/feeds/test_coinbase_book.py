"""The order book: exactly what a plain dictionary of its levels says."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.feeds.coinbase.book import SPARE, BestLevel, OrderBook
from cryptometrics.feeds.coinbase.values import BadFrameError, seconds

prices = st.integers(1, 40).map(lambda cents: f"0.{cents:02d}") | st.sampled_from(
    ["0.10000000", "12", "12.0"]
)
sizes = st.sampled_from(["0", "0.00000000", "1", "2.50000000", "0.00000001"])
changes = st.lists(st.tuples(st.sampled_from(["buy", "sell"]), prices, sizes), max_size=12)


@given(st.lists(st.tuples(prices, sizes), max_size=8), st.lists(changes, max_size=20))
def test_it_equals_a_dictionary(
    bids: list[tuple[str, str]], updates: list[list[tuple[str, str, str]]]
) -> None:
    book = OrderBook(bids, [])
    plain: dict[str, dict[Decimal, str]] = {"buy": {}, "sell": {}}
    for side, price, size in itertools.chain((("buy", *level) for level in bids), *updates):
        plain[side][Decimal(price)] = size
        if not Decimal(size):
            del plain[side][Decimal(price)]
    for update in updates:
        book.apply(update)
    bid, ask = book.best()
    assert (bid and (Decimal(bid.price), bid.size)) == max(plain["buy"].items(), default=None)
    assert (ask and (Decimal(ask.price), ask.size)) == min(plain["sell"].items(), default=None)


def test_prices_are_exact_and_keep_the_text_of_the_wire() -> None:
    close = ["12345678901234567890.123456789012345678", "12345678901234567890.123456789012345679"]
    book = OrderBook([(price, "1") for price in close], [("99999999999999999999.0", "0.10")])
    bid, ask = book.best()
    assert bid is not None
    assert ask is not None
    assert bid.price == close[1]
    assert ask == ("99999999999999999999.0", "0.10")
    book.apply([("buy", close[1], "0")])
    assert book.best()[0] == (close[0], "1")
    book.apply([("buy", "0.0000001", "3"), ("buy", close[0], "0")])
    assert book.best()[0] == ("0.0000001", "3")  # not 1E-7


def test_what_is_gone_is_forgotten() -> None:
    book = OrderBook([("1", "1")], [("2", "1")])
    for number in range(10_000):
        book.apply([("sell", f"3.{number:04d}", "1"), ("sell", f"3.{number:04d}", "0")])
        book.best()
    assert len(book._asks._heap) <= 2 + SPARE + 1


@pytest.mark.parametrize(
    "change",
    [
        ("buy", "1"), ("hold", "1", "1"), ("buy", "-1", "1"), ("buy", "NaN", "1"), ("buy", "1e-19", "1"),
        ("buy", "0", "1"), ("buy", "1", "-1"), ("buy", "1", ""), ("sell", "1" * 40, "1"), (),
    ],
)  # fmt: skip
def test_what_is_no_change_is_refused(change: tuple[str, ...]) -> None:
    book = OrderBook([], [])
    with pytest.raises(BadFrameError):
        book.apply([change])


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("9e-8", "0.00000009"),
        ("1.50E+2", "150"),
        ("5.", "5"),
        (".5", "0.5"),
        ("+1.10", "1.1"),
        ("1.10", "1.10"),
    ],
)
def test_any_exact_decimal_is_a_price(text: str, price: str) -> None:
    best, _ = OrderBook([(text, "1e0")], []).best()
    assert best == BestLevel(price, "1")


def test_event_times() -> None:
    assert seconds("2021-04-17T16:43:37.061845Z") == pytest.approx(1_618_677_817.061845, abs=1e-6)
    assert seconds("2021-04-17T16:43:37Z") == 1_618_677_817
    for text in (
        "",
        "now",
        "2021-04-17",
        "2021-13-17T16:43:37Z",
        "2021-04-17T16:43:37",
        '2021-04-17T16:43:37Z"',
    ):
        assert seconds(text) is None
