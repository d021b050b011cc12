"""The fake of Advanced Trade follows its protocol, so that tests against it are valid."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.fakes.advanced import FakeAdvanced
from tests.integration.test_fake_coinbase import listen

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

LIMIT_S = 20.0


def ask(client: ClientConnection, channel: str, *products: str) -> None:
    client.send(json.dumps({"type": "subscribe", "channel": channel, "product_ids": products}))


def read(client: ClientConnection, count: int) -> list[dict[str, Any]]:
    return [json.loads(client.recv(LIMIT_S)) for _ in range(count)]


def numbers(frames: list[dict[str, Any]]) -> list[int]:
    return [int(frame["sequence_num"]) for frame in frames]


def test_all_frames_of_a_connection_are_numbered_from_0() -> None:
    with FakeAdvanced(rate=50) as server, listen(server) as client, listen(server) as other:
        ask(client, "heartbeats")
        ask(client, "level2", "BTC-USD", "ETH-USD")
        ask(other, "ticker", "BTC-USD")
        frames = read(client, 40)
        assert numbers(frames) == list(range(40))
        channels = {frame["channel"] for frame in frames}
        assert channels == {"subscriptions", "heartbeats", "l2_data"}
        assert frames[0]["events"] == [{"subscriptions": {"heartbeats": ["heartbeats"]}}]
        assert {type(frame["sequence_num"]) for frame in frames} == {int, str}
        assert {"client_id" in frame for frame in frames} == {True, False}
        books = [frame["events"][0] for frame in frames if frame["channel"] == "l2_data"]
        assert [book["type"] for book in books[:2]] == ["snapshot", "snapshot"]
        assert {level["side"] for book in books for level in book["updates"]} == {"bid", "offer"}
        tickers = read(other, 5)
        assert numbers(tickers) == list(range(5))
        assert "trade_id" not in tickers[-1]["events"][0]["tickers"][0]


def test_left_out_frames_have_numbers_and_nothing_follows_the_frame_that_shows_it() -> None:
    with FakeAdvanced(rate=200) as server, listen(server) as client:
        ask(client, "ticker", "BTC-USD", "ETH-USD")
        seen = numbers(read(client, 10))
        server.act("leave-out 3")
        while not _has_gap(seen):
            seen += numbers(read(client, 1))
        assert seen[-1] - seen[-2] == 4
        sent = sum(len(product.account.tickers) for product in server.products.values())
        assert sent == seen[-2]  # the acknowledgement is number 0, and the last frame does not count
    with FakeAdvanced(rate=200) as server, listen(server) as client:
        ask(client, "ticker", "BTC-USD", "ETH-USD")
        seen = numbers(read(client, 10))
        server.act("backwards")
        while not _has_gap(seen):
            seen += numbers(read(client, 1))
        assert seen[-1] == seen[-2] - 1


def _has_gap(seen: list[int]) -> bool:
    return len(seen) > 1 and seen[-1] != seen[-2] + 1


def test_what_is_not_there_is_refused() -> None:
    with FakeAdvanced() as server, listen(server) as client:
        for channel, product in (("user", "BTC-USD"), ("news", "BTC-USD"), ("ticker", "X-USD")):
            ask(client, channel, product)
            assert read(client, 1)[0]["type"] == "error"
