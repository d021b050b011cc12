"""The feeds by name: the value of `--feed`, which is the venue of their quotes too.

To add an exchange, see docs/feeds.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.errors import UserError
from cryptometrics.text import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryptometrics.feeds.coinbase.feed import CoinbaseFeed
    from cryptometrics.feeds.interface import Feed, FeedClient
    from cryptometrics.feeds.publish_queue import PublishQueue
    from cryptometrics.feeds.recording import Recorder
    from cryptometrics.market.gap_records import Gap

URLS = {
    "coinbase": "wss://ws-feed.exchange.coinbase.com",
    "coinbase-advanced": "wss://advanced-trade-ws.coinbase.com",
}
"""Each feed's address; the sandbox of Exchange is at wss://ws-feed-public.sandbox.exchange.coinbase.com."""
DEFAULT_PAIRS = ("BTC-USD", "ETH-USD")


def make_feed(
    name: str,
    pairs: Iterable[str] | None,
    *,
    book: bool = False,
    on_gap: Callable[[Gap], None] = lambda _: None,
) -> Feed:
    """Return a new feed for frames that come from elsewhere, such as a recording.

    pairs: None follows every pair that comes. on_gap: called with each gap. Raises UserError for an unknown
    name, such as one from a newer recording.
    """
    return _coinbase_feed(name, pairs, book=book, on_gap=on_gap)


def make_live_feed(
    name: str,
    pairs: Iterable[str],
    *,
    book: bool,
    on_gap: Callable[[Gap], None],
    url: str | None,
    outbox: PublishQueue | None,
    recorder: Recorder | None,
    wait: float,
) -> tuple[Feed, FeedClient]:
    """Return a new feed and the client that receives its frames.

    url: None is the feed's own address. outbox: the queue for Kafka; None only records. wait: seconds after
    which an exchange that has sent nothing counts as down. Otherwise as in `make_feed`.
    """
    from cryptometrics.feeds.coinbase.client import CoinbaseClient

    feed = _coinbase_feed(name, pairs, book=book, on_gap=on_gap)
    return feed, CoinbaseClient(feed, url or URLS[name], outbox=outbox, recorder=recorder, wait=wait)


def _coinbase_feed(
    name: str, pairs: Iterable[str] | None, *, book: bool, on_gap: Callable[[Gap], None]
) -> CoinbaseFeed:
    from cryptometrics.feeds.coinbase.advanced.feed import AdvancedFeed
    from cryptometrics.feeds.coinbase.exchange.feed import ExchangeFeed

    feeds: dict[str, type[CoinbaseFeed]] = {"coinbase": ExchangeFeed, "coinbase-advanced": AdvancedFeed}
    if name not in feeds:
        raise UserError(f"the feed {name!r} is not known: feeds are {listed(feeds)}")
    return feeds[name](pairs, book=book, on_gap=on_gap)
