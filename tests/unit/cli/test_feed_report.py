"""The report of a feed names the pairs whose newest quote no longer holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cryptometrics.cli.feed_report import show
from cryptometrics.feeds.coinbase.exchange.feed import ExchangeFeed

if TYPE_CHECKING:
    import pytest

T0 = 1_800_000_000.0
PAIRS = ("BTC-USD", "ETH-USD")


def take(feed: ExchangeFeed, pair: str, at: float, **frame: Any) -> None:
    feed.take(json.dumps({"product_id": pair, **frame}).encode(), T0 + at)


def test_pairs_without_a_quote_are_named_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    feed = ExchangeFeed(PAIRS, book=True)
    for pair in PAIRS:
        take(feed, pair, 0, type="snapshot", bids=[["10", "1"]], asks=[["11", "1"]])
    show(feed, None)
    assert "without a quote" not in capsys.readouterr().out
    take(feed, "ETH-USD", 1, type="l2update", changes=[["buy", "10.5", "one"]])
    show(feed, None)
    assert "\npairs without a quote at the end: ETH-USD\n" in capsys.readouterr().out
