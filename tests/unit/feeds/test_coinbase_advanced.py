"""Advanced Trade: its counter finds each gap, and whatever comes is used or counted; nothing is raised."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.feeds.coinbase.advanced.feed import AdvancedFeed
from cryptometrics.market.gap_records import GapKind
from cryptometrics.market.tick_decoder import decode

T0 = 1_800_000_000.0
NOW = datetime(2027, 1, 15, 9, tzinfo=UTC)
TIME = "2027-01-15T08:00:00.167359596Z"
BTC, ETH = "BTC-USD", "ETH-USD"


def raw(channel: str, events: list[Any], number: object = 0, **more: Any) -> bytes:
    envelope = {"channel": channel, "client_id": "", "timestamp": TIME, "sequence_num": number}
    return json.dumps(envelope | {"events": events} | more).encode()


def ticker(number: object = 0, pair: str = BTC, **changes: Any) -> bytes:
    quote = {
        "type": "ticker", "product_id": pair, "price": "100.5", "volume_24_h": "1", "best_bid": "100",
        "best_bid_quantity": "8000.21", "best_ask": "101", "best_ask_quantity": "7",
    }  # fmt: skip
    return raw("ticker", [{"type": "update", "tickers": [quote | changes]}], number)


def heartbeat(number: int, counter: object = "3049") -> bytes:
    return raw("heartbeats", [{"current_time": "2023-06-23 20:31:56", "heartbeat_counter": counter}], number)


def acknowledged(number: int, *pairs: str, channel: str = "ticker") -> bytes:
    return raw("subscriptions", [{"subscriptions": {channel: pairs, "heartbeats": ["heartbeats"]}}], number)


def book(number: int, kind: str, *levels: tuple[str, str, str], pair: str = BTC) -> bytes:
    updates = [
        {"side": side, "event_time": TIME, "price_level": price, "new_quantity": size}
        for side, price, size in levels
    ]
    return raw("l2_data", [{"type": kind, "product_id": pair, "updates": updates}], number)


def snapshot(number: int, pair: str = BTC) -> bytes:
    return book(number, "snapshot", ("bid", "100", "1"), ("offer", "102", "2"), pair=pair)


def bodies(messages: list[Any]) -> list[dict[str, Any]]:
    return [json.loads(value) for _, value in messages]


def kinds(messages: list[Any]) -> list[str]:
    return [body["kind"] if body["type"] == "gap" else body["type"] for body in bodies(messages)]


def test_a_ticker_becomes_a_message_of_the_topic() -> None:
    feed = AdvancedFeed([BTC])
    start, (key, value) = feed.take(ticker(best_bid="1e2"), T0)
    assert (kinds([start]), key) == (["start"], b"BTC-USD")
    assert json.loads(value or b"") == {
        "type": "ticker", "product_id": BTC, "price": "100.5", "best_bid": "100",
        "best_bid_size": "8000.21", "best_ask": "101", "best_ask_size": "7", "time": TIME,
        "venue": "coinbase-advanced",
    }  # fmt: skip
    tick = decode(key, value, NOW)
    assert (tick.bid, tick.trade_id, tick.time.microsecond) == (Decimal(100), None, 167359)


@pytest.mark.parametrize("bad", [{"best_bid": 100}, {"best_bid": "1e-40"}, {"best_ask": None}])
def test_a_ticker_that_no_one_would_accept_is_left_to_process(bad: dict[str, Any]) -> None:
    feed = AdvancedFeed([BTC])
    (message,) = bodies(feed.take(ticker(**bad), T0)[1:])
    assert {name: message[name] for name in bad} == bad
    assert not feed.ignored


def test_counters_may_be_text_and_fields_may_be_absent() -> None:
    feed = AdvancedFeed([BTC])
    first = json.loads(ticker("0"))
    del first["client_id"]
    assert kinds(feed.take(json.dumps(first).encode(), T0)) == ["start", "ticker"]
    assert feed.take(heartbeat(1, 3050), T0) == []
    without_sizes = (
        ticker("2").replace(b'"best_bid_quantity"', b'"x"').replace(b'"best_ask_quantity"', b'"y"')
    )
    assert "best_bid_size" not in bodies(feed.take(without_sizes, T0))[0]
    assert not feed.broken
    assert not feed.ignored


@given(st.lists(st.sampled_from([1, 1, 1, 1, 2, 3, 6, 0, -4]), max_size=40))
def test_each_step_other_than_one_is_a_gap_of_every_pair(steps: list[int]) -> None:
    feed = AdvancedFeed([BTC, ETH])
    number, at, expected = 1, T0, 0
    feed.take(ticker(0), at)
    feed.take(ticker(1, ETH), at)
    gaps: dict[str, list[dict[str, Any]]] = {BTC: [], ETH: []}
    for step in steps:
        number, at = max(number + step, 0), at + 1
        found = feed.take(ticker(number), at)
        if not feed.broken:
            assert kinds(found) == ["ticker"]
            continue
        assert found == []  # the frame that shows the gap is not used: the pair is not whole
        expected += 1
        assert feed.broken.pop(0).startswith(f"frame {number} came instead of ")
        feed.lost([BTC, ETH], GapKind.DOWN, at)
        number, begins = 1, at - 1
        for frame, pair in ((ticker(0), BTC), (ticker(1, ETH), ETH)):
            gap, quote = bodies(feed.take(frame, at + 0.5))
            assert (gap["kind"], quote["type"]) == ("missed", "ticker")
            assert (
                datetime.fromisoformat(gap["begins"]).timestamp() == begins
            )  # when the connection was heard
            gaps[pair].append(gap)
        at += 0.5
    assert [len(each) for each in gaps.values()] == [expected, expected]
    assert feed.ignored.total() == expected


def test_connections_are_counted_apart_and_a_gap_is_of_one_of_them() -> None:
    feed = AdvancedFeed([BTC, ETH])
    feed.take(ticker(0), T0, 0)
    feed.take(ticker(7, ETH), T0, 1)
    assert kinds(feed.take(ticker(1), T0, 0) + feed.take(ticker(8, ETH), T0, 1)) == ["ticker", "ticker"]
    feed.take(ticker(10, ETH), T0, 1)
    assert list(feed.broken) == [1]
    feed.lost([ETH], GapKind.DOWN, T0, 1)
    assert kinds(feed.take(ticker(2), T0 + 1, 0)) == ["ticker"]
    assert kinds(feed.take(ticker(0, ETH), T0 + 1, 1)) == ["missed", "ticker"]


def test_control_frames_count_and_a_quiet_pair_is_up_by_heartbeats() -> None:
    feed = AdvancedFeed([BTC, ETH])
    feed.take(acknowledged(0), T0)
    assert feed.subscribed == set()
    feed.take(acknowledged(1, BTC, ETH), T0)
    assert feed.subscribed == {BTC, ETH}
    feed.take(ticker(2), T0)
    feed.take(heartbeat(3), T0 + 1)
    started = feed.take(heartbeat(4), T0 + 4)
    assert [(body["kind"], body["product_id"]) for body in bodies(started)] == [("start", ETH)]
    feed.take(heartbeat(6), T0 + 5)
    assert feed.broken


def test_an_end_says_until_when_the_connection_was_heard() -> None:
    feed = AdvancedFeed([BTC, ETH, "SOL-USD"])
    feed.take(ticker(0), T0)
    feed.take(ticker(1, ETH), T0 + 5)
    ends = bodies(feed.end(T0 + 9))
    assert {end["venue"] for end in ends} == {"coinbase-advanced"}
    assert [(end["product_id"], end["kind"], end["time"]) for end in ends] == [
        (pair, "end", "2027-01-15T08:00:05.000000Z") for pair in (BTC, ETH)
    ]


def test_silence_needs_heartbeats_that_stopped() -> None:
    feed = AdvancedFeed([BTC])
    feed.take(ticker(0), T0)
    feed.take(heartbeat(1), T0 + 1)
    feed.check(T0 + 10)
    assert feed.pairs[BTC].is_up
    feed.check(T0 + 30)
    (gap, _) = bodies(feed.take(ticker(2), T0 + 31))
    assert gap["kind"] == "silence"


def test_quotes_of_the_book_come_when_the_best_bid_or_ask_changes() -> None:
    feed = AdvancedFeed([BTC], book=True)
    start, quote = bodies(feed.take(snapshot(0), T0))
    assert (start["kind"], start["proves"]) == ("start", True)
    assert quote == {
        "type": "quote", "product_id": BTC, "best_bid": "100", "best_bid_size": "1", "best_ask": "102",
        "best_ask_size": "2", "time": TIME, "venue": "coinbase-advanced",
    }  # fmt: skip
    assert feed.take(book(1, "update", ("bid", "99", "1"), ("offer", "103", "0")), T0) == []
    (quote,) = bodies(feed.take(book(2, "update", ("bid", "1.015E2", "3")), T0))
    assert (quote["best_bid"], quote["best_bid_size"]) == ("101.5", "3")
    (quote,) = bodies(feed.take(book(3, "update", ("offer", "102", "0"), ("offer", "101.75", "1")), T0))
    assert quote["best_ask"] == "101.75"
    assert feed.take(ticker(4), T0) == []  # two kinds of quotes would mix


def test_a_gap_drops_the_books_of_the_connection() -> None:
    feed = AdvancedFeed([BTC, ETH], book=True)
    feed.take(snapshot(0), T0)
    feed.take(snapshot(1, ETH), T0)
    feed.take(book(5, "update", ("bid", "101", "1")), T0 + 1)
    feed.lost([BTC, ETH], GapKind.DOWN, T0 + 1)
    feed.take(acknowledged(0, BTC, ETH, channel="level2"), T0 + 2)
    feed.take(heartbeat(1), T0 + 2)
    assert feed.take(heartbeat(2), T0 + 5) == []  # without a snapshot it has no quote
    for number, pair in ((3, BTC), (4, ETH)):
        assert kinds(feed.take(snapshot(number, pair), T0 + 6)) == ["missed", "quote"]


@pytest.mark.parametrize(
    "unreadable",
    [
        book(1, "update", ("bid", "1e-40", "1")),
        book(1, "update", ("hold", "101", "1")),
        book(1, "snapshot", ("hold", "101", "1")),
        book(1, "delta", ("bid", "101", "1")),
        raw("l2_data", [{"type": "update", "product_id": BTC, "updates": [["bid"]]}], 1),
        raw("l2_data", [5], 1),
        raw("l2_data", [{"type": "update", "product_id": BTC, "updates": []}], None),
        book(1, "update", ("bid", "101", "1"))[:-1],
    ],
)
def test_an_update_that_cannot_be_read_ends_the_book_and_is_a_gap(unreadable: bytes) -> None:
    feed = AdvancedFeed([BTC], book=True)
    feed.take(snapshot(0), T0)
    assert feed.take(unreadable, T0 + 1) == []
    assert feed.bookless == {BTC}
    assert kinds(feed.lost([BTC], GapKind.DOWN, T0 + 2)) == ["unreadable"]
    assert kinds(feed.take(snapshot(0), T0 + 3)) == ["down", "quote"]
    assert feed.ignored.total() == 1


@pytest.mark.parametrize(
    ("unreadable", "reason"),
    [
        (raw("ticker", [{"tickers": [{"product_id": 5}]}], 1), "malformed"),
        (ticker(1)[:-1], "malformed"),
        (ticker(None), "no sequence number"),
    ],
)
def test_a_ticker_that_cannot_be_read_is_a_gap_at_that_moment(unreadable: bytes, reason: str) -> None:
    feed = AdvancedFeed([BTC])
    feed.take(ticker(0), T0)
    (gap,) = bodies(feed.take(unreadable, T0 + 1))
    assert (gap["kind"], gap["begins"][:19], gap["time"][:19]) == (
        "unreadable", "2027-01-15T08:00:00", "2027-01-15T08:00:01"
    )  # fmt: skip
    assert dict(feed.ignored) == {reason: 1}
    following = 1 if reason == "no sequence number" else 2
    assert kinds(feed.take(ticker(following), T0 + 2)) == ["ticker"]


def test_frames_that_are_not_understood_are_counted_by_kind_and_refusals_are_kept() -> None:
    feed = AdvancedFeed([BTC])
    feed.take(raw("candles", [{"candles": []}], 0), T0)
    feed.take(raw("news", {}, 1), T0)  # type: ignore[arg-type]
    feed.take(b"{", T0)
    feed.take(b'{"channel":"heartbeats"}', T0)
    feed.take(ticker(2, "XRP-USD"), T0)
    feed.take(b'{"type":"error","message":"X-USD is not a valid product"}', T0)
    assert dict(feed.ignored) == {
        "unknown channel": 2, "malformed": 1, "no sequence number": 1, "not asked for": 1
    }  # fmt: skip
    assert str(feed.refusals[0]) == "X-USD is not a valid product"
    assert kinds(feed.take(ticker(3), T0)) == ["start", "ticker"]


def test_requests_name_one_channel_each() -> None:
    requests = [json.loads(request) for request in AdvancedFeed([BTC], book=True).subscriptions([BTC])]
    assert requests == [
        {"type": "subscribe", "channel": "heartbeats"},
        {"type": "subscribe", "channel": "level2", "product_ids": [BTC]},
    ]
    feed = AdvancedFeed([BTC])
    assert json.loads(feed.products_request())["channel"] == "status"
    assert feed.products_in(raw("status", [{"type": "snapshot", "products": [{"id": BTC, "x": 1}]}])) == [BTC]
    assert feed.products_in(b"{") == feed.products_in(ticker()) == []


HOSTILE = [
    *(b"", b"{", b"\xff\xfe", b"null", b"[]", b'"ticker"', b"[" * 100_000, b'{"events":' * 10_000, b"{}"),
    raw("ticker", [], -1),
    raw("ticker", [], 2**80),
    raw("ticker", [], "9" * 30),
    raw("ticker", [], True),
    raw("subscriptions", [{"subscriptions": {"ticker": ["../../x", 5]}}], 1),
    raw("subscriptions", [{"subscriptions": {"ticker": ["../../x", "DOGE-USD"]}}], 1),
    raw("l2_data", [{"type": "snapshot", "product_id": "../x", "updates": []}], 1),
    ticker(1, "../../x"),
    ticker(1, price="x" * 70_000),
    ticker(1, "DOGE-USD"),
]


@pytest.mark.parametrize("with_book", [False, True])
@given(frames=st.lists(st.binary(max_size=30) | st.sampled_from(HOSTILE)))
def test_nothing_that_is_wrong_goes_on_or_raises(with_book: bool, frames: list[bytes]) -> None:
    feed = AdvancedFeed([BTC], book=with_book)
    for frame in frames:
        assert feed.take(frame, T0) == []
    assert feed.frames == len(frames)
    assert list(feed.pairs) == [BTC]


def test_an_invalid_time_does_not_get_onto_the_topic() -> None:
    feed = AdvancedFeed([BTC])
    frame = ticker().replace(TIME.encode(), b'x\\",\\"y')
    assert bodies(feed.take(frame, T0))[1]["time"] == "2027-01-15T08:00:00.000000Z"


def test_the_time_of_the_envelope_is_shifted() -> None:
    feed = AdvancedFeed([BTC])
    shifted = json.loads(feed.shifted(ticker(), lambda at: at + 60))
    assert shifted["timestamp"] == "2027-01-15T08:01:00.167359Z"
    assert feed.shifted(b"{}", lambda at: at) == b"{}"
