"""Rules about the market and the feed, and when they fire. Pure: no clock, no database, no network."""
