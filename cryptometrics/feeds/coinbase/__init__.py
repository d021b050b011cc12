"""The public WebSocket feed of Coinbase Exchange; it needs no key."""

URL = "wss://ws-feed.exchange.coinbase.com"
"""The feed; the sandbox is at wss://ws-feed-public.sandbox.exchange.coinbase.com."""
DEFAULT_PAIRS = ("BTC-USD", "ETH-USD")

TICKER_CHANNELS = ("matches", "ticker", "heartbeat")
BOOK_CHANNELS = ("matches", "level2_batch", "heartbeat")
"""`matches` comes first: its `last_match` has the current trade id."""
