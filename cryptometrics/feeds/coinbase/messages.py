"""What Coinbase's frames say, as far as it is needed here. Pure.

Everything is optional but the type: the exchange adds and takes away fields without notice.
"""

from __future__ import annotations

import functools
import re
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from cryptometrics.market.tick_decoder import FRACTION_DIGITS, INTEGER_DIGITS, MAX_VALUE_BYTES, MOST_TRADES

Level = tuple[str, ...]

_is_decimal = re.compile(rf"[0-9]{{1,{INTEGER_DIGITS}}}(?:\.[0-9]{{1,{FRACTION_DIGITS}}})?").fullmatch
_is_time = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,32}(?:Z|[+-][0-9]{2}:[0-9]{2})").fullmatch


class BadFrameError(Exception):
    """A frame is not what the protocol has: passed over and counted."""


class Frame(msgspec.Struct, gc=False):
    """One message of the feed; of another type than those known, only the type counts."""

    type: str
    product_id: str = ""
    trade_id: int | None = None
    last_trade_id: int | None = None
    time: str = ""
    best_bid: str = ""
    best_ask: str = ""


class BookFrame(Frame):
    """The same, with what the order book is made of."""

    bids: list[Level] = []
    asks: list[Level] = []
    changes: list[Level] = []


class Refusal(msgspec.Struct):
    """An `error` frame: the exchange did not do what it was asked to."""

    message: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.message}: {self.reason}" if self.reason else self.message or "no reason given"


class _Status(msgspec.Struct):
    class Product(msgspec.Struct):
        id: str

    products: list[Product] = []


class _Subscriptions(msgspec.Struct):
    class Channel(msgspec.Struct):
        name: str = ""
        product_ids: list[str] = []

    channels: list[Channel] = []


_ALIASES = {"level2_50": "level2_batch", "ticker_1000": "ticker_batch"}
"""Other names under which the exchange may answer."""

_read_subscriptions = msgspec.json.Decoder(_Subscriptions).decode
_read_frame = msgspec.json.Decoder(Frame).decode
_read_book_frame = msgspec.json.Decoder(BookFrame).decode
_read_refusal = msgspec.json.Decoder(Refusal).decode
_read_status = msgspec.json.Decoder(_Status).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode(frame: bytes, *, book: bool) -> Frame:
    """Return what a frame says; raise BadFrameError where it is none.

    book: whether what the order book is made of is read, too.
    A ticker whose fields have other types than they should is let through: it goes on the topic as it
    came, where `process` says what is wrong with it.
    """
    try:
        found = _read_book_frame(frame) if book else _read_frame(frame)
    except msgspec.ValidationError as error:
        return _odd_ticker(frame, error)
    except _UNREADABLE as error:
        raise BadFrameError(str(error)) from None
    if found.type == "ticker" and len(frame) > MAX_VALUE_BYTES:
        raise BadFrameError(f"a ticker of {len(frame)} bytes")
    for number in (found.trade_id, found.last_trade_id):
        if number is not None and not 0 <= number < MOST_TRADES:
            return _odd_ticker(frame, ValueError("a trade id is not from 0 to 2^63 - 2"))
    return found


def _odd_ticker(frame: bytes, error: Exception) -> Frame:
    if len(frame) <= MAX_VALUE_BYTES:
        try:
            fields: Any = msgspec.json.decode(frame)
        except _UNREADABLE:
            fields = None
        if isinstance(fields, dict) and fields.get("type") == "ticker":
            pair = fields.get("product_id")
            if isinstance(pair, str):
                return Frame("ticker", pair)
    raise BadFrameError(str(error))


def refusal(frame: bytes) -> Refusal:
    """Return what an `error` frame says."""
    try:
        return _read_refusal(frame)
    except _UNREADABLE:
        return Refusal(frame[:200].decode("utf-8", "backslashreplace"))


def products(frame: bytes) -> list[str]:
    """Return the ids of all products, from a `status` frame."""
    try:
        return [product.id for product in _read_status(frame).products]
    except _UNREADABLE:
        return []


def subscribed(frame: bytes, channels: tuple[str, ...]) -> set[str]:
    """Return the products for which a `subscriptions` frame names all of these channels."""
    try:
        found = _read_subscriptions(frame).channels
    except _UNREADABLE:
        return set()
    ids = {_ALIASES.get(channel.name, channel.name): set(channel.product_ids) for channel in found}
    return set.intersection(*(ids.get(name, set()) for name in channels))


def subscribe(pairs: list[str], channels: tuple[str, ...]) -> str:
    """Return the request for these channels of these products."""
    return _request("subscribe", pairs, channels)


def _request(kind: str, pairs: list[str], channels: tuple[str, ...]) -> str:
    request = {"type": kind, "product_ids": pairs, "channels": channels}
    return msgspec.json.encode(request).decode()


# Prices come again and again: to remember them is faster than to look at them anew.
@functools.lru_cache(maxsize=65_536)
def number(text: str) -> Decimal | None:
    """Return the decimal, 0 or more, that a text is; None where it is none."""
    return Decimal(text) if _is_decimal(text) else None


def seconds(time: str) -> float | None:
    """Return an event time as seconds since the epoch; None where it is none."""
    if not _is_time(time):
        return None
    try:
        return datetime.fromisoformat(time).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
