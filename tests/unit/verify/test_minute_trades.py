"""The trades of a minute are the same however its quotes come: one by one, in parts, in any order."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.times import from_microseconds
from cryptometrics.verify.exact_numbers import Numbers
from cryptometrics.verify.message_decoder import QuoteMessage, TradeMessage
from cryptometrics.verify.minute_sums import MINUTE_US
from cryptometrics.verify.minute_trades import MinuteTrades
from cryptometrics.verify.pair_rows import MarketKey
from cryptometrics.verify.trade_sums import UNKNOWN, TradeColumns, differing_minutes, merged, sum_trades

MARKET = MarketKey("simulated", "BTC-USD")


class Tick(NamedTuple):
    """A tick with a trade, or with none if its price is 0."""

    time: int
    is_known: bool
    price: int
    size: int
    taker_bought: bool


ticks_of_some_minutes = st.lists(
    st.builds(
        Tick,
        time=st.integers(0, 4 * MINUTE_US),
        is_known=st.booleans(),
        price=st.integers(0, 10**9) | st.integers(0, 10**17),
        size=st.integers(1, 10**9) | st.integers(1, 10**17),
        taker_bought=st.booleans(),
    ),
    min_size=1,
    max_size=40,
)


def sums(ticks: list[Tick], size_decimals: int) -> TradeColumns:
    """Return the sums of some ticks, whose prices have two decimals."""
    times, is_known, prices, sizes, bought = (np.array(column) for column in zip(*ticks, strict=True))
    is_trade = prices > 0
    sizes = np.where(is_trade, sizes, 0)
    return sum_trades(times, is_known, is_trade, (prices, 2), (sizes, size_decimals), bought)


def quote(tick: Tick, size_decimals: int) -> QuoteMessage:
    """Return the message of a tick."""
    trade = TradeMessage(
        Decimal(tick.price).scaleb(-2), Decimal(tick.size).scaleb(-size_decimals), tick.taker_bought
    )
    return QuoteMessage(
        MARKET.pair,
        "ticker",
        Decimal(1),
        Decimal(2),
        from_microseconds(tick.time),
        None,
        MARKET.venue,
        None,
        None,
        trade if tick.price else None,
    )


class Minute(NamedTuple):
    """A minute as it is stored; its trades and sums are None if they are not known."""

    start: int
    ticks: int
    trades: int | None
    volume: Fraction | None
    notional: Fraction | None
    buy_volume: Fraction | None


def minutes_of(parts: list[tuple[list[Tick], int]]) -> list[Minute]:
    """Return the minutes of ticks whose sizes have these decimals, tick by tick."""
    ticks = [(tick, Fraction(tick.size, 10**decimals)) for part, decimals in parts for tick in part]
    minutes = []
    for start in sorted({tick.time // MINUTE_US * MINUTE_US for tick, _ in ticks}):
        here = [(tick, size) for tick, size in ticks if tick.time // MINUTE_US * MINUTE_US == start]
        trades = [(tick, size) for tick, size in here if tick.price]
        minute = Minute(
            start,
            len(here),
            len(trades),
            sum((size for _, size in trades), Fraction()),
            sum((Fraction(tick.price, 100) * size for tick, size in trades), Fraction()),
            sum((size for tick, size in trades if tick.taker_bought), Fraction()),
        )
        is_known = all(tick.is_known for tick, _ in here)
        minutes.append(minute if is_known else Minute(start, len(here), None, None, None, None))
    return minutes


def differing(true: TradeColumns, minutes: list[Minute]) -> list[int]:
    """Return the starts of the stored minutes that differ."""
    starts, ticks, trades, *sums = zip(*minutes, strict=True)
    none = np.zeros(len(minutes), np.int64)
    numbers = [
        Numbers(
            none,
            none,
            none,
            np.array([number is None for number in column]),
            {row: (int(n * 10_000**10), -10) for row, n in enumerate(column) if n is not None},
        )
        for column in sums
    ]
    counts = np.array([UNKNOWN if count is None else count for count in trades])
    found = differing_minutes(true, np.array(starts), np.array(ticks), counts, *numbers)
    return [int(start) for start in found]


@given(ticks_of_some_minutes, ticks_of_some_minutes, st.integers(0, 18), st.integers(0, 18))
def test_parts_amount_to_the_minutes_of_all_ticks(
    first: list[Tick], second: list[Tick], decimals: int, other: int
) -> None:
    true = merged([sums(first, decimals), sums(second, other)])
    assert true is not None
    minutes = minutes_of([(first, decimals), (second, other)])
    assert true.starts.tolist() == [minute.start for minute in minutes]
    assert differing(true, minutes) == []


@given(ticks_of_some_minutes, st.sampled_from(["trades", "volume", "notional", "buy_volume"]))
def test_each_wrong_value_is_found(ticks: list[Tick], name: str) -> None:
    true, minutes = merged([sums(ticks, 4)]), minutes_of([(ticks, 4)])
    assert true is not None
    value = getattr(minutes[-1], name)
    wrong = [1, None] if value is None else [value + 1, None]
    for other in wrong:
        if other != value:
            change: dict[str, Any] = {name: other}
            changed = minutes[-1]._replace(**change)
            assert differing(true, [*minutes[:-1], changed]) == [changed.start]
            # A minute that has other ticks, too: not all of its messages were read.
            assert differing(true, [changed._replace(ticks=changed.ticks + 1)]) == []


@given(ticks_of_some_minutes, st.integers(0, 18))
def test_quotes_added_one_by_one_amount_to_the_same(ticks: list[Tick], decimals: int) -> None:
    with contextlib.closing(MinuteTrades()) as trades:
        for tick in ticks:
            trades.add(quote(tick, decimals), known=tick.is_known)
        true = trades.of(MARKET)
    assert true is not None
    assert differing(true, minutes_of([(ticks, decimals)])) == []


def test_a_market_without_a_quote_has_no_sums() -> None:
    with contextlib.closing(MinuteTrades()) as trades:
        assert trades.of(MARKET) is None
