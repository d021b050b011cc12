"""A tick: one quote of a pair, with the limits of its fields and the arithmetic of exact prices."""

from __future__ import annotations

import decimal
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

import msgspec

from cryptometrics.market.venues import DEFAULT_VENUE

INTEGER_DIGITS, FRACTION_DIGITS = 20, 18
"""Digits a price or a size may have before and after the point."""
MAX_PRICE_CHARS = INTEGER_DIGITS + 1 + FRACTION_DIGITS
MAX_TRADE_ID = 2**63 - 2
"""So that the range of ids that it ends fits into PostgreSQL's bigint."""
EARLIEST = datetime(2009, 1, 1, tzinfo=UTC)
"""No crypto market is older."""
MAX_AHEAD = timedelta(days=1)
"""How far the exchange's clock may be ahead of ours."""

EXACT = decimal.Context(
    prec=3 * (INTEGER_DIGITS + FRACTION_DIGITS), traps=[decimal.Inexact, decimal.InvalidOperation]
)
"""The context of all arithmetic with prices and sizes, in which rounding is an error.

A price times a size has twice the digits of either, and sums of them need some more.
"""

PAIR_PATTERN = r"[A-Z0-9]{1,20}-[A-Z0-9]{1,20}"
MAX_PAIR_CHARS = 41
is_pair = re.compile(PAIR_PATTERN).fullmatch
PRICE_PATTERN = rf"[0-9]{{1,{INTEGER_DIGITS}}}(?:\.[0-9]{{1,{FRACTION_DIGITS}}})?"
is_price = re.compile(PRICE_PATTERN).fullmatch

Kind = Literal["ticker", "quote"]
"""`ticker`: the quote beside a trade; `quote`: rebuilt from the order book."""


class Trade(msgspec.Struct, gc=False):
    """The trade beside a quote. A feed may batch trades and then sends only the last of them.

    `price` is in the quote currency, `size` in the base currency; neither is 0.
    """

    price: Decimal
    size: Decimal
    is_buy: bool
    """Whether the taker bought."""


class Tick(msgspec.Struct, gc=False):
    """One valid quote. Prices are in the quote currency, sizes in the base currency.

    `time` is the exchange's, in UTC.
    """

    pair: str
    kind: Kind
    bid: Decimal
    ask: Decimal
    time: datetime
    trade_id: int | None
    bid_size: Decimal | None = None
    """At the best bid; None if the feed sends none."""
    ask_size: Decimal | None = None
    """At the best ask; None if the feed sends none."""
    trade: Trade | None = None
    venue: str = DEFAULT_VENUE


def parse_pairs(text: str) -> list[str]:
    """Return the pairs that a text names: BTC-USD, btc-usd or BTC/USD, or several of them with commas.

    Raises ValueError if a part is not a pair.
    """
    found = []
    for part in text.split(","):
        spelled = part.strip()
        pair = spelled.upper().replace("/", "-") if spelled.isascii() else spelled  # "ß" in capitals is "SS"
        if not is_pair(pair):
            raise ValueError(f"{spelled!r} is not a pair: pairs look like BTC-USD")
        found.append(pair)
    return found
