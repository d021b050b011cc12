"""Coinbase Exchange's public WebSocket feed: no key is needed for anything here."""

URL = "wss://ws-feed.exchange.coinbase.com"
"""Where the feed is; the sandbox is at wss://ws-feed-public.sandbox.exchange.coinbase.com."""
DEFAULT_PAIRS = ("BTC-USD", "ETH-USD")
"""What is listened to when nothing is asked for."""

TICKER_CHANNELS = ("matches", "ticker", "heartbeat")
BOOK_CHANNELS = ("matches", "level2_batch", "heartbeat")
"""`matches` first: its `last_match` says at once where the numbers of the trades stand."""
