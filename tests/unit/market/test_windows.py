"""What a window's aggregate is, against the definition written down a second time, with fractions."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.market.ticks import Tick, Trade
from cryptometrics.market.windows import (
    MAX_OUT_OF_ORDER,
    Aggregate,
    Place,
    TradeSums,
    fixed_start,
    fold,
    merge,
)
from cryptometrics.times import EPOCH
from tests.aggregates import of_tick

Quote = tuple[Place, Decimal, Decimal, bool]

widest = st.integers(1, 10**38 - 1).map(lambda units: Decimal(units).scaleb(-18))
usual = st.decimals("0.00000001", 100_000, places=8)
prices = st.one_of(widest, usual)
times = st.integers(0, 10**6).map(lambda us: datetime(2024, 1, 5, tzinfo=UTC) + timedelta(microseconds=us))
spans = st.integers(1, 10**7).map(lambda us: timedelta(microseconds=us))


@st.composite
def quotes(draw: st.DrawFn, least: int = 1) -> list[Quote]:
    found = []
    for offset in range(draw(st.integers(least, 12))):
        bid, ask = sorted((draw(prices), draw(prices)))
        found.append(((draw(times), 0, offset), bid, ask, draw(st.booleans())))
    return found


def aggregates(ticks: list[Quote]) -> list[Aggregate]:
    return [of_tick(place, bid, ask, late=late) for place, bid, ask, late in ticks]


def bps_of(bid: Decimal, ask: Decimal) -> Fraction:
    exact = 20_000 * (Fraction(ask) - Fraction(bid)) / (Fraction(bid) + Fraction(ask))
    return Fraction(math.floor(exact * 10**8 + Fraction(1, 2)), 10**8)


@given(quotes())
def test_an_aggregate_is_what_its_definition_says(ticks: list[Quote]) -> None:
    whole = reduce(merge, aggregates(ticks))
    mids = [(Fraction(bid) + Fraction(ask)) / 2 for _, bid, ask, _ in ticks]
    first = min(range(len(ticks)), key=lambda n: ticks[n][0])
    last = max(range(len(ticks)), key=lambda n: ticks[n][0])
    assert whole.ticks == len(ticks)
    assert (Fraction(whole.open), whole.opened) == (mids[first], ticks[first][0])
    assert (Fraction(whole.close), whole.closed) == (mids[last], ticks[last][0])
    assert (Fraction(whole.high), Fraction(whole.low)) == (max(mids), min(mids))
    assert whole.highest_bid == max(bid for _, bid, _, _ in ticks)
    assert whole.lowest_ask == min(ask for _, _, ask, _ in ticks)
    spreads = [Fraction(ask) - Fraction(bid) for _, bid, ask, _ in ticks]
    assert (Fraction(whole.spread_sum), Fraction(whole.max_spread)) == (sum(spreads), max(spreads))
    assert Fraction(whole.spread_bps_sum) == sum(bps_of(bid, ask) for _, bid, ask, _ in ticks)
    assert whole.late == sum(late for *_, late in ticks)


@given(quotes(), quotes(), quotes())
def test_merging_is_associative_and_commutative(a: list[Quote], b: list[Quote], c: list[Quote]) -> None:
    one, two, three = (reduce(merge, aggregates(ticks)) for ticks in (a, b, c))
    assert merge(one, two) == merge(two, one)
    assert merge(merge(one, two), three) == merge(one, merge(two, three))


@given(st.data(), quotes(least=2))
def test_any_order_and_grouping_give_the_same(data: st.DataObject, ticks: list[Quote]) -> None:
    parts = data.draw(st.permutations(aggregates(ticks)))
    while len(parts) > 1:
        at = data.draw(st.integers(0, len(parts) - 2))
        parts[at : at + 2] = [merge(parts[at], parts[at + 1])]
    assert parts == [reduce(merge, aggregates(ticks))]


@given(quotes())
def test_folding_ticks_is_merging_their_aggregates(ticks: list[Quote]) -> None:
    decoded = [Tick("BTC-USD", "ticker", bid, ask, place[0], None) for place, bid, ask, _ in ticks]
    offsets = [place[2] for place, *_ in ticks]
    late = sum(is_late for *_, is_late in ticks)
    assert fold(decoded, 0, offsets, late) == reduce(merge, aggregates(ticks))


def test_sizes_and_trades_are_summed_and_half_a_size_counts_for_nothing() -> None:
    one, two, three = Decimal(1), Decimal(2), Decimal(3)
    said: list[tuple[Decimal | None, Decimal | None, Trade | None]] = [
        (one, two, Trade(three, two, is_buy=True)),
        (one, None, None),
        (None, two, Trade(two, one, is_buy=False)),
        (None, None, Trade(one, three, is_buy=True)),
        (Decimal(0), three, None),
    ]
    ticks = [
        Tick("BTC-USD", "ticker", one, two, EPOCH, None, bid_size, ask_size, trade)
        for bid_size, ask_size, trade in said
    ]
    whole = fold(ticks, 5, range(10, 15), 4)
    assert (whole.opened, whole.closed, whole.late) == ((EPOCH, 5, 10), (EPOCH, 5, 14), 4)
    assert (whole.sized_ticks, whole.bid_size_sum, whole.ask_size_sum) == (2, one, Decimal(5))
    assert whole.trades == TradeSums(3, Decimal(6), Decimal(11), Decimal(5))
    parts = fold(ticks[:2], 5, (10, 11), 1), fold(ticks[2:], 5, (12, 13, 14), 3)
    assert merge(*parts) == merge(*parts[::-1]) == whole
    unknown = fold(ticks[:2], 5, (10, 11), trades_known=False)
    assert (unknown.trades, unknown.late, unknown.sized_ticks) == (None, 0, 1)
    # What is known of a part says nothing about the window.
    assert merge(unknown, parts[1]).trades is merge(parts[1], unknown).trades is None
    assert merge(unknown, unknown).trades is None


def test_basis_points_are_rounded_half_up() -> None:
    place = (EPOCH, 0, 0)
    # 20,000 * 0.8 / 3.2 * 10^12 = 0.000000005: just the middle.
    for spread, expected in (
        (1, "0.00000001"),
        (Decimal("0.5"), "0.00000000"),
        (Decimal("0.8"), "0.00000001"),
    ):
        bid = (Decimal(3_200_000_000_000) - spread) / 2
        assert of_tick(place, bid, bid + spread).spread_bps_sum == Decimal(expected)


@given(times, spans)
def test_a_fixed_window_holds_its_time(time: datetime, size: timedelta) -> None:
    start = fixed_start(time, size)
    assert start <= time < start + size
    assert (start - EPOCH) % size == timedelta()


def test_a_tick_may_come_two_seconds_out_of_order() -> None:
    """As docs/scaling.md says of the watermark. Windows that are stored were complete by this."""
    assert timedelta(seconds=2) == MAX_OUT_OF_ORDER
