"""A batch of messages at its edges: what is decoded at once says the same as each message by itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cryptometrics.market import tick_decoder
from cryptometrics.market.tick_decoder import MAX_VALUE_BYTES, Reason, RejectedError
from cryptometrics.market.ticks import MAX_TRADE_ID
from tests.tables import decode_messages

if TYPE_CHECKING:
    from cryptometrics.market.table import TickTable

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
GOOD: dict[str, Any] = {
    "type": "ticker", "product_id": "A-C", "best_bid": "1.5", "best_ask": "1.75",
    "time": "2026-07-01T11:59:58.061769Z", "trade_id": 7,
    "best_bid_size": "3", "best_ask_size": "4.5", "price": "1.6", "last_size": "2", "side": "buy",
}  # fmt: skip
Record = tuple[bytes | None, bytes | None]


def record(**changes: Any) -> Record:
    return b"A-C", json.dumps({k: v for k, v in (GOOD | changes).items() if v is not ...}).encode()


USUAL = record(best_bid="0.1", best_ask="3")
EDGES: list[Record] = [
    *(record(time=f"2009-01-01T00:00:00.00000{last}Z") for last in (0, 1)),
    record(time="2008-12-31T23:59:59.999999Z"),
    *(record(time=f"2026-07-02T12:00:00.00000{last}Z") for last in (0, 1)),
    *(record(time=f"2026-07-02T11:59:59.99999{last}Z") for last in (8, 9)),
    *(record(trade_id=number) for number in (..., None, 0, -1, MAX_TRADE_ID, MAX_TRADE_ID + 1, 1.5)),
    *(record(product_id="X-Y"), (b"X-Y", record()[1]), (None, record()[1]), (b"A-C", None), (b"\xff", b"{")),
    *(record(venue=venue) for venue in ("simulated", "", "A", "a" * 33, None)),
    *(record(type=kind) for kind in ("quote", "gap", None)),
    *(record(side=side) for side in ("sell", "", None, ..., "BUY")),
    *(record(price=price) for price in ("", "0", "0.0", None, ..., "x", "0.1")),
    *(record(last_size=size) for size in ("", "0", "0.0", None, ..., "x", "0.1", "9" * 20)),
    *(record(best_bid_size=size) for size in ("", "0", None, ..., "x", "9" * 19, "9" * 18)),
    *(record(best_ask_size=size) for size in ("", "0", None, ..., "x", "9" * 19, "9" * 18)),
    *(record(best_bid=bid) for bid in ("0", "1.75", "1.750", "1.76", "1.751", "1.7499", "2", "1", "1e0", "")),
    *(record(best_ask=ask) for ask in ("0", "1.5", "1.50", "1.49", "1.499", "1.501", "1", "2", "9" * 20)),
    # Prices with so different places that they do not fit into 64 bits if they are padded.
    record(best_bid="0.0000000000000001", best_ask="9" * 18),
    record(best_bid="9" * 18, best_ask="0.0000000000000001"),
    record(best_bid="922337203685477581", best_ask="0.1"),  # padded, it would be below 0
    record(best_bid="99", best_ask="99.000000000000001"),
    record(best_bid="99.000000000000001", best_ask="99"),
    record(best_bid="900719925474099.3", best_ask="900719925474099.29"),
    record(best_bid="900719925474099.31", best_ask="900719925474099.3"),
    record(best_bid="10", best_ask="10." + "0" * 15),
    record(best_bid="100", best_ask="9.0000000000000001"),
    record(best_bid="100", best_ask="100." + "0" * 14),
    record(best_bid="101", best_ask="100." + "0" * 14),
    record(best_bid="1" * 19, best_ask="1" * 19 + ".5"),
    (b"A-C", (record()[1] or b"").ljust(MAX_VALUE_BYTES)),
    (b"A-C", (record()[1] or b"").ljust(MAX_VALUE_BYTES + 1)),
]


def said(table: TickTable, rejected: dict[int, RejectedError]) -> dict[int, object]:
    """Return what came of each message, as the single decoder would say it."""
    found: dict[int, object] = {n: (each.reason, each.detail) for n, each in rejected.items()}
    return found | {int(at): str(table.tick(row)) for row, at in enumerate(table.message)}


def expected(records: list[Record]) -> dict[int, object]:
    found: dict[int, object] = {}
    for number, each in enumerate(records):
        try:
            found[number] = str(tick_decoder.decode(*each, NOW))
        except RejectedError as error:
            found[number] = error.reason, error.detail
    return found


@pytest.mark.parametrize("place", range(len(EDGES)))
def test_a_message_in_a_batch_says_what_it_says_by_itself(place: int) -> None:
    edge = EDGES[place]
    for records in ([edge], [edge, USUAL], [USUAL, edge, USUAL]):
        assert said(*decode_messages(records, NOW)) == expected(records)


def test_a_batch_of_all_edges_keeps_their_order() -> None:
    table, rejected = decode_messages(EDGES, NOW)
    assert said(table, rejected) == expected(EDGES)
    assert table.message.tolist() == sorted(set(range(len(EDGES))) - set(rejected))
    assert table.offset.tolist() == table.message.tolist()
    assert not table.late.any()
    assert not table.duplicate.any()
    assert all(each.__traceback__ is None for each in rejected.values())


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2500])
def test_batches_of_any_size_are_read_to_their_end(count: int) -> None:
    """They are read in blocks of a thousand; what is wrong in one says nothing about the others."""
    records = [record(trade_id=number) for number in range(count)]
    wrong = [number for number in (0, 998, 999, 1000, 1001, 2499) if number < count]
    for number in wrong:
        records[number] = record(trade_id=number, venue="") if number % 2 else (b"A-C", b"{")
    table, rejected = decode_messages(records, NOW)
    assert sorted(rejected) == wrong
    assert table.trade_id.tolist() == [number for number in range(count) if number not in wrong]
    assert table.offset.tolist() == table.trade_id.tolist()


def columns(table: TickTable) -> dict[str, tuple[int, int]]:
    """Return the digits and places of the numbers of the first tick."""
    names = ("bid", "ask", "bid_size", "ask_size", "trade_price", "trade_size")
    return {n: (int(getattr(table, n)[0]), int(getattr(table, f"{n}_places")[0])) for n in names}


NUMBERS = {
    "bid": (15, 1), "ask": (175, 2), "bid_size": (3, 0), "ask_size": (45, 1), "trade_price": (16, 1),
    "trade_size": (2, 0),
}  # fmt: skip


# The second one is decoded by itself, because of the form of its time.
@pytest.mark.parametrize("time", [GOOD["time"], "2026-07-01T11:59:58.0617690+00:00"])
def test_a_message_decoded_by_itself_fills_its_row_as_one_of_many(time: str) -> None:
    (table, _) = decode_messages([record(time=time)], NOW)
    assert columns(table) == NUMBERS
    assert (table.is_wide.tolist(), table.is_buy.tolist(), table.trade_id.tolist()) == ([False], [True], [7])
    assert (table.pair, table.venue, table.kind) == (["A-C"], ["coinbase"], ["ticker"])
    assert table.time.tolist() == [1_782_907_198_061_769]
    texts = (table.bid_text, table.ask_text, table.bid_size_text, table.ask_size_text)
    assert texts == (["1.5"], ["1.75"], ["3"], ["4.5"])
    assert (table.trade_price_text, table.trade_size_text) == (["1.6"], ["2"])
    (table, _) = decode_messages([record(time=time, type="quote", trade_id=...)], NOW)
    assert columns(table) == NUMBERS | {"trade_size": (0, 0)}
    assert table.trade_id.tolist() == [-1]
    for nothing in (..., ""):
        absent = dict.fromkeys(("best_bid_size", "best_ask_size", "price", "last_size", "side"), nothing)
        (table, _) = decode_messages([record(time=time, **absent)], NOW)
        assert [columns(table)[name][0] for name in ("bid_size", "ask_size", "trade_size")] == [-1, -1, 0]
        assert table.is_buy.tolist() == [False]


@pytest.mark.parametrize(
    "name", ["best_bid", "best_ask", "best_bid_size", "best_ask_size", "price", "last_size"]
)
def test_a_number_of_too_many_digits_makes_its_tick_wide_and_stays_right(name: str) -> None:
    number = "1.0000000000000000001"[:20]
    table, _ = decode_messages([record(**{"best_bid": "0.5", "best_ask": "2", name: number}), USUAL], NOW)
    assert table.is_wide.tolist() == [True, False]
    assert str(Decimal(number)) in str(table.tick(0))
    tick = table.tick(0)
    assert tick.trade is not None
    assert None not in (tick.bid_size, tick.ask_size)


def test_equal_names_are_one_object_for_the_whole_batch() -> None:
    table, _ = decode_messages([record(venue="simulated")] * 3, NOW)
    assert len({id(venue) for venue in table.venue}) == 1
    table, _ = decode_messages([record(venue="simulated"), record(), record(venue="x")], NOW)
    assert table.venue == ["simulated", "coinbase", "x"]


def test_the_reason_against_a_message_is_the_first_one() -> None:
    _, rejected = decode_messages([record(best_bid="2", venue="X"), record(best_bid="2")], NOW)
    assert {number: each.reason for number, each in rejected.items()} == {
        0: Reason.BAD_VENUE,
        1: Reason.CROSSED_QUOTE,
    }
    assert np.flatnonzero([each.__context__ is not None for each in rejected.values()]).tolist() == []
