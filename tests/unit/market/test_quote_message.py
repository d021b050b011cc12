"""The messages of quotes that a feed rebuilds from an order book: what the decoder reads is what went in."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from cryptometrics.market import quote_message
from cryptometrics.market.tick_decoder import decode

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("venue", [None, "coinbase-advanced"])
def test_a_quote_is_read_as_it_was_written_and_names_its_venue_only_if_it_has_one(venue: str | None) -> None:
    bid, ask = ("100.10", "1"), ("100.20", "0.5")
    value = quote_message.encode("BTC-USD", bid, ask, "2026-07-01T11:00:00.000001Z", venue=venue)
    tick = decode(b"BTC-USD", value, NOW)
    assert (tick.kind, tick.bid, tick.ask) == ("quote", Decimal("100.10"), Decimal("100.20"))
    fields = json.loads(value)
    assert (fields["best_bid_size"], fields["best_ask_size"]) == ("1", "0.5")
    assert fields.get("venue") == venue
    assert ("venue" in fields) == (venue is not None)
