"""The public WebSocket feeds of Coinbase: Exchange and Advanced Trade. Neither needs a key."""
