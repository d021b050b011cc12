"""The types of a message's fields, with the rules that a schema can state. Pure.

A decoder does not let msgspec enforce these rules, but checks them itself: it can then name the reason
against a message. `wire_schema` states the same rules for other programs.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from msgspec import Meta

from cryptometrics.market.ticks import (
    MAX_PAIR_CHARS,
    MAX_PRICE_CHARS,
    MAX_TRADE_ID,
    PAIR_PATTERN,
    PRICE_PATTERN,
)
from cryptometrics.market.venues import MAX_VENUE_CHARS, VENUE_PATTERN

TIME_PATTERN = (
    # Hour 24 is excluded: newer Python versions read it as the next day.
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,12})?"
    r"(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
is_time = re.compile(TIME_PATTERN).fullmatch
"""Whether a text has the form of RFC 3339 with a zone; whether the time exists is another question."""


def allow(**rules: Any) -> Meta:
    """Return keywords of JSON Schema as a mark of a type, which msgspec writes down but does not enforce."""
    return Meta(extra_json_schema=rules)


def describe(text: str) -> Meta:
    """Return the description of a field as a mark of its type."""
    return Meta(description=text)


def whole(pattern: str) -> str:
    """Return a pattern without alternatives for JSON Schema, which would search anywhere in a text."""
    return f"^{pattern}$"


PairText = Annotated[
    str,
    allow(pattern=whole(PAIR_PATTERN), maxLength=MAX_PAIR_CHARS),
    describe("BASE-QUOTE; also the key of the record."),
]
PriceText = Annotated[
    str,
    # Positive: some digit is not 0.
    allow(pattern=whole(PRICE_PATTERN), maxLength=MAX_PRICE_CHARS, allOf=[{"pattern": "[1-9]"}]),
]
SizeText = Annotated[str, allow(pattern=whole(f"(?:{PRICE_PATTERN})?"), maxLength=MAX_PRICE_CHARS)]
"""A decimal that may be 0; empty is the same as absent."""
# Leap seconds are valid in RFC 3339, but Python's datetime has none.
TimeText = Annotated[
    str, allow(pattern=whole(TIME_PATTERN), format="date-time", **{"not": {"pattern": ":60"}})
]
TradeId = Annotated[int, allow(minimum=0, maximum=MAX_TRADE_ID)]
VenueText = Annotated[
    str,
    allow(pattern=whole(VENUE_PATTERN), maxLength=MAX_VENUE_CHARS),
    describe("Where the quote comes from; prices of different venues never mix."),
]
