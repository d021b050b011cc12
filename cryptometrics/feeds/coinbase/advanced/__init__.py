"""The feed of Coinbase Advanced Trade, whose frames are numbered per connection."""
