"""Aggregates of columns against `windows.fold` of their ticks: any order, sizes, trades, large numbers."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cryptometrics.market import windows
from cryptometrics.market.table import table_of
from cryptometrics.market.table_metrics import quotes_of
from cryptometrics.market.table_windows import fold
from tests.tables import decode_messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptometrics.market.table import PairTicks
    from cryptometrics.market.windows import Aggregate

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
PARTITION = 3


def message(bid: str, ask: str, microseconds: int = 0, /, **fields: str) -> bytes:
    time = (NOW + timedelta(microseconds=microseconds)).isoformat()
    quote = {"type": "ticker", "product_id": "A-C", "best_bid": bid, "best_ask": ask, "time": time}
    return json.dumps(quote | fields).encode()


def table(values: Sequence[bytes]) -> PairTicks:
    found, rejected = decode_messages(
        ((b"A-C", v) for v in values), NOW, partition=PARTITION, first=70, step=2
    )
    assert not rejected
    (ticks,) = found.by_pair()
    return ticks


def one_by_one(
    ticks: PairTicks, numbers: Sequence[int], *, trades_known: bool = True
) -> dict[int, Aggregate]:
    """Return what `windows.fold` makes of the ticks of each window."""
    found = {}
    for number in sorted(set(numbers)):
        rows = [row for row, its in enumerate(numbers) if its == number]
        found[number] = windows.fold(
            [ticks.ticks[row] for row in rows], ticks.partition, [int(ticks.offset[row]) for row in rows],
            sum(bool(ticks.late[row]) for row in rows), trades_known=trades_known,
        )  # fmt: skip
    return found


def check(ticks: PairTicks, numbers: list[int], *, trades_known: bool = True) -> None:
    """Check that columns are folded as their ticks are, with and without their quotes."""
    expected = one_by_one(ticks, numbers, trades_known=trades_known)
    quotes = quotes_of(ticks)
    assert quotes is not None
    for given in (quotes, None):
        found = list(fold(ticks, np.array(numbers), given))
        assert [number for number, _ in found] == list(expected)
        assert dict(found) == expected


PRICES = ["1", "1.0", "1.1", "1.10", "2", "2.50", "2.5", "3", "0.0001", "7.12345"]
NUMBERS = ["", "0", "0.00", "0.5", "12.250", "3"]


@pytest.mark.parametrize("seed", range(150))
def test_columns_are_folded_as_their_ticks(seed: int) -> None:
    choose = random.Random(seed)
    values = []
    for _ in range(choose.randint(1, 12)):
        bid, ask = sorted((choose.choice(PRICES), choose.choice(PRICES)), key=Decimal)
        names = ("best_bid_size", "best_ask_size", "price", "last_size")
        fields = {name: choose.choice(NUMBERS) for name in names}
        fields |= {"side": choose.choice(["buy", "sell", ""]), "type": choose.choice(["ticker", "quote"])}
        values.append(message(bid, ask, choose.randint(-2, 2), **fields))
    ticks = table(values)
    ticks.table.late[:] = [choose.random() < 0.5 for _ in values]
    numbers = [choose.randint(0, 2) for _ in values]
    check(ticks, numbers if seed % 3 else sorted(numbers))


@pytest.mark.parametrize("bid", ["1", "10", "123456", "9007199254740", "9" * 13 + ".5"])
@pytest.mark.parametrize("ask", [0, 1, 7, 10**6, 3 * 10**12])
def test_spreads_of_any_width_are_exact_in_basis_points(bid: str, ask: int) -> None:
    """As many digits as divide the spread in one, two, three or four steps, or in none."""
    check(table([message(bid, str(Decimal(bid) + ask)), message(bid, bid)]), [0, 1])


@pytest.mark.parametrize("exponent", range(14))
def test_every_number_of_steps_divides_alike(exponent: int) -> None:
    choose = random.Random(exponent)
    total = 10**exponent
    some = [(str(total), str(total + choose.randint(0, 3 * total))) for _ in range(9)]
    check(table([message(*each) for each in some]), list(range(9)))


def test_a_rest_just_too_large_for_one_step_is_divided_in_two() -> None:
    check(table([message("0.01", "1400.07")]), [0])


def test_a_missing_size_is_none_beside_whole_sizes() -> None:
    sizes = {"best_bid_size": "3", "best_ask_size": "2"}
    one_side = [message("1", "2", **{name: size}) for name, size in sizes.items()]
    check(table([*one_side, message("1", "2", **sizes), message("1", "2")]), [0, 1, 2, 3])
    check(table([*one_side, message("1", "2", **sizes), message("1", "2")]), [0, 0, 0, 0])


@pytest.mark.parametrize("exponent", range(-8, 10))
def test_a_half_of_the_last_place_is_rounded_up(exponent: int) -> None:
    # 20,000 * 2 / 32,768 * 10^8 = 122070312.5, whatever the number of steps that the division takes.
    bid, ask = (f"{Decimal(units).scaleb(exponent):f}" for units in (16_383, 16_385))
    ticks = table([message(bid, ask)])
    check(ticks, [0])
    ((_, found),) = fold(ticks, np.array([0]), quotes_of(ticks))
    assert found.spread_bps_sum == Decimal("1.22070313")


@pytest.mark.parametrize("size", ["9" * 18, "9" * 14 + ".123", "1"])
@pytest.mark.parametrize("price", ["9" * 18, "4611686018427387", "1.5", "0"])
@pytest.mark.parametrize("count", [1, 2, 12])
def test_sums_beyond_sixty_four_bits_are_exact(size: str, price: str, count: int) -> None:
    fields = {"best_bid_size": size, "best_ask_size": size, "price": price, "last_size": size, "side": "buy"}
    check(table([message("1", "99999999999999", **fields)] * count), [0] * count)
    check(table([message("1", "99999999999999", **fields)] * count), list(range(count)))


@pytest.mark.parametrize(
    ("price", "size", "count"), [(2**32, 2**31, 1), (2**31, 2**31, 2), (2**31, 2**30, 4)]
)
def test_sums_that_just_overflow_are_exact(price: int, size: int, count: int) -> None:
    assert price * size * count == 2**63
    fields = {"price": str(price), "last_size": str(size)}
    check(table([message("1", "2", **fields)] * count), [0] * count)


def test_trades_that_do_not_fit_are_summed_one_by_one() -> None:
    trades = [("1", "9" * 18), ("0.12345678", "0.12345678"), ("5", "2")]
    check(table([message("1", "2", price=price, last_size=size) for price, size in trades]), [0, 0, 1])


def test_a_trade_without_its_price_or_size_is_none() -> None:
    some = [("", "3"), ("3", ""), ("0", "3"), ("3", "0"), ("0.0", "3"), ("2", "3"), ("0.1", "0.1")]
    ticks = table([message("1", "2", price=price, last_size=size) for price, size in some])
    check(ticks, list(range(len(some))))
    counts = [part.trades.trades for _, part in fold(ticks, np.arange(len(some))) if part.trades]
    assert counts == [0, 0, 0, 0, 0, 1, 1]


def test_what_trades_stored_ticks_had_is_not_known() -> None:
    (ticks,) = table_of(
        [0] * 3, [1, 2, 3], ["x"] * 3, ["A-C"] * 3, ["1"] * 3, ["2"] * 3, [5, 6, 7], [True, False, True]
    ).by_pair()
    check(ticks, [0, 1, 0], trades_known=False)
    assert [part.trades for _, part in fold(ticks, np.array([0, 1, 0]))] == [None, None]


def test_windows_may_be_numbered_below_zero() -> None:
    check(table([message("1", "2")] * 4), [-1, -3, -3, 5])
