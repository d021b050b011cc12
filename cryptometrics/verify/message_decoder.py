"""Read the messages of the topic independently of the code that decoded them for the tables.

This is a second reading of the documented wire format: a message is a quote, a gap record, or invalid for
the first reason that applies. It uses only the standard library and shares no code with `market`. A test
holds both readings against each other. Pure.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple, Never

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES = 65_536
MAX_AHEAD = timedelta(days=1)
FIRST_TIME = datetime(2009, 1, 1, tzinfo=UTC)
TRADE_ID_END = 2**63 - 1
"""Exclusive upper bound of a trade id."""

_PAIR = re.compile(r"[A-Z0-9]{1,20}-[A-Z0-9]{1,20}")
_VENUE = re.compile(r"[a-z0-9-]{1,32}")
DEFAULT_VENUE = "coinbase"
"""Of a message without the field."""
_PRICE = re.compile(r"[0-9]{1,20}(\.[0-9]{1,18})?")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(\.[0-9]{1,12})?(Z|[+-][0-9]{2}:[0-9]{2})"
)
# Surrogate escapes must come in pairs; group 1 matches one that does not.
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u([dD][89a-fA-F])|\\.", re.DOTALL
)
_GAP_KINDS = ("start", "missed", "down", "silence", "unreadable", "overflow", "end")


class InvalidMessageError(Exception):
    """A message is neither a quote nor a gap record; `reason` is a value of `rejected_ticks.reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _NotUtf8Error(Exception):
    """A field that is read holds bytes that are not UTF-8."""


class TradeMessage(NamedTuple):
    """The trade of a ticker, which is stored only as part of its minute."""

    price: Decimal
    size: Decimal
    taker_bought: bool


class QuoteMessage(NamedTuple):
    """The fields of a tick that are stored: all but the trade as they are."""

    pair: str
    kind: str
    bid: Decimal
    ask: Decimal
    time: datetime
    trade_id: int | None
    venue: str
    bid_size: Decimal | None
    ask_size: Decimal | None
    trade: TradeMessage | None


@dataclass(frozen=True, slots=True)
class GapMessage:
    """A time during which the feed received nothing of a pair, and the trades it missed."""

    pair: str
    kind: str
    begins: datetime | None
    ends: datetime
    first_trade_id: int | None
    last_trade_id: int | None
    proves: bool | None
    venue: str


class _Integer(str):
    """A JSON integer as it is written: it may have more digits than Python converts."""

    __slots__ = ()


class _Fraction(str):
    """A JSON number with a fraction or an exponent, as it is written."""

    __slots__ = ()


_Types = tuple[type, ...]
_TEXT: _Types = (str,)
_OPTIONAL_TEXT: _Types = (str, NoneType)
_OPTIONAL_INTEGER: _Types = (_Integer, NoneType)
_OPTIONAL_BOOLEAN: _Types = (bool, NoneType)
_QUOTE_FIELDS: Mapping[str, _Types] = {
    **dict.fromkeys(("type", "product_id", "best_bid", "best_ask", "time"), _TEXT),
    "trade_id": _OPTIONAL_INTEGER,
    **dict.fromkeys(("best_bid_size", "best_ask_size", "price", "last_size", "side"), _OPTIONAL_TEXT),
    "venue": _TEXT,
}
_GAP_FIELDS: Mapping[str, _Types] = {
    **dict.fromkeys(("type", "product_id", "kind", "time"), _TEXT),
    "begins": _OPTIONAL_TEXT,
    "first_trade_id": _OPTIONAL_INTEGER,
    "last_trade_id": _OPTIONAL_INTEGER,
    "proves": _OPTIONAL_BOOLEAN,
    "venue": _TEXT,
}


def read(key: bytes | None, value: bytes | None, now: datetime) -> QuoteMessage | GapMessage:
    """Return the quote or the gap record in a message, or raise InvalidMessageError.

    now: the time of reading; a message may be dated up to one day later.
    """
    if value is None:
        raise InvalidMessageError("no_value")
    if len(value) > MAX_BYTES:
        raise InvalidMessageError("too_large")
    # Only the fields that are read must be UTF-8.
    text = value.decode("utf-8", "surrogateescape")
    document, is_whole = _parse(text)
    if is_whole and _is_gap(document):
        with contextlib.suppress(_NotUtf8Error):
            return _read_gap(_checked(document, _GAP_FIELDS), key, now)
    try:
        fields = _checked(document, _QUOTE_FIELDS)
    except _NotUtf8Error:
        raise InvalidMessageError("not_json") from None
    except InvalidMessageError as error:
        # A wrong type is the reason only if the value is JSON throughout; a missing field is one in any case.
        if error.reason == "missing_field" or (is_whole and _is_strict(text)):
            raise
        raise InvalidMessageError("not_json") from None
    if not is_whole:
        raise InvalidMessageError("not_json")
    return _read_quote(fields, key, now)


def _parse(text: str) -> tuple[Any, bool]:
    """Return the first JSON value of a text, and whether nothing follows it; an object becomes a tuple."""
    try:
        document, end = _decoder.raw_decode(text, len(text) - len(text.lstrip(" \t\n\r")))
    except (ValueError, RecursionError):
        raise InvalidMessageError("not_json") from None
    if "\\u" in text and any(escape[1] for escape in _ESCAPE.finditer(text, 0, end)):
        raise InvalidMessageError("not_json")
    return document, not text[end:].strip(" \t\n\r")


def _refuse(literal: str) -> Never:
    raise ValueError(literal)


_decoder = json.JSONDecoder(
    object_pairs_hook=tuple, parse_int=_Integer, parse_float=_Fraction, parse_constant=_refuse
)


def _is_strict(text: str) -> bool:
    """Whether a JSON text is UTF-8 throughout and its numbers are finite."""

    def refuse_infinite(literal: str) -> float:
        number = float(literal)
        return number if abs(number) != float("inf") else _refuse(literal)

    try:
        text.encode()
        json.loads(text, parse_int=_Integer, parse_float=refuse_infinite)
    except (ValueError, RecursionError):
        return False
    return True


def _is_gap(document: object) -> bool:
    if not isinstance(document, tuple):
        return False
    types = [value for name, value in document if name == "type"]
    return bool(types) and types[-1] == "gap" and all(type(each) is str and _is_utf8(each) for each in types)


def _checked(document: object, fields: Mapping[str, _Types]) -> dict[str, Any]:
    """Return the known fields; of a repeated one the last counts, but each must have the right type."""
    if not isinstance(document, tuple):
        raise InvalidMessageError("not_object")
    found: dict[str, Any] = {name: None for name, types in fields.items() if NoneType in types}
    found["venue"] = DEFAULT_VENUE
    for name, value in document:
        if name in fields:
            if type(value) not in fields[name]:
                raise InvalidMessageError("wrong_type")
            if isinstance(value, str) and not _is_utf8(value):
                raise _NotUtf8Error
            found[name] = value
    if len(found) < len(fields):
        raise InvalidMessageError("missing_field")
    return found


def _is_utf8(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def _read_quote(fields: Mapping[str, Any], key: bytes | None, now: datetime) -> QuoteMessage:
    if fields["type"] not in {"ticker", "quote"}:
        raise InvalidMessageError("unknown_type")
    pair, venue = _pair(fields["product_id"], key), _venue(fields["venue"])
    bid, ask = _price(fields["best_bid"]), _price(fields["best_ask"])
    if bid > ask:
        raise InvalidMessageError("crossed_quote")
    time = _time(fields["time"], now)
    trade_id = _trade_id(fields["trade_id"], "wrong_type")
    bid_size = _optional(fields["best_bid_size"], "bad_size")
    ask_size = _optional(fields["best_ask_size"], "bad_size")
    trade = _trade(fields)
    if fields["type"] == "quote":
        trade = None
    return QuoteMessage(pair, fields["type"], bid, ask, time, trade_id, venue, bid_size, ask_size, trade)


def _read_gap(fields: Mapping[str, Any], key: bytes | None, now: datetime) -> GapMessage:
    pair, venue = _pair(fields["product_id"], key), _venue(fields["venue"])
    ends = _time(fields["time"], now)
    begins = None if fields["begins"] is None else _time(fields["begins"], now)
    kind = fields["kind"]
    first = _trade_id(fields["first_trade_id"], "bad_gap")
    last = _trade_id(fields["last_trade_id"], "bad_gap")
    proves = fields["proves"]
    if kind == "start":
        is_valid = first is None and begins is None
    elif kind == "end":
        is_valid = first is None and last is None and begins is None and proves is None
    else:
        is_range = last is None if first is None else last is not None and first <= last
        is_valid = (
            kind in _GAP_KINDS and begins is not None and begins <= ends and is_range and proves is None
        )
    if not is_valid:
        raise InvalidMessageError("bad_gap")
    return GapMessage(pair, kind, begins, ends, first, last, proves, venue)


def _pair(text: str, key: bytes | None) -> str:
    if not _PAIR.fullmatch(text):
        raise InvalidMessageError("bad_pair")
    if key != text.encode():
        raise InvalidMessageError("key_mismatch")
    return text


def _venue(text: str) -> str:
    if not _VENUE.fullmatch(text):
        raise InvalidMessageError("bad_venue")
    return text


def _price(text: str) -> Decimal:
    price = Decimal(text) if _PRICE.fullmatch(text) else Decimal(0)
    if not price:
        raise InvalidMessageError("bad_price")
    return price


def _optional(text: str | None, reason: str) -> Decimal | None:
    """Return a number that may be 0; None if the message has none."""
    if text is None or text == "":
        return None
    if not _PRICE.fullmatch(text):
        raise InvalidMessageError(reason)
    return Decimal(text)


def _trade(fields: Mapping[str, Any]) -> TradeMessage | None:
    price, size = (_optional(fields[name], "bad_trade") for name in ("price", "last_size"))
    side = fields["side"]
    if side is not None and side not in {"", "buy", "sell"}:
        raise InvalidMessageError("bad_trade")
    return TradeMessage(price, size, side == "buy") if price and size else None


def _time(text: str, now: datetime) -> datetime:
    """Return a time in UTC; digits after the microseconds are cut off."""
    if not _TIME.fullmatch(text):
        raise InvalidMessageError("bad_time")
    try:
        time = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidMessageError("bad_time") from None
    if not FIRST_TIME <= time <= now + MAX_AHEAD:
        raise InvalidMessageError("implausible_time")
    return time


def _trade_id(number: _Integer | None, reason: str) -> int | None:
    if number is None:
        return None
    # Longer literals are out of range, and Python does not convert them.
    trade_id = int(number) if len(number) <= 20 else -1
    if not 0 <= trade_id < TRADE_ID_END:
        raise InvalidMessageError(reason)
    return trade_id
