"""Messages read as columns say what the decoder says of each, or nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.times import from_microseconds, iso, to_microseconds
from cryptometrics.verify.message_decoder import InvalidMessageError, QuoteMessage, read
from cryptometrics.verify.message_layout import KINDS, MessageLayout
from cryptometrics.verify.message_table import BLOCK_MESSAGES, MessageReader, MessageTable

if TYPE_CHECKING:
    from cryptometrics.verify.written_numbers import WrittenNumbers

NOW = datetime(2026, 11, 28, tzinfo=UTC)
TICKER: dict[str, Any] = {
    "type": "ticker",
    "sequence": 12,
    "product_id": "BTC-USD",
    "price": "67000.12",
    "open_24h": "1.5",
    "best_bid": "67000.11",
    "best_bid_size": "0.5",
    "best_ask": "67000.13",
    "best_ask_size": "12.00000001",
    "side": "buy",
    "time": "2026-11-27T10:11:12.123456Z",
    "trade_id": 7,
    "last_size": "0.00012",
    "venue": "simulated",
}

number = st.decimals(0, 10**6, places=4).map(lambda price: f"{price:f}")
odd_text = st.sampled_from(
    [
        "",
        "0",
        "1.",
        ".5",
        "1e5",
        "-1",
        "00012.50",
        "9" * 25,
        "1.123456789012345678901",
        "١",
        'a"b',
        "\x00",
        "½",
    ]
)
time = st.integers(1_200_000_000_000_000, 1_800_000_000_000_000).map(
    lambda microseconds: iso(from_microseconds(microseconds))
)
odd_time = st.sampled_from(
    [
        *("2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T23:59:60Z"),
        *("2024-02-29T00:00:00.1Z", "2026-01-01T00:00:00.1234567Z", "2026-01-01T00:00:00+02:00", "now"),
    ]
)
values = {
    "type": st.sampled_from([*KINDS, "gap", "x"]),
    "product_id": st.sampled_from(["BTC-USD", "ETH-USD", "btc-usd", "BTC-USD\x00"]),
    **dict.fromkeys(("best_bid", "best_ask"), number | odd_text),
    **dict.fromkeys(("price", "last_size", "best_bid_size", "best_ask_size"), st.none() | number | odd_text),
    "side": st.sampled_from(["buy", "sell", "", "x", None]),
    "time": time | odd_time,
    "trade_id": st.none() | st.integers(-1, 2**64) | st.just("7") | st.just(1.5),
    "venue": st.sampled_from(["coinbase", "simulated", "X", None]),
    "sequence": st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
}
messages = st.fixed_dictionaries({}, optional=values).map(lambda changed: TICKER | changed)


def decimal(written: WrittenNumbers, row: int) -> Decimal | None:
    """Return a number of a table as the decoder returns it."""
    if not written.is_there[row]:
        return None
    return Decimal(int(written.digits[row])).scaleb(-int(written.decimals[row]))


def quote(table: MessageTable, row: int) -> tuple[Any, ...]:
    """Return the values of a row, in the order of QuoteMessage without the trade."""
    return (
        table.pairs.texts[table.pair[row]].decode(),
        KINDS[table.kind[row]],
        decimal(table.bid, row),
        decimal(table.ask, row),
        int(table.time[row]),
        int(table.trade_id[row]) if table.has_trade_id[row] else None,
        table.venues.texts[table.venue[row]].decode(),
        decimal(table.bid_size, row),
        decimal(table.ask_size, row),
    )


def check(table: MessageTable, row: int, key: bytes, value: bytes) -> None:
    """Compare a row that was read with the decoder."""
    reason = None
    try:
        found = read(key, value, NOW)
    except InvalidMessageError as error:
        reason = error.reason
    if reason is not None:  # what a row is compared with rules these out
        assert reason in {"bad_price", "crossed_quote", "implausible_time"}
        return
    assert isinstance(found, QuoteMessage)
    expected = found._replace(time=to_microseconds(found.time))  # type: ignore[arg-type]
    assert quote(table, row) == expected[:-1]
    price, size = decimal(table.price, row), decimal(table.size, row)
    if found.kind == "ticker" and found.trade is not None:
        assert (price, size, bool(table.taker_bought[row])) == found.trade
    elif found.kind == "ticker":
        assert not (price and size)


@given(st.lists(messages, min_size=1, max_size=8), st.booleans())
def test_what_is_read_as_columns_is_what_the_decoder_reads(
    documents: list[dict[str, Any]], compact: bool
) -> None:
    reader = MessageReader()
    separators = (",", ":") if compact else (", ", ": ")
    sent = [json.dumps(TICKER, separators=separators).encode()]
    sent += [
        json.dumps(document, separators=separators, ensure_ascii=False).encode() for document in documents
    ]
    keys = [b"BTC-USD"] * len(sent)
    table = reader.read(keys, sent)
    assert table.is_read[0]
    for row in range(len(sent)):
        if table.is_read[row]:
            check(table, row, keys[row], sent[row])


@pytest.mark.parametrize("absent", ["trade_id", "venue", "best_bid_size", "side", "price"])
def test_each_layout_is_learnt(absent: str) -> None:
    reader = MessageReader()
    without = {name: value for name, value in TICKER.items() if name != absent}
    sent = [json.dumps(each).encode() for each in (TICKER, without, TICKER, without)]
    for _ in range(2):
        table = reader.read([b"BTC-USD"] * 4, sent)
        assert table.is_read.all()
        for row in range(4):
            check(table, row, b"BTC-USD", sent[row])


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b"not json",
        b'{"type":"ticker"}',
        json.dumps(TICKER).encode()[:-1] + b', "venue": "other"}',
        json.dumps(TICKER | {"sequence": 1.5}).encode(),
        json.dumps(TICKER, indent=1).encode(),
        json.dumps(TICKER | {"best_bid": None}).encode(),
    ],
)
def test_other_messages_have_no_layout(value: bytes) -> None:
    assert MessageLayout.of(value) is None
    table = MessageReader().read([b"BTC-USD", None], [value, None])
    assert not table.is_read.any()


def test_a_message_with_another_key_is_not_read() -> None:
    value = json.dumps(TICKER).encode()
    table = MessageReader().read([b"BTC-USD", b"ETH-USD", None, b"BTC-USD\x00"], [value] * 4)
    assert table.is_read.tolist() == [True, False, False, False]


def test_after_many_messages_without_a_layout_the_next_one_is_still_tried() -> None:
    reader = MessageReader()
    good = json.dumps(TICKER).encode()
    reader.read([b"BTC-USD"], [good])
    table = reader.read([b"x"] * 100 + [b"BTC-USD"], [b"bad"] * 100 + [good])
    assert table.is_read.tolist() == [False] * 100 + [True]


def test_a_layout_is_learnt_after_messages_without_one() -> None:
    """A feed begins with a gap record for each of its pairs."""
    reader = MessageReader()
    start = json.dumps({"type": "gap", "kind": "start", "product_id": "BTC-USD", "time": TICKER["time"]})
    assert not reader.read([b"BTC-USD"] * 50, [start.encode()] * 50).is_read.any()
    assert reader.read([b"BTC-USD"] * 50, [json.dumps(TICKER).encode()] * 50).is_read.all()


def test_a_short_message_with_as_many_marks_is_not_read() -> None:
    """The bytes between two values of a layout may be more than are left of the message."""
    without = dict.fromkeys(("best_bid_size", "best_ask_size", "price", "last_size", "side", "trade_id"))
    good = json.dumps({**{n: v for n, v in TICKER.items() if n != "time"}, **without, "time": TICKER["time"]})
    table = MessageReader().read([b"BTC-USD"] * 2, [good.encode(), b'"' * good.count('"')])
    assert table.is_read.tolist() == [True, False]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return a message in which a few bytes are replaced, added or left out."""
    value = bytearray(json.dumps(TICKER).encode())
    alphabet = st.sampled_from([*b'"\\{}:, \x00\x7f.0aZ', 0xC3, 0xA9])
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(value) - 1))
        value[at : at + draw(st.integers(0, 2))] = draw(st.lists(alphabet, max_size=2))
    return bytes(value)


@given(st.lists(mutated(), min_size=1, max_size=8))
def test_a_message_with_a_few_other_bytes_is_what_the_decoder_reads(sent: list[bytes]) -> None:
    good = json.dumps(TICKER).encode()
    sent = [good, *sent, good]
    table = MessageReader().read([b"BTC-USD"] * len(sent), sent)
    assert table.is_read[0]
    assert table.is_read[-1]
    for row in np.flatnonzero(table.is_read).tolist():
        check(table, row, b"BTC-USD", sent[row])


def test_blocks_and_layouts_do_not_change_the_order() -> None:
    count = BLOCK_MESSAGES + 3
    pairs = [f"P{number % 7}-USD" for number in range(count)]
    sent = [
        json.dumps(TICKER | {"product_id": pair, "trade_id": number if number % 3 else None}).encode()
        for number, pair in enumerate(pairs)
    ]
    sent[5], sent[-2] = b"", b"x" * 100_000
    keys = [pair.encode() for pair in pairs]
    table = MessageReader().read(keys, sent)
    assert np.flatnonzero(~table.is_read).tolist() == [5, count - 2]
    for row in np.flatnonzero(table.is_read).tolist():
        assert table.pairs.texts[table.pair[row]] == keys[row]
        assert table.has_trade_id[row] == (row % 3 > 0)
        assert table.trade_id[row] == (row if row % 3 else 0)
