"""From frames to messages: whatever comes, it is used or counted; nothing is raised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.feeds.coinbase.exchange.feed import ExchangeFeed
from cryptometrics.market.gap_records import GapKind
from cryptometrics.telemetry import ingest_metrics
from cryptometrics.times import from_seconds, iso

T0 = 1_800_000_000.0
TIME = "2027-01-15T08:00:00.000000Z"
TICKER: dict[str, Any] = {
    "type": "ticker", "sequence": 5, "product_id": "BTC-USD", "price": "100.5", "best_bid": "100",
    "best_ask": "101", "time": TIME, "trade_id": 7, "last_size": "1",
}  # fmt: skip


def raw(frame: Any, **changes: Any) -> bytes:
    return json.dumps(frame | changes if changes else frame).encode()


def bodies(messages: list[Any]) -> list[dict[str, Any]]:
    return [json.loads(value) for _, value in messages]


def test_a_ticker_goes_on_as_it_came_behind_its_start() -> None:
    feed = ExchangeFeed(["BTC-USD"])
    frame = b' {"x": [1, {"y": null}], ' + raw(TICKER)[1:]
    messages = feed.take(frame, T0)
    start, (key, value) = bodies(messages[:1])[0], messages[1]
    assert (start["kind"], start["last_trade_id"], start["proves"]) == ("start", 6, True)
    assert (key, value) == (b"BTC-USD", frame)
    assert feed.take(raw(TICKER, trade_id=8), T0) == [(b"BTC-USD", raw(TICKER, trade_id=8))]


def test_a_duplicate_ticker_is_sent_as_its_metric_and_the_docs_say() -> None:
    feed = ExchangeFeed(["BTC-USD"])
    published = [message for _ in range(2) for message in feed.take(raw(TICKER), T0)]
    assert [value for _, value in published].count(raw(TICKER)) == 2
    assert feed.pairs["BTC-USD"].quality.duplicates == 1
    texts = {family.name: family.documentation for family in ingest_metrics.IngestMetrics().collect()}
    text = texts["cryptometrics_ingest_duplicate_ticks"]
    assert text == "Ticks that the exchange sent again; `ingest` passes them on and `process` drops them."
    docs = Path(__file__).parents[3].joinpath("docs", "operations.md").read_text(encoding="utf-8")
    assert f"`cryptometrics_ingest_duplicate_ticks_total` | counter | t{text[1:-1]} |" in docs


def test_tickers_that_no_one_would_accept_are_left_to_process() -> None:
    feed = ExchangeFeed(["BTC-USD"])
    odd = [
        raw({"type": "ticker", "product_id": "BTC-USD", "price": "0", "best_bid": "0", "best_ask": "0"}),
        raw(TICKER, trade_id="7"),
        raw(TICKER, best_bid=1.5),
        raw(TICKER, time=None),
        raw(TICKER, trade_id=2**63),
    ]
    for frame in odd:
        assert feed.take(frame, T0)[-1] == (b"BTC-USD", frame)
    assert not feed.ignored


HOSTILE = [
    *(b"", b"{", b"\xff\xfe", b"null", b"[]", b'"ticker"', b"[" * 100_000, b'{"type":' * 10_000, b"{}"),
    *(b'{"type":1}', b'{"type":"ticker"}', b'{"type":"heartbeat","product_id":[]}'),
    b'{"type":"match","product_id":"BTC-USD"}',
    b'{"type":"match","product_id":"BTC-USD","trade_id":-5}',
    b'{"type":"l2update","product_id":"BTC-USD"}',
    b'{"type":"snapshot","product_id":"BTC-USD","bids":[["a","b"]]}',
    b'{"type":"snapshot","product_id":"BTC-USD","bids":{"a":1}}',
    raw(TICKER, product_id="XRP-USD"),
    raw(TICKER, product_id="../../x"),
    raw(TICKER, x="x" * 70_000),
]


@pytest.mark.parametrize("book", [False, True])
@given(frames=st.lists(st.binary(max_size=30) | st.sampled_from(HOSTILE)))
def test_nothing_that_is_wrong_goes_on_or_raises(book: bool, frames: list[bytes]) -> None:
    feed = ExchangeFeed(["BTC-USD"], book=book)
    feed.take(raw(TICKER), T0)
    for frame in frames:
        assert feed.take(frame, T0) == []
    assert feed.frames == 1 + len(frames)
    assert list(feed.pairs) == ["BTC-USD"]


def test_unknown_types_and_refusals_are_counted_and_kept() -> None:
    feed = ExchangeFeed(["BTC-USD"])
    feed.take(b'{"type":"rfq_match","product_id":"BTC-USD","new":{}}', T0)
    all_three: list[dict[str, Any]] = [
        {"name": name, "product_ids": ["B-USD", "BTC-USD"]} for name in ("matches", "ticker")
    ]
    feed.take(raw({"type": "subscriptions", "channels": all_three}), T0)
    assert feed.subscribed == set()
    all_three.append({"name": "heartbeat", "product_ids": ["BTC-USD"], "more": 1})
    feed.take(raw({"type": "subscriptions", "channels": all_three}), T0)
    assert feed.subscribed == {"BTC-USD"}
    feed.take(b'{"type":"error","message":"Failed to subscribe","reason":"X-USD is not a valid product"}', T0)
    feed.take(b'{"type":"error","message":5}', T0)
    assert dict(feed.ignored) == {"unknown type": 1}
    assert str(feed.refusals[0]) == "Failed to subscribe: X-USD is not a valid product"
    assert '"message":5' in str(feed.refusals[1])
    status = b'{"type":"status","products":[{"id":"A-USD","x":1},{"id":"B-USD"}]}'
    assert feed.products_in(status) == ["A-USD", "B-USD"]
    assert feed.products_in(b"{") == []


def snapshot(bid: str, ask: str, **more: Any) -> bytes:
    return raw(
        {"type": "snapshot", "product_id": "BTC-USD", "bids": [[bid, "1"]], "asks": [[ask, "2"]]} | more
    )


def update(*changes: list[str], time: str = TIME) -> bytes:
    return raw({"type": "l2update", "product_id": "BTC-USD", "time": time, "changes": changes})


def test_quotes_come_when_the_best_bid_or_ask_changes() -> None:
    feed = ExchangeFeed(["BTC-USD"], book=True)
    assert feed.take(update(["buy", "1", "1"]), T0) == []
    start, quote = bodies(feed.take(snapshot("100", "102"), T0 + 0.5))
    assert (start["type"], start["proves"]) == ("gap", False)
    assert quote == {
        "type": "quote", "product_id": "BTC-USD", "best_bid": "100", "best_bid_size": "1", "best_ask": "102",
        "best_ask_size": "2", "time": "2027-01-15T08:00:00.500000Z",
    }  # fmt: skip
    assert feed.take(update(["buy", "99", "5"], ["sell", "103", "0"]), T0) == []  # below the best
    assert feed.take(update(["buy", "100", "7"]), T0) == []  # a size is no quote
    (quote,) = bodies(feed.take(update(["buy", "101", "1"], ["buy", "101.50", "3"]), T0))
    assert (quote["best_bid"], quote["best_bid_size"], quote["time"]) == ("101.50", "3", TIME)
    assert feed.take(update(["sell", "102", "0"]), T0) == []  # one side alone is no quote
    (quote,) = bodies(feed.take(update(["sell", "101.5", "1"]), T0))
    assert quote["best_ask"] == "101.5"
    (quote,) = bodies(feed.take(update(["sell", "101.40", "1"]), T0))
    quality = feed.pairs["BTC-USD"].quality
    assert (quality.ticks, quality.locked, quality.crossed) == (4, 1, 1)
    assert feed.take(raw(TICKER), T0) == []  # two kinds of quotes would mix
    assert bodies(feed.take(snapshot("101.50", "101.60"), T0))[0]["best_ask"] == "101.60"
    assert dict(feed.ignored) == {"update without snapshot": 1}


def test_after_a_loss_the_book_is_made_anew() -> None:
    feed = ExchangeFeed(["BTC-USD"], book=True)
    feed.take(snapshot("100", "102"), T0)
    assert feed.lost(["BTC-USD"], GapKind.DOWN, T0 + 1) == []
    assert feed.take(update(["buy", "101", "1"]), T0 + 2) == []
    gap, quote = bodies(feed.take(snapshot("100", "102"), T0 + 3))
    assert (gap["kind"], quote["type"]) == ("down", "quote")


def test_a_book_that_is_lost_while_the_socket_lives_is_told() -> None:
    feed = ExchangeFeed(["BTC-USD", "ETH-USD"], book=True)
    beat = {"type": "heartbeat", "product_id": "BTC-USD", "last_trade_id": 7, "time": TIME}
    feed.take(snapshot("100", "102"), T0)
    feed.take(raw(beat), T0)
    for second in range(1, 20):
        feed.take(raw(beat, product_id="ETH-USD"), T0 + second)
    assert not feed.bookless  # what sends nothing, no new subscription brings back
    assert feed.take(update(["buy", "101", "1"]), T0 + 20) == []
    assert feed.bookless == {"BTC-USD"}
    feed.lost(["BTC-USD"], GapKind.DOWN, T0 + 21)
    gap, quote = bodies(feed.take(snapshot("100", "102"), T0 + 22))
    assert (gap["kind"], quote["type"]) == ("silence", "quote")
    assert not feed.bookless
    for bad in ({"bids": [["a", "b"]]}, {"bids": {"a": 1}}):  # a frame that is none names no pair
        feed.lost(["BTC-USD"], GapKind.DOWN, T0 + 23)
        feed.take(snapshot("100", "102", **bad), T0 + 24)
        feed.take(update(["buy", "101", "1"]), T0 + 25)
        assert feed.bookless == {"BTC-USD"}
        feed.take(snapshot("100", "102"), T0 + 26)
        assert not feed.bookless


def test_an_invalid_time_does_not_get_onto_the_topic() -> None:
    feed = ExchangeFeed(["BTC-USD"], book=True)
    feed.take(snapshot("100", "102", time='"},{'), T0)
    (quote,) = bodies(feed.take(update(["buy", "101", "1"], time='x","y":"z'), T0))
    assert (quote["best_bid"], quote["time"]) == ("101", stamp(T0))


def test_silence_in_a_recording_is_a_gap_too() -> None:
    feed = ExchangeFeed(None)
    feed.take(raw(TICKER), T0)
    beat = {"type": "heartbeat", "product_id": "BTC-USD", "last_trade_id": 7, "time": TIME}
    feed.take(raw(beat), T0 + 1)
    assert feed.take(raw(beat, last_trade_id=20), T0 + 60) == []
    gap, _ = bodies(feed.take(raw(TICKER, trade_id=21), T0 + 61))
    assert (gap["kind"], gap["first_trade_id"], gap["last_trade_id"]) == ("silence", 8, 20)


@pytest.mark.parametrize(
    "unreadable",
    [
        update(["buy", "1e-40", "1"]),
        update(["hold", "101", "1"]),
        raw({"type": "l2update", "product_id": "BTC-USD", "changes": [["buy", 101, 1]]}),
        b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","101"',
        b'{"type":"l2update","changes":[["buy","101"',
    ],
)
def test_an_update_that_cannot_be_read_ends_the_book_and_is_a_gap(unreadable: bytes) -> None:
    feed = ExchangeFeed(["BTC-USD"], book=True)
    feed.take(snapshot("100", "102"), T0)
    assert feed.take(unreadable, T0 + 1) == []
    assert feed.bookless == {"BTC-USD"}
    assert feed.take(update(["buy", "101", "1"]), T0 + 2) == []  # the old book is not used any more
    gap, quote = bodies(feed.take(snapshot("99", "103"), T0 + 3))
    assert (gap["kind"], gap["begins"], gap["time"]) == ("unreadable", stamp(T0 + 1), stamp(T0 + 3))
    assert quote["best_bid"] == "99"


def test_an_unreadable_book_is_a_gap_up_to_the_end() -> None:
    feed = ExchangeFeed(["BTC-USD"], book=True)
    feed.take(snapshot("100", "102"), T0)
    feed.take(update(["buy", "1e-40", "1"]), T0 + 1)
    gap, end = bodies(feed.end(T0 + 5))
    assert (end["kind"], end["time"]) == ("end", stamp(T0))
    assert (gap["kind"], gap["begins"], gap["time"]) == ("unreadable", stamp(T0 + 1), stamp(T0 + 5))


def test_frames_that_are_not_about_books_do_not_end_them() -> None:
    feed = ExchangeFeed(["BTC-USD"], book=True)
    feed.take(snapshot("100", "102"), T0)
    for frame in (b"[]", b"{", b'{"type":5}', raw({"type": "heartbeat", "product_id": 5})):
        assert feed.take(frame, T0 + 1) == []
    assert bodies(feed.take(update(["buy", "101", "1"]), T0 + 2))[0]["best_bid"] == "101"


def stamp(at: float) -> str:
    return iso(from_seconds(at), timespec="microseconds")
