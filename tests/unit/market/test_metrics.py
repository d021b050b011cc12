"""Risk metrics: exact whatever the width of a price, and equal to a plain recomputation over all ticks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.market.metrics import Session, measure, open_session
from cryptometrics.market.ticks import FRACTION_DIGITS, INTEGER_DIGITS, Tick

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)

prices = st.builds(
    lambda whole, fraction: f"{whole}.{fraction}" if fraction else whole,
    st.text("0123456789", min_size=1, max_size=INTEGER_DIGITS),
    st.text("0123456789", max_size=FRACTION_DIGITS),
).filter(lambda text: Decimal(text) > 0)


def tick(bid: str, ask: str, seconds: int = 0) -> Tick:
    time = NOON + timedelta(seconds=seconds)
    return Tick("ETH-USD", "ticker", Decimal(bid), Decimal(ask), time, None)


@st.composite
def ticks(draw: st.DrawFn, price: st.SearchStrategy[str] = prices) -> Tick:
    bid, ask = sorted((draw(price), draw(price)), key=Decimal)
    return tick(bid, ask, draw(st.integers(-5, 5)))


# Few prices and few moments, so that ticks tie in every way.
streams = st.lists(ticks(st.sampled_from(["1", "1.0", "2", "2.5", "3"])) | ticks(), min_size=1, max_size=40)


def after(stream: list[Tick]) -> Session:
    session = open_session(stream[0])
    for one in stream:
        measure(one, session)
    return session


@given(ticks())
def test_spread_and_mid_price_are_exact(one: Tick) -> None:
    measured = measure(one, open_session(one))
    bid, ask = Fraction(one.bid), Fraction(one.ask)
    assert Fraction(measured.spread) == ask - bid
    assert Fraction(measured.mid_price) == (bid + ask) / 2


def test_the_widest_prices_lose_no_digit() -> None:
    measured = measure(wide := tick("0." + "0" * 17 + "1", "9" * 20 + "." + "9" * 18), open_session(wide))
    assert str(measured.spread) == "9" * 20 + "." + "9" * 17 + "8"
    assert str(measured.mid_price) == "5" + "0" * 19 + "." + "0" * 18 + "0"


def test_a_locked_quote_has_no_spread() -> None:
    measured = measure(locked := tick("1.50", "1.5"), open_session(locked))
    assert measured.spread == 0
    assert measured.mid_price == Decimal("1.5")


@given(streams)
def test_extremes_are_those_of_a_plain_recomputation_after_every_tick(stream: list[Tick]) -> None:
    session = open_session(stream[0])
    for count, one in enumerate(stream, start=1):
        measure(one, session)
        so_far = stream[:count]
        assert session.ticks == count
        assert session.highest_bid == max(t.bid for t in so_far)
        assert session.lowest_ask == min(t.ask for t in so_far)
        assert session.max_spread == max(Fraction(t.ask) - Fraction(t.bid) for t in so_far)


@given(streams)
def test_an_extreme_has_the_time_of_the_first_tick_that_set_it(stream: list[Tick]) -> None:
    session = after(stream)
    assert session.highest_bid_at == next(t.time for t in stream if t.bid == session.highest_bid)
    assert session.lowest_ask_at == next(t.time for t in stream if t.ask == session.lowest_ask)
    assert session.max_spread_at == next(
        t.time for t in stream if Fraction(t.ask) - Fraction(t.bid) == session.max_spread
    )


@given(streams)
def test_first_and_last_go_by_event_time(stream: list[Tick]) -> None:
    session = after(stream)
    assert session.first_at == min(t.time for t in stream)
    assert session.last_at == max(t.time for t in stream)
    # Of several ticks of one moment the last in the order of the topic is the newest.
    newest = [t for t in stream if t.time == session.last_at][-1]
    assert (session.last_bid, session.last_ask) == (newest.bid, newest.ask)


def test_a_session_has_the_sizes_of_its_newest_quote_and_counts_from_zero() -> None:
    one, two = Decimal(1), Decimal(2)
    first = tick("1", "2", 3)
    first.bid_size, first.ask_size = one, two
    session = open_session(first)
    assert (session.ticks, session.late, session.last_bid_size, session.last_ask_size) == (0, 0, one, two)
    for seconds, sizes in ((2, (one, two)), (3, (two, None)), (5, (None, one)), (4, (None, one))):
        later = tick("1", "2", seconds)
        later.bid_size, later.ask_size = (None, one) if seconds == 5 else (two, None)
        measure(later, session)
        assert (session.last_bid_size, session.last_ask_size) == sizes
    assert (session.ticks, session.late) == (4, 0)


@given(streams, st.randoms(use_true_random=False))
def test_the_order_of_ticks_changes_no_extreme(stream: list[Tick], random: object) -> None:
    other = list(stream)
    random.shuffle(other)  # type: ignore[attr-defined]
    one, two = after(stream), after(other)
    for name in ("highest_bid", "lowest_ask", "max_spread", "first_at", "last_at", "ticks"):
        assert getattr(one, name) == getattr(two, name), name
