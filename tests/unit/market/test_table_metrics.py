"""Metrics of columns at the limits of 64 bits, and of streams with ties, against those of each tick."""

from __future__ import annotations

import json
import random
from copy import copy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cryptometrics.market import metrics
from cryptometrics.market.table import table_of
from cryptometrics.market.table_metrics import decimal, measure, quotes_of, scaled_trades
from tests.tables import decode_messages

if TYPE_CHECKING:
    from cryptometrics.market.table import PairTicks, Rows

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
PRICES = ["1", "1.0", "1.1", "1.10", "2", "2.50", "2.5", "3", "3.00", "0.0001", "7.12345"]
"""Few, and some of them equal numbers that are written differently."""
SIZES = ["", "", "0", "0.5", "12.250"]


def quotes(
    *prices: tuple[str, str], sizes: tuple[list[str | None], list[str | None]] | None = None
) -> PairTicks:
    """Return ticks with these bids and asks, a second apart."""
    count = len(prices)
    (ticks,) = table_of(
        [0] * count, range(count), ["x"] * count, ["A-C"] * count,
        [bid for bid, _ in prices], [ask for _, ask in prices],
        [second * 1_000_000 for second in range(count)], [False] * count, sizes=sizes,
    ).by_pair()  # fmt: skip
    return ticks


def drawn(choose: random.Random, count: int) -> PairTicks:
    """Return so many ticks of a few moments, with sizes and trades."""
    values = []
    for _ in range(count):
        bid, ask = sorted((choose.choice(PRICES), choose.choice(PRICES)), key=Decimal)
        time = NOW + timedelta(microseconds=choose.randint(-2, 2))
        message = {"type": "ticker", "product_id": "A-C", "best_bid": bid, "best_ask": ask}
        message |= {"time": time.isoformat(), "best_bid_size": choose.choice(SIZES)}
        message |= {"best_ask_size": choose.choice(SIZES)}
        values.append(json.dumps(message).encode())
    table, rejected = decode_messages([(b"A-C", value) for value in values], NOW)
    assert not rejected
    (ticks,) = table.by_pair()
    return ticks


@pytest.mark.parametrize("keep", [np.array([2, 0]), np.array([True, False, True])])
def test_the_quotes_of_some_ticks_are_theirs(keep: Rows) -> None:
    ticks = quotes(("1", "2.5"), ("2", "3"), ("1.25", "4"), sizes=(["1", None, "0.5"], [None, "7", "1"]))
    every = quotes_of(ticks)
    assert every is not None
    own = every.only(ticks.only(keep), keep)
    assert own.ticks.offset.tolist() == ticks.offset[keep].tolist()
    assert (own.scale, own.size_scale) == (every.scale, every.size_scale)
    for name in ("bid", "ask", "mid_price", "spread", "bid_size", "ask_size"):
        for part in ("units", "places"):
            found, before = (getattr(getattr(each, name), part) for each in (own, every))
            assert found.tolist() == before[keep].tolist()


@pytest.mark.parametrize("seed", range(150))
def test_columns_are_measured_as_their_ticks_one_by_one(seed: int) -> None:
    choose = random.Random(seed)
    ticks = drawn(choose, choose.randint(2, 12))
    session = metrics.open_session(ticks.ticks[0])
    cut = choose.randint(0, len(ticks) - 1)
    for tick in ticks.ticks[:cut]:
        metrics.measure(tick, session)
    at_once = copy(session)
    measured = measure(ticks.only(np.arange(cut, len(ticks))), at_once)
    assert measured is not None
    for place, tick in enumerate(ticks.ticks[cut:]):
        own = metrics.measure(tick, session)
        expected = (
            tick.bid, tick.ask, own.mid_price, own.spread,
            session.highest_bid, session.lowest_ask, session.max_spread,
        )  # fmt: skip
        found = [decimal(column, place, measured.scale) for column in measured.numbers]
        assert list(map(str, found)) == list(map(str, expected))
    names = session.__struct_fields__
    assert {n: str(getattr(at_once, n)) for n in names} == {n: str(getattr(session, n)) for n in names}


@pytest.mark.parametrize(
    ("price", "min_places", "scale"),
    [
        *(("1", 0, 4), ("1.1", 0, 4), ("1.123", 0, 4), ("1.1234", 0, 8), ("1.1234567", 0, 8)),
        *(("1.12345678", 0, 12), ("1", 3, 4), ("1", 4, 8), ("1.12345", 3, 8), ("1.1", 7, 8), ("1.1", 8, 12)),
    ],
)
def test_the_scale_has_room_for_half_a_unit(price: str, min_places: int, scale: int) -> None:
    found = quotes_of(quotes(("1", price) if Decimal(price) > 1 else ("1", "1")), min_places)
    assert found is not None
    assert found.scale == scale
    assert decimal(found.ask, 0, scale) == Decimal(price)
    assert decimal(found.mid_price, 0, scale) == (1 + Decimal(price)) / 2


@pytest.mark.parametrize(
    ("bid_size", "ask_size", "scale"),
    [("1", "2", 0), ("1.5", "2", 4), ("1", "2.1234", 4), ("1.12345", "2", 8), ("1", "2.12345678", 8)],
)
def test_sizes_have_a_scale_of_their_own(bid_size: str, ask_size: str, scale: int) -> None:
    found = quotes_of(quotes(("1", "2"), sizes=([bid_size], [ask_size])))
    assert found is not None
    assert found.size_scale == scale
    sizes = [decimal(column, 0, scale) for column in (found.bid_size, found.ask_size)]
    assert list(map(str, sizes)) == [bid_size, ask_size]


def test_a_missing_size_is_none_beside_whole_sizes() -> None:
    ticks = quotes(("1", "2"), ("1", "2"), sizes=(["3", None], ["4", "0"]))
    session = metrics.open_session(ticks.ticks[0])
    assert (session.last_bid_size, session.last_ask_size) == (Decimal(3), Decimal(4))
    assert measure(ticks, session) is not None
    assert (session.last_bid_size, session.last_ask_size) == (None, Decimal(0))


# A scale of 4, of 8 and of 16 decimals; one place more before the point, and they do not fit.
FITS = [
    [("1", "9" * 14)],
    [("1", "9" * 14), ("9" * 14, "9" * 14 + ".999")],
    [("0.1234567", "9" * 10), ("1", "1")],
    [("0.00000000000001", "99.9")],
]
TOO_LARGE = [
    [("1", "1" + "0" * 14)],
    [("1" + "0" * 14, "1" + "0" * 14)],
    [("1" + "0" * 13 + ".5", "1" + "0" * 14)],
    [("0.1234567", "1" + "0" * 10), ("1", "1")],
    [("0.00000000000001", "100.0")],
    [("1", "1" + "0" * 18)],
    [("0.0000000000000001", "1"), ("1", "1")],
    [("0.0000000000000001", "0.0000000000000001"), ("0.05", "0.05")],
]


def test_numbers_of_at_most_eighteen_digits_fit() -> None:
    for prices in FITS:
        found = quotes_of(quotes(*prices))
        assert found is not None, prices
        for place, (_, ask) in enumerate(prices):
            assert str(decimal(found.ask, place, found.scale)) == ask
    for prices in TOO_LARGE:
        assert quotes_of(quotes(*prices)) is None, prices


@pytest.mark.parametrize(
    ("bid_size", "ask_size", "fits"),
    [
        (["9" * 18, None], ["1", None], True),
        (["9" * 14, "0.5"], ["1", None], True),
        (["1" + "0" * 14, "0.5"], ["1", None], False),
        (["1", None], ["1" + "0" * 14, "0.5"], False),
        (["1", "1" * 19], ["1", None], False),
        (["1", None], ["0." + "1" * 17, None], False),
    ],
)
def test_sizes_that_do_not_fit_leave_the_ticks_to_be_measured_one_by_one(
    bid_size: list[str | None],
    ask_size: list[str | None],
    fits: bool,
) -> None:
    ticks = quotes(("1", "2"), ("1", "2"), sizes=(bid_size, ask_size))
    assert (quotes_of(ticks) is not None) == fits


@pytest.mark.parametrize(
    ("earlier", "fits"),
    [
        (("1", "9" * 14), True),
        (("1", "1" + "0" * 14), False),
        (("1", "1.1234567"), True),
        (("0." + "1" * 15, "9"), True),
        (("0." + "1" * 16, "9"), False),
    ],
)
def test_a_session_is_left_alone_if_its_extremes_do_not_fit(earlier: tuple[str, str], fits: bool) -> None:
    (before,) = quotes(earlier).ticks
    session = metrics.open_session(before)
    unchanged = copy(session)
    measured = measure(quotes(("1", "2"), ("1", "3")), session)
    assert (measured is not None, session != unchanged) == (fits, fits)


def traded(*trades: tuple[str, str]) -> PairTicks:
    """Return ticks with these prices and sizes of trades."""
    values = [
        json.dumps(
            {
                "type": "ticker", "product_id": "A-C", "best_bid": "1", "best_ask": "2",
                "time": NOW.isoformat(), "price": price, "last_size": size,
            }
        ).encode()
        for price, size in trades
    ]  # fmt: skip
    table, _ = decode_messages([(b"A-C", value) for value in values], NOW)
    return table.by_pair()[0]


def test_trades_are_scaled_as_far_as_their_own_places_need() -> None:
    found = scaled_trades(traded(("1.5", "2"), ("", ""), ("3", "0.25")))
    assert found is not None
    price, price_scale, size, size_scale = found
    assert (price_scale, size_scale) == (1, 2)
    assert (price[[0, 2]].tolist(), size.tolist()) == ([15, 30], [200, 0, 25])
    assert scaled_trades(traded(("9" * 18, "9" * 18))) is not None
    assert scaled_trades(traded(("9" * 18, "1"), ("0.1", "1"))) is None
    assert scaled_trades(traded(("1", "9" * 18), ("1", "0.1"))) is None
