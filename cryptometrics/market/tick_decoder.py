"""Decode one message of the topic into a tick, or reject it with a reason.

A message is JSON in the shape of Coinbase Exchange's `ticker` message; its key is the pair. Prices and sizes
stay exact: `Decimal` from the message's text, never a float.

Sizes and the fields of a trade (`price`, `last_size`, `side`) are optional: absent, null and empty mean that
the feed has none. They may be 0: Coinbase sends the price "0" for a product that was never traded, and a size
of 0 is what an order book writes for an empty level. A quote stays right with it, so it is not rejected.
"""

from __future__ import annotations

import enum
import functools
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Self

import msgspec

from cryptometrics.market.ticks import (
    EARLIEST,
    FRACTION_DIGITS,
    INTEGER_DIGITS,
    MAX_AHEAD,
    MAX_PAIR_CHARS,
    MAX_PRICE_CHARS,
    MAX_TRADE_ID,
    Kind,
    Tick,
    Trade,
    is_pair,
    is_price,
)
from cryptometrics.market.venues import DEFAULT_VENUE, MAX_VENUE_CHARS, is_venue
from cryptometrics.market.wire_fields import (
    PairText,
    PriceText,
    SizeText,
    TimeText,
    TradeId,
    VenueText,
    allow,
    describe,
    is_time,
)
from cryptometrics.text import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_VALUE_BYTES = 64 * 1024
"""A longer message is rejected unread; a ticker takes some 400 bytes."""

_A_DECIMAL = f"a decimal of at most {INTEGER_DIGITS} digits before and {FRACTION_DIGITS} after the point"
_SIDES = ("buy", "sell", "")
"""Of the taker; without it, a trade counts, but not as bought."""
_KINDS: dict[str, Kind] = {"ticker": "ticker", "quote": "quote"}


class Reason(enum.StrEnum):
    """Why a tick is rejected, as stored in `rejected_ticks.reason`."""

    NO_VALUE = "no_value"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    NOT_OBJECT = "not_object"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_TYPE = "unknown_type"
    BAD_PAIR = "bad_pair"
    KEY_MISMATCH = "key_mismatch"
    BAD_VENUE = "bad_venue"
    BAD_PRICE = "bad_price"
    BAD_SIZE = "bad_size"
    BAD_TRADE = "bad_trade"
    CROSSED_QUOTE = "crossed_quote"
    BAD_TIME = "bad_time"
    IMPLAUSIBLE_TIME = "implausible_time"
    BAD_GAP = "bad_gap"
    REFUSED = "refused_by_postgres"


class RejectedError(Exception):
    """A message is not a valid tick; carries the reason and a readable detail."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def bare(self) -> Self:
        """Return the error without its traceback, whose frames would keep whole batches alive."""
        self.__traceback__ = self.__context__ = None
        return self


class DecodedTick(msgspec.Struct, gc=False):
    """A tick and the texts of its prices and sizes in the message, empty where it has none."""

    tick: Tick
    bid_text: str
    ask_text: str
    bid_size_text: str
    ask_size_text: str
    trade_price_text: str
    trade_size_text: str


class WireTick(msgspec.Struct, gc=False):
    """One quote of a pair, in the shape of Coinbase Exchange's ticker. Other fields are ignored."""

    type: Annotated[
        str,
        allow(enum=list(_KINDS)),
        describe("ticker: the quote beside a trade; quote: rebuilt from an order book."),
    ]
    product_id: PairText
    best_bid: Annotated[PriceText, describe("In the quote currency; not above best_ask.")]
    best_ask: Annotated[PriceText, describe("In the quote currency.")]
    time: Annotated[TimeText, describe("The exchange's time, from 2009 to at most a day ahead.")]
    trade_id: Annotated[
        TradeId | None, describe("The exchange's number of the trade: repeated ticks are found by it.")
    ] = None
    best_bid_size: Annotated[SizeText | None, describe("In the base currency; empty if unknown.")] = None
    best_ask_size: Annotated[SizeText | None, describe("In the base currency; empty if unknown.")] = None
    price: Annotated[SizeText | None, describe("Price of the trade; empty or 0 if there is none.")] = None
    last_size: Annotated[SizeText | None, describe("Size of the trade; empty or 0 if there is none.")] = None
    side: Annotated[
        Annotated[str, allow(enum=list(_SIDES))] | None, describe("Side of the taker; empty if unknown.")
    ] = None
    venue: VenueText = DEFAULT_VENUE


_read_wire = msgspec.json.Decoder(WireTick).decode


def decode(key: bytes | None, value: bytes | None, now: datetime) -> Tick:
    """Return the tick in a message; raise RejectedError with the first reason against it.

    now: the time of reading, with its zone; a tick may be a day ahead of it at most.
    """
    return read(key, value, now).tick


def read(key: bytes | None, value: bytes | None, now: datetime) -> DecodedTick:
    """Return the tick with the texts of its numbers; otherwise like `decode`."""
    if value is None:
        raise RejectedError(Reason.NO_VALUE, "the message has no value")
    if len(value) > MAX_VALUE_BYTES:
        raise RejectedError(Reason.TOO_LARGE, f"{len(value)} bytes, more than {MAX_VALUE_BYTES}")
    try:
        wire = _read_wire(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _why_unreadable(value, error) from None
    kind = _KINDS.get(wire.type)
    if kind is None:
        raise RejectedError(Reason.UNKNOWN_TYPE, f"type is {_shown(wire.type)}, not ticker or quote")
    pair = wire.product_id
    if pair != _pair_of(key):
        raise _why_no_pair(key, pair)
    if not is_venue(wire.venue):
        raise why_no_venue(wire.venue)
    bid = _price(wire.best_bid) if len(wire.best_bid) <= MAX_PRICE_CHARS else None
    ask = _price(wire.best_ask) if len(wire.best_ask) <= MAX_PRICE_CHARS else None
    if bid is None or ask is None:
        raise _why_no_price(*(("best_ask", wire.best_ask) if bid else ("best_bid", wire.best_bid)))
    if bid > ask:
        raise RejectedError(Reason.CROSSED_QUOTE, f"bid {wire.best_bid} is above ask {wire.best_ask}")
    time = _time(wire.time, now)
    trade_id = wire.trade_id
    if trade_id is not None and not 0 <= trade_id <= MAX_TRADE_ID:
        raise RejectedError(Reason.WRONG_TYPE, "trade_id is not a whole number from 0 to 2^63 - 2")
    bid_size = _optional("best_bid_size", wire.best_bid_size, Reason.BAD_SIZE)
    ask_size = _optional("best_ask_size", wire.best_ask_size, Reason.BAD_SIZE)
    trade = _trade(wire)
    return DecodedTick(
        Tick(
            pair,
            kind,
            bid,
            ask,
            time,
            trade_id,
            bid_size,
            ask_size,
            trade if kind == "ticker" else None,
            wire.venue,
        ),
        wire.best_bid,
        wire.best_ask,
        wire.best_bid_size or "",
        wire.best_ask_size or "",
        wire.price or "",
        wire.last_size or "",
    )


def pairs_in(keys: Sequence[bytes | None]) -> list[str | None]:
    """Return the pair that each record's key names, None for a key that is not a pair."""
    pair_of = {key: _pair_of(key) for key in set(keys)}
    return list(map(pair_of.__getitem__, keys))


def _pair_of(key: bytes | None) -> str | None:
    return None if key is None or len(key) > MAX_PAIR_CHARS else _pair_in(key)


# Few different keys come again and again; longer ones are never cached, so a sender cannot fill the memory.
@functools.lru_cache(maxsize=4096)
def _pair_in(key: bytes) -> str | None:
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return None
    return text if is_pair(text) else None


def _price(text: str) -> Decimal | None:
    """Return the price in a text, None if it is not a valid one."""
    # Decimal accepts more than a price may be: " 1\n", "1_000", "NaN", full-width digits.
    return (Decimal(text) or None) if is_price(text) else None


def _optional(field: str, text: str | None, reason: Reason) -> Decimal | None:
    """Return the number in an optional field, None if it is absent or empty."""
    if not text:
        return None
    if len(text) <= MAX_PRICE_CHARS and is_price(text):
        return Decimal(text)
    raise RejectedError(reason, f"{field} {_shown(text)} is not {_A_DECIMAL}")


def _trade(wire: WireTick) -> Trade | None:
    """Return the trade of a message, None if its price or its size is absent or 0."""
    price = _optional("price", wire.price, Reason.BAD_TRADE)
    size = _optional("last_size", wire.last_size, Reason.BAD_TRADE)
    if wire.side is not None and wire.side not in _SIDES:
        raise RejectedError(Reason.BAD_TRADE, f"side is {_shown(wire.side)}, not buy or sell")
    return Trade(price, size, wire.side == "buy") if price and size else None


def _why_no_pair(key: bytes | None, pair: str) -> RejectedError:
    if not is_pair(pair):
        return RejectedError(Reason.BAD_PAIR, f"product_id {_shown(pair)} is not of the form BASE-QUOTE")
    return RejectedError(Reason.KEY_MISMATCH, f"the record's key {_shown(key)} is not the pair {pair}")


def why_no_venue(venue: str) -> RejectedError:
    """Return the error for a message whose venue does not follow the rule of `venues`."""
    return RejectedError(
        Reason.BAD_VENUE,
        f"venue {_shown(venue)} is not 1 to {MAX_VENUE_CHARS} lower-case letters, digits and hyphens",
    )


def _why_no_price(field: str, text: str) -> RejectedError:
    return RejectedError(
        Reason.BAD_PRICE,
        f"{field} {_shown(text)} is not {_A_DECIMAL.replace('decimal', 'positive decimal')}",
    )


def _time(text: str, now: datetime) -> datetime:
    """Return the time in UTC, truncated to microseconds: rounding could reach the next day."""
    if not is_time(text):
        raise RejectedError(Reason.BAD_TIME, f"time {_shown(text)} is not RFC 3339 with a zone")
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is not UTC:
            time = time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise RejectedError(Reason.BAD_TIME, f"time {_shown(text)} does not exist") from None
    if not (EARLIEST <= time <= now or now < time <= now + MAX_AHEAD):
        side = "before 2009" if time < EARLIEST else "more than a day ahead"
        raise RejectedError(Reason.IMPLAUSIBLE_TIME, f"time {text} is {side}")
    return time


def _why_unreadable(value: bytes, error: Exception) -> RejectedError:
    """Find the reason that the fast decoder does not distinguish; only bad messages come here."""
    if isinstance(error, msgspec.ValidationError):
        text = str(error)
        if "missing required field" in text:
            return RejectedError(
                Reason.MISSING_FIELD, "lacks the field " + text.rpartition("field ")[2].strip("`")
            )
        parsed = _parsed(value)
        if not isinstance(parsed, RejectedError):
            if isinstance(parsed, dict):
                return RejectedError(Reason.WRONG_TYPE, text)
            return RejectedError(
                Reason.NOT_OBJECT, f"the value is a JSON {type(parsed).__name__}, not an object"
            )
        return parsed
    if isinstance(error, RecursionError):
        return RejectedError(Reason.NOT_JSON, "nested too deep")
    return RejectedError(Reason.NOT_JSON, _shown(str(error), quote=False))


def _parsed(value: bytes) -> Any:
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return RejectedError(Reason.NOT_JSON, _shown(str(error), quote=False))


def _shown(what: str | bytes | None, *, quote: bool = True) -> str:
    """Quote text of an unknown sender: short and without control characters."""
    if what is None:
        return "(none)"
    text = what.decode("utf-8", "backslashreplace") if isinstance(what, bytes) else what
    text = text if len(text) <= 80 else text[:77] + "…"
    safe = escape(text)
    return f'"{safe}"' if quote else safe
