"""The fake exchange follows Coinbase's protocol, so that tests against it are valid."""

from __future__ import annotations

import itertools
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.fakes.coinbase import SUBSCRIBE_S, FakeCoinbase, Faults
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.sync.client import ClientConnection

LIMIT_S = 20.0
CAPTURES = sorted(Path(__file__).parents[3].joinpath("shared", "captures").glob("*.jsonl"))


def listen(server: FakeCoinbase) -> ClientConnection:
    return connect(server.url, close_timeout=0.2)  # what is unread would keep it open


def ask(
    client: ClientConnection, channels: list[Any], *products: str, kind: str = "subscribe"
) -> dict[str, Any]:
    client.send(json.dumps({"type": kind, "product_ids": products, "channels": channels}))
    return read(client, lambda frame: frame["type"] in {"subscriptions", "error"})[-1]


def read(client: ClientConnection, until: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """Return the frames up to the first one that is wanted."""
    found: list[dict[str, Any]] = []
    while not found or not until(found[-1]):
        found.append(json.loads(client.recv(LIMIT_S)))
    return found


def test_who_does_not_subscribe_is_disconnected() -> None:
    with FakeCoinbase() as server, listen(server) as client:
        started = time.monotonic()
        with pytest.raises(ConnectionClosed):
            client.recv(LIMIT_S)
        assert time.monotonic() - started > SUBSCRIBE_S - 1


def test_subscriptions_add_up_and_aliases_are_known() -> None:
    with FakeCoinbase(("A-USD", "B-USD", "C-USD")) as server, listen(server) as client:
        first = ask(client, ["ticker", {"name": "heartbeat", "product_ids": ["C-USD"]}], "A-USD", "B-USD")
        assert {c["name"]: sorted(c["product_ids"]) for c in first["channels"]} == {
            "ticker": ["A-USD", "B-USD"], "heartbeat": ["A-USD", "B-USD", "C-USD"]
        }  # fmt: skip
        second = ask(client, ["ticker_1000", "level2_50"], "A-USD")
        names = {channel["name"] for channel in second["channels"]}
        assert names == {"ticker", "heartbeat", "ticker_batch", "level2_batch"}
        third = ask(client, ["heartbeat"], kind="unsubscribe")
        assert {channel["name"] for channel in third["channels"]} == names - {"heartbeat"}
        assert ask(client, ["status"])["type"] == "subscriptions"
        status = read(client, lambda frame: frame["type"] == "status")[-1]
        assert [product["id"] for product in status["products"]] == ["A-USD", "B-USD", "C-USD"]
        batch = read(client, lambda frame: frame["type"] == "ticker")
        assert batch


@pytest.mark.parametrize(
    ("channels", "products", "reason"),
    [
        (["level2"], ["BTC-USD"], "now require authentication"),
        (["full"], ["BTC-USD"], "now require authentication"),
        (["ticker"], ["NO-USD"], "NO-USD is not a valid product"),
        (["heartbeat"], [], "You need to specify at least one product ID for channel heartbeat"),
        (["news"], ["BTC-USD"], "news is not a valid channel"),
    ],
)
def test_refusals_say_why(channels: list[str], products: list[str], reason: str) -> None:
    with FakeCoinbase() as server, listen(server) as client:
        answer = ask(client, channels, *products)
        assert (answer["type"], answer["message"]) == ("error", "Failed to subscribe")
        assert reason in answer["reason"]


def test_trades_are_numbered_one_by_one_and_sequences_jump() -> None:
    with FakeCoinbase(("A-USD",), rate=300, skew_s=3600) as server, listen(server) as client:
        ask(client, ["matches", "ticker"], "A-USD")
        frames = read(client, lambda frame: frame.get("trade_id", 0) >= 1100)
    matches = [frame for frame in frames if frame["type"] == "match"]
    tickers = {frame["trade_id"]: frame for frame in frames if frame["type"] == "ticker"}
    numbers = [match["trade_id"] for match in matches]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    sequences = [match["sequence"] for match in matches]
    assert all(late - early > 1 for early, late in itertools.pairwise(sequences))
    for match in matches[:-1]:
        ticker = tickers[match["trade_id"]]
        assert (ticker["sequence"], ticker["price"]) == (match["sequence"], match["price"])
        assert ticker["side"] != match["side"]
    ahead = datetime.fromisoformat(matches[-1]["time"]) - datetime.now(UTC)
    assert abs(ahead - timedelta(hours=1)) < timedelta(minutes=1)


def test_heartbeats_tell_the_truth_when_all_else_is_dropped() -> None:
    faults = Faults(drop=1.0)
    with FakeCoinbase(("A-USD",), rate=300, faults=faults, heartbeat_s=0.05) as server:
        with listen(server) as client:
            ask(client, ["matches", "ticker", "heartbeat"], "A-USD")
            frames = read(client, lambda frame: frame.get("last_trade_id", 0) > 1050)
        assert {frame["type"] for frame in frames} == {"heartbeat"}
        # The next one begins with the last trade, however old it is.
        with listen(server) as client:
            ask(client, ["matches", "ticker"], "A-USD")
            first = read(client, lambda frame: frame["type"] == "ticker")
        assert [frame["type"] for frame in first] == ["last_match", "ticker"]
        assert first[0]["trade_id"] == first[1]["trade_id"]


def test_a_product_that_was_never_traded_has_a_ticker_of_zeros() -> None:
    with FakeCoinbase(("A-USD", "B-USD"), never_traded=["B-USD"]) as server, listen(server) as client:
        ask(client, ["ticker"], "B-USD")
        (ticker,) = read(client, lambda frame: frame["type"] == "ticker")
        assert "time" not in ticker
        assert "trade_id" not in ticker
        assert float(ticker["best_bid"]) == 0


def test_the_book_follows_from_its_updates() -> None:
    with FakeCoinbase(("A-USD",), rate=500) as server:
        with listen(server) as client:
            ask(client, ["level2_batch"], "A-USD")
            frames = read(client, lambda frame: len(server.products["A-USD"].account.quotes) > 30)
        quotes = list(server.products["A-USD"].account.quotes)
    book: dict[str, dict[str, str]] = {}
    assert frames[0]["type"] == "snapshot"
    book["buy"], book["sell"] = dict(frames[0]["bids"]), dict(frames[0]["asks"])
    unknown = 0
    for frame, (bid, ask_) in zip(frames[1:], quotes[1:], strict=False):
        for side, price, size in frame["changes"]:
            if float(size):
                book[side][price] = size
            else:
                unknown += book[side].pop(price, None) is None
        assert (max(map(float, book["buy"])), min(map(float, book["sell"]))) == (bid / 100, ask_ / 100)
    assert unknown > 0


def test_who_reads_too_slowly_is_disconnected() -> None:
    with FakeCoinbase(("A-USD",), rate=20_000, slow=2_000) as server, listen(server) as client:
        ask(client, ["matches", "ticker"], "A-USD")
        wait_until(lambda: not server.clients(), "the client is disconnected")


def test_the_same_seed_gives_the_same_market() -> None:
    made = []
    for _ in range(2):
        with FakeCoinbase(seed=7, trades=50, rate=1000) as server, listen(server) as client:
            ask(client, ["ticker"], "BTC-USD")
            assert server.done.wait(LIMIT_S)
            tickers = server.products["BTC-USD"].account.made
            made.append([(number, each["price"], each["last_size"]) for number, each in tickers.items()])
    assert made[0] == made[1]


@pytest.mark.skipif(not CAPTURES, reason="no ../shared/captures/*.jsonl beside the repository")
def test_it_serves_a_capture() -> None:
    products = ("BAND-GBP", "YFI-BTC", "CRV-EUR", "NMR-EUR", "SKL-USD")
    with FakeCoinbase(products, recording=CAPTURES[0]) as server, listen(server) as client:
        ask(client, ["ticker"], *products)
        lines = CAPTURES[0].read_text().splitlines()
        expected = [json.loads(line)["frame"] for line in lines]
        expected = [frame for frame in expected if frame["type"] != "subscriptions"]
        assert [json.loads(client.recv(LIMIT_S)) for _ in expected] == expected
