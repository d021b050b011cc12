"""Many ticks at once: exactly what the decoder and the metrics of one tick say, whatever the messages are."""

from __future__ import annotations

import json
from copy import copy
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptometrics.market import metrics, text_columns, tick_decoder, windows
from cryptometrics.market.table import NO_TRADE, PairTicks, table_of
from cryptometrics.market.table_metrics import measure
from cryptometrics.market.table_windows import fold
from cryptometrics.market.text_columns import NOTHING
from cryptometrics.market.tick_decoder import RejectedError
from cryptometrics.market.ticks import EXACT, Tick, is_price
from cryptometrics.market.venues import Market
from cryptometrics.times import from_microseconds
from tests.aggregates import of_tick
from tests.tables import decode_messages

if TYPE_CHECKING:
    from cryptometrics.market.table import TickTable
    from cryptometrics.market.table_metrics import NumberColumn, PairMetrics

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def written(time: datetime) -> str:
    return time.isoformat("T", "microseconds").replace("+00:00", "Z")


# What is nearly right is what a fast reader may take for right.
price_texts = st.one_of(
    st.sampled_from(
        ["1", "1.0", "1.10", "2", "2.5", "0", "0.00", ".5", "5.", "1.2.3", "", " 1", "1\n", "-1"]
    ),
    st.sampled_from(["1e3", "+1", "1_0", "٣", "Infinity", "NaN", "1" * 20, "1" * 21, "0." + "0" * 17 + "1"]),
    st.builds("{}.{}".format, st.integers(0, 10**20 - 1), st.integers(0, 10**18 - 1)),
    st.text("0123456789.\n", max_size=8),
)
time_texts = st.one_of(
    st.sampled_from(
        [
            "2026-07-01T11:59:59.123456Z", "2026-06-30T23:59:59.999999Z", "2026-07-02T12:00:00.000001Z",
            "2026-07-02T12:00:00.000000Z", "2008-12-31T23:59:59.999999Z", "2009-01-01T00:00:00.000000Z",
            "2026-02-29T00:00:00.000000Z", "2024-02-29T00:00:00.000000Z", "2026-07-01T24:00:00.000000Z",
            "2026-07-01T11:60:00.000000Z", "2026-07-01T11:59:60.000000Z", "2026-07-01 11:59:59.123456Z",
            "2026-07-01T11:59:59,123456Z", "2026-W01-1T11:59:59.123456Z", "2026-07-01T11:59:59.1234567Z",
            "2026-07-01T11:59:59Z", "2026-07-01T13:59:59.123456+02:00", "٢٠٢٦-07-01T11:59:59.123456Z", "",
            "2026-07-01T11:59:59.12345\n", "2026-07-01T11:59:59.123456z",
        ]
    ),
    st.integers(-(10**14), 10**12).map(lambda since: written(NOW + timedelta(microseconds=since))),
)  # fmt: skip
trade_ids = st.none() | st.integers(0, 5) | st.sampled_from([-1, 2**63 - 2, 2**63 - 1, 2**64, 1.5, "7", True])
venues = st.sampled_from(["coinbase", "simulated", "simulated", "a" * 32, "a" * 33, "X", "", "a\n", None, 1])
names = st.sampled_from(["BTC-USD", "ETH-USD", "btc-usd", "X", "BTC-USD\n", "", "A" * 20 + "-" + "B" * 20])


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes | None, bytes | None]:
    if draw(st.integers(0, 9)) == 0:
        raw = st.sampled_from(
            [None, b"", b"[]", b"{", b"null", b'{"type":"gap"}', b"\xff", b"1 2", b"[" * 5000]
        )
        return draw(st.sampled_from([None, b"BTC-USD", b"\xff"])), draw(raw)
    name = draw(names)
    fields: dict[str, Any] = {
        "type": draw(st.sampled_from(["ticker", "ticker", "ticker", "quote", "gap", "", None, 1])),
        "product_id": name,
        "best_bid": draw(price_texts),
        "best_ask": draw(price_texts),
        "time": draw(time_texts),
        "trade_id": draw(trade_ids),
        "venue": draw(venues),
    }
    for field in draw(st.sets(st.sampled_from(["best_bid_size", "best_ask_size", "price", "last_size"]))):
        fields[field] = draw(price_texts | st.sampled_from(["", "0", None, 1.5]))
    if draw(st.booleans()):
        fields["side"] = draw(st.sampled_from(["buy", "buy", "sell", "", None, "BUY", 1]))
    for gone in draw(st.sets(st.sampled_from(list(fields)), max_size=1)) if draw(st.booleans()) else ():
        del fields[gone]
    key = name if draw(st.integers(0, 5)) else draw(names)
    return key.encode(), json.dumps(fields).encode()


def one_by_one(stream: list[tuple[bytes | None, bytes | None]]) -> list[Tick | tuple[str, str]]:
    results: list[Tick | tuple[str, str]] = []
    for key, value in stream:
        try:
            results.append(tick_decoder.decode(key, value, NOW))
        except RejectedError as error:
            results.append((error.reason, error.detail))
    return results


@settings(max_examples=300)
@given(st.lists(messages(), max_size=12))
def test_columns_of_messages_are_what_the_decoder_makes_of_each(
    stream: list[tuple[bytes | None, bytes | None]],
) -> None:
    table, rejected = decode_messages(stream, NOW)
    found: dict[int, Tick | tuple[str, str]] = {n: (e.reason, e.detail) for n, e in rejected.items()}
    found |= {int(at): table.tick(row) for row, at in enumerate(table.message)}
    expected = one_by_one(stream)
    assert [found[n] for n in range(len(stream))] == expected
    # Equal numbers may be written differently: 1.10 and 1.1.
    for row, at in enumerate(table.message):
        tick = expected[int(at)]
        assert isinstance(tick, Tick)
        assert table.tick(row).bid.as_tuple() == tick.bid.as_tuple()
        assert table.tick(row).ask.as_tuple() == tick.ask.as_tuple()
        assert str(table.tick(row)) == str(tick)
        if not table.is_wide[row]:
            assert Decimal(int(table.bid[row])).scaleb(-int(table.bid_places[row])) == tick.bid
            assert Decimal(int(table.ask[row])).scaleb(-int(table.ask_places[row])) == tick.ask
            for size, units, places in (
                (tick.bid_size, table.bid_size, table.bid_size_places),
                (tick.ask_size, table.ask_size, table.ask_size_places),
            ):
                assert size == (
                    None if units[row] == NOTHING else Decimal(int(units[row])).scaleb(-int(places[row]))
                )
            size = Decimal(int(table.trade_size[row])).scaleb(-int(table.trade_size_places[row]))
            assert size == (tick.trade.size if tick.trade else 0)


@given(st.lists(price_texts, max_size=12))
def test_a_price_that_is_not_odd_is_the_number_that_it_says(column: list[str]) -> None:
    digits, places, odd = text_columns.prices(column)
    for text, number, after, is_odd in zip(column, digits, places, odd, strict=True):
        if not is_odd:
            assert Decimal(int(number)).scaleb(-int(after)).as_tuple() == Decimal(text).as_tuple()
    plain = [text for text in column if "\n" not in text]
    for text, is_odd in zip(plain, text_columns.prices(plain)[2], strict=True):
        if is_price(text) and len(text) <= text_columns.MAX_PLAIN_CHARS and Decimal(text):
            assert not is_odd, text


@given(st.lists(time_texts | st.text(max_size=30), max_size=12))
def test_a_time_that_is_not_odd_is_the_moment_that_it_says(column: list[str]) -> None:
    times, odd = text_columns.times(column)
    for text, time, is_odd in zip(column, times, odd, strict=True):
        if not is_odd:
            assert from_microseconds(int(time)).isoformat("T", "microseconds") == text.replace("Z", "+00:00")


prices = st.one_of(
    st.sampled_from(["1", "1.0", "2", "2.50", "3"]),
    st.builds("{}.{}".format, st.integers(1, 10**6), st.integers(0, 10**9)),
    # As many digits as divide the spread in one, two, three or four steps.
    st.integers(0, 13)
    .flatmap(lambda digits: st.integers(10**digits, 10 ** (digits + 1)))
    .map("{}.50".format),
    st.builds("{}.{}".format, st.integers(1, 10**20 - 1), st.integers(0, 10**18 - 1)),
)
quotes = st.tuples(prices, prices, st.integers(-5, 5)).map(
    lambda drawn: (*sorted(drawn[:2], key=Decimal), drawn[2])
)
numbers_or_none = st.one_of(prices, st.sampled_from(["0", "0.00", "", "0.46688654", "8000"]))
extras = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["ticker", "ticker", "quote"]),
        **dict.fromkeys(("best_bid_size", "best_ask_size", "price", "last_size"), numbers_or_none),
        "side": st.sampled_from(["buy", "sell", ""]),
    }
)


@settings(max_examples=200)
@given(st.lists(quotes, min_size=1, max_size=12), st.integers(0, 11), st.data())
def test_metrics_of_columns_are_those_of_each_tick(
    stream: list[tuple[str, str, int]], cut: int, data: st.DataObject
) -> None:
    """The first ticks one by one, the rest at once: as a batch finds its session."""
    values = [
        json.dumps(
            {
                "type": "ticker", "product_id": "BTC-USD", "best_bid": bid, "best_ask": ask,
                "time": written(NOW + timedelta(seconds=seconds)),
            }
            | data.draw(extras)
        ).encode()
        for bid, ask, seconds in stream
    ]  # fmt: skip
    table, rejected = decode_messages([(b"BTC-USD", value) for value in values], NOW, partition=7, step=2)
    assert not rejected
    session = metrics.open_session(table.tick(0))
    cut = min(cut, len(stream) - 1)
    for place in range(cut):
        metrics.measure(table.tick(place), session)
    before = copy(session)
    at_once = copy(session)
    table.late[cut::3] = True
    (whole,) = table.by_pair()
    ticks = whole.only(np.arange(cut, len(stream)))
    measured = measure(ticks, at_once)
    if measured is None:
        assert at_once == before
        texts = (
            *(text for bid, ask, _ in stream for text in (bid, ask)),
            *(text for column in (table.bid_size_text, table.ask_size_text) for text in column),
            *(text for column in (table.trade_price_text, table.trade_size_text) for text in column),
        )
        assert max(map(len, texts)) > 10
        return
    for place in range(cut, len(stream)):
        tick = table.tick(place)
        own = metrics.measure(tick, session)
        expected = (
            tick.bid, tick.ask, own.mid_price, own.spread,
            session.highest_bid, session.lowest_ask, session.max_spread,
        )  # fmt: skip
        assert row(measured, place - cut) == [number.as_tuple() for number in expected]
    minutes: dict[datetime, windows.Aggregate] = {}
    for place in range(cut, len(stream)):
        tick = table.tick(place)
        one = of_tick(
            (tick.time, 7, 2 * place), tick.bid, tick.ask, late=bool(table.late[place]),
            sizes=(tick.bid_size, tick.ask_size), trade=tick.trade,
        )  # fmt: skip
        minute = windows.fixed_start(tick.time, windows.MINUTE)
        minutes[minute] = windows.merge(minutes[minute], one) if minute in minutes else one
    numbers = ticks.time // 60_000_000
    for quotes_or_none in (measured, None):
        found = dict(fold(ticks, numbers, quotes_or_none))
        assert {from_microseconds(number * 60_000_000): part for number, part in found.items()} == minutes
    assert at_once == session
    assert [str(value) for value in _values(at_once)] == [str(value) for value in _values(session)]


def row(measured: PairMetrics, at: int) -> list[Any]:
    return [number(column, measured.scale, at).as_tuple() for column in measured.numbers]


def number(column: NumberColumn, scale: int, at: int) -> Decimal:
    places = int(column.places[at])
    return (
        Decimal(int(column.units[at]))
        .scaleb(-scale, EXACT)
        .quantize(Decimal(1).scaleb(-places), context=EXACT)
    )


def _values(session: metrics.Session) -> list[Any]:
    return [getattr(session, name) for name in session.__struct_fields__]


# The table and its parts

DAY = 86_400_000_000


def stored(
    *places: tuple[int, str, str], times: list[int] | None = None, late: list[bool] | None = None
) -> TickTable:
    """Return a table of stored ticks at these partitions, venues and pairs."""
    count = len(places)
    return table_of(
        [partition for partition, _, _ in places],
        range(100, 100 + count),
        [venue for _, venue, _ in places],
        [pair for _, _, pair in places],
        [f"{number}.50" for number in range(1, count + 1)],
        [f"{number}.750" for number in range(1, count + 1)],
        list(range(count)) if times is None else times,
        [False] * count if late is None else late,
    )


def parts_of(table: TickTable) -> list[tuple[int, str, list[int]]]:
    return [(part.partition, str(part.market), part.rows.tolist()) for part in table.by_pair()]


def test_ticks_are_parted_by_partition_venue_and_pair_in_the_order_of_the_topic() -> None:
    places = [
        *((1, "x", "B-C"), (0, "y", "A-C"), (0, "x", "A-C"), (1, "x", "B-C"), (0, "x", "A-C")),
        *((1, "x", "A-C"), (0, "y", "A-C"), (1, "y", "B-C")),
    ]
    assert sorted(parts_of(stored(*places))) == [
        (0, "x A-C", [2, 4]), (0, "y A-C", [1, 6]), (1, "x A-C", [5]), (1, "x B-C", [0, 3]), (1, "y B-C", [7])
    ]  # fmt: skip
    assert sorted(parts_of(stored(*((p, "x", pair) for p, _, pair in places)))) == [
        (0, "x A-C", [1, 2, 4, 6]), (1, "x A-C", [5]), (1, "x B-C", [0, 3, 7])
    ]  # fmt: skip
    assert stored().by_pair() == []


def test_partitions_may_have_any_number() -> None:
    numbers = [70_000, 32_768, 3, 32_767, 32_768, 65_536]
    assert sorted(parts_of(stored(*((number, "x", "A-C") for number in numbers)))) == [
        *((3, "x A-C", [2]), (32_767, "x A-C", [3]), (32_768, "x A-C", [1, 4])),
        *((65_536, "x A-C", [5]), (70_000, "x A-C", [0])),
    ]
    for most in (32_767, 32_768):
        assert sorted(parts_of(stored((most, "x", "A-C"), (0, "x", "A-C"), (most, "x", "A-C")))) == [
            (0, "x A-C", [1]), (most, "x A-C", [0, 2])
        ]  # fmt: skip


def test_every_column_of_the_kept_ticks_stays_in_its_order() -> None:
    table = stored(*((number, f"v{number}", "A-C") for number in range(6)), late=[True, False] * 3)
    for kept in ([], [0], [5], [1, 2, 4], [0, 3, 5], list(range(6))):
        found = table.only(np.isin(np.arange(6), kept))
        for each in fields(table):
            whole, some = getattr(table, each.name), getattr(found, each.name)
            assert list(some) == [whole[row] for row in kept], each.name
        assert len(found) == len(kept)


def test_stored_ticks_have_sizes_if_given_and_no_known_trades() -> None:
    table = table_of(
        [3, 3], [7, 9], ["x", "x"], ["A-C", "A-C"], ["1.50", "1" * 19], ["1.75", "1" * 19], [5, 6],
        [False, True], sizes=(["0.5", None], [None, "0"]),
    )  # fmt: skip
    one, two = (table.tick(row) for row in range(2))
    assert one == Tick(
        "A-C", "ticker", Decimal("1.50"), Decimal("1.75"), from_microseconds(5), None, Decimal("0.5"),
        None, None, "x",
    )  # fmt: skip
    assert (two.bid, two.bid_size, two.ask_size, two.trade) == (Decimal("1" * 19), None, Decimal(0), None)
    assert (table.bid[0], table.bid_places[0], table.ask[0], table.ask_places[0]) == (150, 2, 175, 2)
    assert (table.bid_size.tolist(), table.bid_size_places.tolist()) == ([5, NOTHING], [1, 0])
    assert (table.ask_size.tolist(), table.ask_size_places.tolist()) == ([NOTHING, 0], [0, 0])
    assert table.trade_size.tolist() == table.trade_price.tolist() == [NOTHING, NOTHING]
    assert table.trade_size_places.tolist() == table.trade_price_places.tolist() == [0, 0]
    assert table.trade_id.tolist() == [NO_TRADE, NO_TRADE] == [-1, -1]
    assert (table.message.tolist(), table.partition.tolist()) == ([0, 1], [3, 3])
    (part,) = table.by_pair()
    assert (part.offset.tolist(), part.trade_id.tolist()) == ([7, 9], [-1, -1])
    assert (part.late.tolist(), part.time.tolist(), part.pair) == ([False, True], [5, 6], "A-C")
    assert part.ticks == [one, two]
    assert stored((0, "x", "A-C")).tick(0).bid_size is None


@pytest.mark.parametrize("column", range(4))
def test_a_stored_tick_is_wide_if_one_of_its_numbers_is(column: int) -> None:
    numbers = [["1", "1"] for _ in range(4)]
    numbers[column][1] = "1" * 19
    bids, asks, *sizes = numbers
    table = table_of(
        [0, 0], [1, 2], ["x"] * 2, ["A-C"] * 2, bids, asks, [0, 0], [False] * 2, sizes=(sizes[0], sizes[1])
    )
    assert table.is_wide.tolist() == [False, True]


def test_the_newest_tick_is_the_latest_by_its_time() -> None:
    assert stored().newest is None
    assert stored(*[(0, "x", "A-C")] * 3, times=[5, 9, 7]).newest == from_microseconds(9)


def test_ticks_are_parted_by_utc_day_and_session() -> None:
    times = [5 * DAY, 5 * DAY - 1, 6 * DAY - 1, -1, 4 * DAY]
    (ticks,) = stored(*[(0, "x", "A-C")] * 5, times=times).by_pair()
    assert ticks.days == ["1970-01-06", "1970-01-05", "1969-12-31"]
    assert [(day, part.rows.tolist()) for day, part in ticks.by_day()] == [
        *(("1970-01-06", [0, 2]), ("1970-01-05", [1, 4]), ("1969-12-31", [3]))
    ]
    assert [(part.session, part.rows.tolist()) for part in ticks.by_session(None)] == [
        *(("1970-01-06", [0, 2]), ("1970-01-05", [1, 4]), ("1969-12-31", [3]))
    ]
    assert [(part.session, part.rows.tolist()) for part in ticks.by_session("s")] == [("s", [0, 1, 2, 3, 4])]
    one_day = ticks.only(np.array([2, 0]))
    ((day, same),) = one_day.by_day()
    assert (day, same, one_day.days) == ("1970-01-06", one_day, ["1970-01-06"])
    assert ticks.only(np.array([3])).days == ["1969-12-31"]
    none = ticks.only(np.zeros(5, np.bool_))
    assert (list(none.by_session(None)), list(none.by_session("s")), none.days) == ([], [], [])
    for part in (*ticks.by_session(None), *ticks.by_session("s"), one_day):
        assert (part.market, part.partition, part.table) == (Market("x", "A-C"), 0, ticks.table)
    assert next(ticks.by_session("s")).only(np.array([0])).session == "s"


def test_what_was_sent_before_can_be_left_out() -> None:
    (ticks,) = (table := stored(*[(0, "x", "A-C")] * 3)).by_pair()
    assert ticks.without_duplicates() is ticks
    table.duplicate[1] = True
    assert ticks.without_duplicates().rows.tolist() == [0, 2]


def formed(*numbers: int) -> PairTicks:
    """Return ticks whose kind and optional fields are the bits of these numbers."""
    values = []
    for number in numbers:
        message: dict[str, Any] = {
            "product_id": "A-C",
            "best_bid": "1",
            "best_ask": "2",
            "time": written(NOW),
        }
        message |= {"type": "quote"} if number & 8 else {"type": "ticker"}
        message |= {"trade_id": 7} if number & 4 else {}
        message |= {"best_bid_size": "0"} if number & 2 else {}
        message |= {"best_ask_size": "3"} if number & 1 else {}
        values.append(json.dumps(message).encode())
    table, _ = decode_messages([(b"A-C", value) for value in values], NOW)
    return PairTicks(table, np.arange(len(values)), Market("coinbase", "A-C"), 0)


def test_ticks_of_one_kind_with_the_same_fields_are_of_one_form() -> None:
    forms = [
        (kind, part.rows.tolist(), mask) for kind, part, mask in formed(*range(16), *range(16)).by_form()
    ]
    assert [(kind, rows) for kind, rows, _ in forms] == [
        ("quote" if number & 8 else "ticker", [number, number + 16]) for number in range(16)
    ]
    for _, rows, mask in forms:
        assert mask is not None
        assert np.flatnonzero(mask).tolist() == rows
    for number in range(16):
        ((kind, part, mask),) = (ticks := formed(number, number)).by_form()
        assert (kind, part, mask) == ("quote" if number & 8 else "ticker", ticks, None)
        assert ticks.table.has_quotes == bool(number & 8)
    assert formed(0, 8).table.has_quotes
    assert [(kind, len(part), mask) for kind, part, mask in formed(8).by_form()] == [("quote", 1, None)]
    assert [(kind, len(part)) for kind, part, _ in formed(9, 0).by_form()] == [("ticker", 1), ("quote", 1)]
    assert list(formed(0).only(np.array([], np.int64)).by_form()) == []
    assert list(formed(0, 1).only(np.array([], np.int64)).by_form()) == []
