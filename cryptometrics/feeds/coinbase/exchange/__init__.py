"""The feed of Coinbase Exchange, whose trades are numbered per product."""

TICKER_CHANNELS = ("matches", "ticker", "heartbeat")
BOOK_CHANNELS = ("matches", "level2_batch", "heartbeat")
"""`matches` comes first: its `last_match` has the current trade id."""
