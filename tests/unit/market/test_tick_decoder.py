"""The wire format: exact numbers, and one reason for everything that is no tick."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.market.tick_decoder import MAX_VALUE_BYTES, Reason, RejectedError, decode, pairs_in
from cryptometrics.market.ticks import (
    EARLIEST,
    EXACT,
    FRACTION_DIGITS,
    INTEGER_DIGITS,
    MAX_AHEAD,
    Tick,
    Trade,
    is_pair,
)

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
GOOD: dict[str, Any] = {
    "type": "ticker",
    "product_id": "ETH-USD",
    "best_bid": "3120.10",
    "best_ask": "3120.25",
    "time": "2026-07-01T11:59:58.061769Z",
    "trade_id": 370843401,
}


def message(**changes: Any) -> tuple[bytes, bytes]:
    fields = {name: value for name, value in (GOOD | changes).items() if value is not ...}
    return b"ETH-USD", json.dumps(fields).encode()


def read(**changes: Any) -> Tick:
    return decode(*message(**changes), NOW)


def reason(key: bytes | None, value: bytes | None) -> Reason:
    with pytest.raises(RejectedError) as caught:
        decode(key, value, NOW)
    assert caught.value.detail.isprintable()
    return caught.value.reason


prices = st.builds(
    lambda whole, fraction: f"{whole}.{fraction}" if fraction else whole,
    st.text("0123456789", min_size=1, max_size=INTEGER_DIGITS),
    st.text("0123456789", max_size=FRACTION_DIGITS),
).filter(lambda text: Decimal(text) > 0)


@given(prices, prices)
def test_prices_of_any_width_are_exact(one: str, other: str) -> None:
    bid, ask = sorted((one, other), key=Decimal)
    tick = read(best_bid=bid, best_ask=ask)
    # As tuples: 1.10 and 1.1 are equal numbers, but not the same text.
    assert tick.bid.as_tuple() == Decimal(bid).as_tuple()
    assert tick.ask.as_tuple() == Decimal(ask).as_tuple()


@given(prices, prices)
def test_a_bid_above_the_ask_is_crossed_and_an_equal_one_is_not(one: str, other: str) -> None:
    if Decimal(one) > Decimal(other):
        assert reason(*message(best_bid=one, best_ask=other)) == Reason.CROSSED_QUOTE
    assert read(best_bid=one, best_ask=one).bid == Decimal(one)


@given(st.datetimes(EARLIEST.replace(tzinfo=None), NOW.replace(tzinfo=None)), st.integers(-23 * 60, 23 * 60))
def test_a_time_is_the_same_moment_in_utc_whatever_its_zone(moment: datetime, minutes: int) -> None:
    utc = moment.replace(tzinfo=UTC)
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    local = moment + timedelta(minutes=minutes)
    tick = read(time=f"{local.isoformat(timespec='microseconds')}{sign}{hours:02d}:{rest:02d}")
    assert tick.time == utc


@given(st.integers(0, 999_999_999_999), st.integers(0, 12))
def test_more_digits_than_microseconds_are_cut_not_rounded(fraction: int, digits: int) -> None:
    text = f"{fraction:012d}"[:digits]
    tick = read(time=f"2026-06-30T23:59:59{'.' if digits else ''}{text}Z")
    assert tick.time.microsecond == int(text.ljust(6, "0")[:6])
    assert tick.time.date().isoformat() == "2026-06-30"


@given(st.one_of(st.none(), st.binary()), st.one_of(st.none(), st.binary()))
def test_bytes_from_anywhere_are_a_tick_or_rejected(key: bytes | None, value: bytes | None) -> None:
    reason(key, value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), anything | st.just(...), min_size=1))
def test_fields_of_any_kind_are_a_tick_or_rejected(changes: dict[str, Any]) -> None:
    try:
        tick = read(**changes)
    except RejectedError:
        return
    assert tick.pair == "ETH-USD"
    assert tick.bid <= tick.ask


WRONG: list[tuple[Reason, tuple[bytes | None, bytes | None]]] = [
    (Reason.NO_VALUE, (b"ETH-USD", None)),
    (Reason.TOO_LARGE, (b"ETH-USD", message()[1].ljust(MAX_VALUE_BYTES + 1))),
    (Reason.NOT_JSON, (b"ETH-USD", b"")),
    (Reason.NOT_JSON, (b"ETH-USD", b"ticker")),
    (Reason.NOT_JSON, (b"ETH-USD", message()[1][:-1])),
    (Reason.NOT_JSON, (b"ETH-USD", b"\xff\xfe{}")),
    (Reason.NOT_JSON, (b"ETH-USD", b"[" * 60_000)),
    (Reason.NOT_JSON, (b"ETH-USD", b'{"x":' + b"[" * 60_000)),
    (Reason.NOT_OBJECT, (b"ETH-USD", b"[]")),
    (Reason.NOT_OBJECT, (b"ETH-USD", b"null")),
    (Reason.NOT_OBJECT, (b"ETH-USD", b'"ticker"')),
    *((Reason.MISSING_FIELD, message(**{field: ...})) for field in GOOD if field != "trade_id"),
    *((Reason.WRONG_TYPE, message(**{field: None})) for field in GOOD if field != "trade_id"),
    (Reason.WRONG_TYPE, message(best_bid=3120.1)),
    (Reason.WRONG_TYPE, message(trade_id="370843401")),
    (Reason.WRONG_TYPE, message(trade_id=-1)),
    (Reason.WRONG_TYPE, message(trade_id=2**63 - 1)),
    (Reason.WRONG_TYPE, message(trade_id=2**70)),
    (Reason.WRONG_TYPE, message(venue=None)),
    (Reason.WRONG_TYPE, message(venue=1)),
    (Reason.UNKNOWN_TYPE, message(type="heartbeat")),
    (Reason.UNKNOWN_TYPE, message(type="")),
    *(
        (Reason.BAD_PAIR, message(product_id=pair))
        for pair in ("", "ETHUSD", "eth-usd", "A-B-C", "ETH-USD\n")
    ),
    (Reason.KEY_MISMATCH, (None, message()[1])),
    (Reason.KEY_MISMATCH, (b"", message()[1])),
    (Reason.KEY_MISMATCH, (b"BTC-USD", message()[1])),
    *(
        (Reason.BAD_VENUE, message(venue=venue))
        for venue in ("", "Coinbase", "coin base", "coinbase\n", "coin_base", "börse", "a" * 33)
    ),
    *(
        (Reason.BAD_PRICE, message(**{field: price}))
        for field in ("best_bid", "best_ask")
        for price in (
            *("", "0", "0.00", "-1", "+1", "NaN", "sNaN", "Infinity", "1e3", ".5", "5.", "0x10", "1,000"),
            # What Decimal takes, and a price is not.
            *(" 1\n", "1_000", "１２", "٣"),
            *("9" * 400, "9" * (INTEGER_DIGITS + 1), "1." + "0" * (FRACTION_DIGITS + 1)),
        )
    ),
    *(
        (expected, message(**{field: number}))
        for expected, fields in (
            (Reason.BAD_SIZE, ("best_bid_size", "best_ask_size")),
            (Reason.BAD_TRADE, ("price", "last_size")),
        )
        for field in fields
        for number in ("-1", "NaN", "1e3", ".5", " 1", "9" * 21, "1." + "0" * 19, "9" * 400)
    ),
    (Reason.WRONG_TYPE, message(best_bid_size=1.5)),
    (Reason.BAD_TRADE, message(side="BUY")),
    (Reason.CROSSED_QUOTE, message(best_bid="3120.26")),
    *(
        (Reason.BAD_TIME, message(time=time))
        for time in (
            *("", "now", "1782907198", "2026-07-01", "2026-07-01T11:59:58", "2026-07-01 11:59:58Z"),
            *("2026-02-30T00:00:00Z", "2026-07-01T24:00:00Z", "2026-07-01T11:59:60Z", "0000-07-01T00:00:00Z"),
            *("2026-07-01T11:59:58+99:99", "2026-07-01T11:59:58.Z", "0001-01-01T00:00:00+23:00"),
        )
    ),
    (Reason.IMPLAUSIBLE_TIME, message(time="2008-12-31T23:59:59.999999Z")),
    (Reason.IMPLAUSIBLE_TIME, message(time="2026-07-02T12:00:00.000001Z")),
    (Reason.IMPLAUSIBLE_TIME, message(time="9999-12-31T23:59:59Z")),
]


@pytest.mark.parametrize(("expected", "record"), WRONG, ids=lambda value: str(value)[:60])
def test_what_is_wrong_is_named(expected: Reason, record: tuple[bytes | None, bytes | None]) -> None:
    assert reason(*record) == expected


def test_every_reason_but_the_databases_own_is_reached() -> None:
    # What is wrong with a gap is tested with the gaps.
    assert {expected for expected, _ in WRONG} == set(Reason) - {Reason.REFUSED, Reason.BAD_GAP}


def test_a_venue_may_be_named_and_is_coinbase_otherwise() -> None:
    assert read().venue == "coinbase"
    for venue in ("coinbase", "simulated", "coinbase-advanced", "0", "-", "a" * 32):
        assert read(venue=venue).venue == venue


def test_the_edges_of_what_is_plausible_are_ticks() -> None:
    assert read(time="2009-01-01T00:00:00Z").time == EARLIEST
    assert read(time="2026-07-01T12:00:00Z").time == NOW
    assert read(time="2026-07-01T12:00:00.000001Z").time > NOW
    assert read(time="2026-07-02T12:00:00Z").time == NOW + MAX_AHEAD
    assert read(trade_id=0).trade_id == 0
    assert read(trade_id=2**63 - 2).trade_id == 2**63 - 2


def test_a_message_may_have_sixty_four_kibibytes() -> None:
    key, value = message()
    assert decode(key, value.ljust(65_536), NOW) == read()
    with pytest.raises(RejectedError, match="65537 bytes, more than 65536"):
        decode(key, value.ljust(65_537), NOW)


def test_the_longest_pair_and_numbers_are_read() -> None:
    pair, number = "A" * 20 + "-" + "B" * 20, "9" * 20 + "." + "9" * 18
    fields = GOOD | dict.fromkeys(("best_bid", "best_ask", "best_bid_size", "price", "last_size"), number)
    tick = decode(pair.encode(), json.dumps(fields | {"product_id": pair}).encode(), NOW)
    assert (tick.pair, str(tick.bid), str(tick.ask), str(tick.bid_size)) == (pair, number, number, number)
    assert tick.trade is not None
    assert str(EXACT.multiply(tick.trade.price, tick.trade.size)).count("9") > 30


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"type": "x" * 80}, f'type is "{"x" * 80}", not ticker or quote'),
        ({"type": "x" * 81}, f'type is "{"x" * 77}…", not ticker or quote'),
        (
            {"best_bid": "0"},
            'best_bid "0" is not a positive decimal of at most 20 digits before and 18 after',
        ),
        ({"best_ask": "0"}, 'best_ask "0" is not a positive decimal'),
        ({"best_bid": "0", "best_ask": "0"}, 'best_bid "0" is not'),
        ({"time": "2008-12-31T23:59:59.999999Z"}, "time 2008-12-31T23:59:59.999999Z is before 2009"),
        ({"time": "2026-07-03T00:00:00Z"}, "time 2026-07-03T00:00:00Z is more than a day ahead"),
        ({"time": ...}, "lacks the field time"),
        ({"venue": "Nasdaq"}, 'venue "Nasdaq" is not 1 to 32 lower-case letters, digits and hyphens'),
        ({"product_id": "eth"}, 'product_id "eth" is not of the form BASE-QUOTE'),
        ({"product_id": "A-B"}, 'the record\'s key "ETH-USD" is not the pair A-B'),
        ({"best_bid": "3121"}, "bid 3121 is above ask 3120.25"),
        ({"trade_id": -1}, "trade_id is not a whole number from 0 to 2^63 - 2"),
        ({"best_bid_size": "x"}, 'best_bid_size "x" is not a decimal of at most 20 digits'),
        ({"last_size": "-1"}, 'last_size "-1" is not a decimal of at most 20 digits'),
        ({"side": "BUY"}, 'side is "BUY", not buy or sell'),
        ({"time": "now\n"}, 'time "now\\n" is not RFC 3339 with a zone'),
        ({"time": "2026-02-30T00:00:00Z"}, 'time "2026-02-30T00:00:00Z" does not exist'),
        ({"best_ask": 1}, "Expected `str`, got `int` - at `$.best_ask`"),
    ],
)
def test_the_detail_says_what_is_wrong(changes: dict[str, Any], detail: str) -> None:
    with pytest.raises(RejectedError) as caught:
        read(**changes)
    assert detail in caught.value.detail


@pytest.mark.parametrize(
    ("key", "value", "detail"),
    [
        (b"ETH-USD", None, "the message has no value"),
        (b"ETH-USD", b"", "Input data was truncated"),
        (b"ETH-USD", b"[1]", "the value is a JSON list, not an object"),
        (b"ETH-USD", b"null", "the value is a JSON NoneType, not an object"),
        (b"ETH-USD", b"[]x", "JSON is malformed: trailing characters (byte 3)"),
        (b"ETH-USD", b"[1", "Input data was truncated"),
        (b"ETH-USD", b'{"x":' + b"[" * 60_000, "nested too deep"),
        (None, message()[1], "the record's key (none) is not the pair ETH-USD"),
        (b"\xff", message()[1], 'the record\'s key "\\xff" is not the pair ETH-USD'),
    ],
)
def test_the_detail_shows_what_cannot_be_read(key: bytes | None, value: bytes | None, detail: str) -> None:
    with pytest.raises(RejectedError) as caught:
        decode(key, value, NOW)
    assert caught.value.detail == detail
    assert str(caught.value) == f"{caught.value.reason}: {detail}"


@pytest.mark.parametrize(
    "time", ["2026-07-01T11:00:00Z", "2026-07-01T11:00:00+00:00", "2026-07-01T13:00:00+02:00"]
)
def test_a_tick_has_its_time_in_utc(time: str) -> None:
    assert str(read(time=time).time) == "2026-07-01 11:00:00+00:00"


def test_a_rejection_can_be_kept_without_the_frames_that_made_it() -> None:
    with pytest.raises(RejectedError) as caught:
        read(best_bid="0")
    assert caught.value.__traceback__ is not None
    bare = caught.value.bare()
    assert (bare, bare.__traceback__, bare.__context__) == (caught.value, None, None)


def test_keys_name_pairs_or_nothing() -> None:
    assert pairs_in([b"BTC-USD", None, b"\xff", b"btc", b"BTC-USD", b"A" * 21 + b"-B"]) == [
        *("BTC-USD", None, None, None, "BTC-USD", None)
    ]


def test_sizes_and_the_trade_are_exact_and_optional() -> None:
    tick = read(
        best_bid_size="0.46688654", best_ask_size="1.56637040", price="3120.2", last_size="2", side="buy"
    )
    assert (str(tick.bid_size), str(tick.ask_size)) == ("0.46688654", "1.56637040")
    assert tick.trade == Trade(Decimal("3120.2"), Decimal(2), is_buy=True)
    assert (read().trade, read().bid_size, read().ask_size) == (None, None, None)
    for nothing in (None, ""):
        tick = read(
            best_bid_size=nothing, best_ask_size=nothing, price=nothing, last_size=nothing, side=nothing
        )
        assert tick == read()


def test_a_size_of_zero_is_a_size_but_no_trade() -> None:
    assert read(best_bid_size="0.00").bid_size == 0
    assert read(price="0").trade is read(price="0", last_size="1").trade is None
    assert read(price="1", last_size="0.0").trade is None


def test_a_quote_from_a_book_has_no_trade_whatever_its_fields() -> None:
    fields = {"price": "3120.2", "last_size": "2", "side": "buy"}
    assert read(**fields).trade is not None
    assert read(type="quote", **fields).trade is None


def test_a_trade_without_its_side_is_not_bought() -> None:
    trade = read(price="3120.2", last_size="2").trade
    assert trade is not None
    assert not trade.is_buy


def test_a_quote_has_no_trade_and_unknown_fields_pass() -> None:
    tick = read(type="quote", trade_id=..., something={"new": [1, 2]})
    assert (tick.kind, tick.trade_id) == ("quote", None)
    assert read(trade_id=None).trade_id is None


@given(st.text())
def test_only_upper_case_base_and_quote_are_a_pair(text: str) -> None:
    base, dash, quote = text.partition("-")
    plain = all(part and part.isascii() and part.isalnum() and part.upper() == part for part in (base, quote))
    assert bool(is_pair(text)) == bool(plain and dash and len(base) <= 20 and len(quote) <= 20)
