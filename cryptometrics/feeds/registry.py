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
    from cryptometrics.market.gap_records import Gap

DEFAULT_FEED = "coinbase"
"""The feed of a recording that names none."""

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
) -> CoinbaseFeed:
    """Return a new feed; raise UserError for an unknown name, such as one from a newer recording.

    pairs: None follows every pair that comes. on_gap: called with each gap.
    """
    from cryptometrics.feeds.coinbase.advanced.feed import AdvancedFeed
    from cryptometrics.feeds.coinbase.exchange.feed import ExchangeFeed

    feeds: dict[str, type[CoinbaseFeed]] = {"coinbase": ExchangeFeed, "coinbase-advanced": AdvancedFeed}
    if name not in feeds:
        raise UserError(f"the feed {name!r} is not known: feeds are {listed(feeds)}")
    return feeds[name](pairs, book=book, on_gap=on_gap)
