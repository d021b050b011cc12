"""Decode the frames of Coinbase Exchange, and encode subscriptions. Pure.

Only the type is required: the exchange adds and removes fields without notice.
"""

from __future__ import annotations

import functools
import re
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from cryptometrics.market.tick_decoder import MAX_VALUE_BYTES
from cryptometrics.market.ticks import EXACT, MAX_TRADE_ID, is_price
from cryptometrics.times import from_seconds, iso

if TYPE_CHECKING:
    from collections.abc import Callable

Level = tuple[str, ...]

MAX_NUMBER_CHARS = 60
"""Length of a number; whatever fits into the topic's format is shorter."""

_is_decimal = re.compile(r"\+?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?").fullmatch
_time_in = re.compile(rb'"time"\s*:\s*"([^"\\]{20,40})"').search
_is_book = re.compile(rb'"(?:snapshot|l2update)"').search
_product_in = re.compile(rb'"product_id"\s*:\s*"([A-Z0-9-]{3,41})"').search
_is_time = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,32}(?:Z|[+-][0-9]{2}:[0-9]{2})").fullmatch


class BadFrameError(Exception):
    """A frame violates the protocol: it is ignored and counted.

    books: the products whose order book it may have changed, so that theirs is no longer known; None means
    all products.
    """

    def __init__(self, reason: str, books: tuple[str, ...] | None = ()) -> None:
        super().__init__(reason)
        self.books = books


class Frame(msgspec.Struct, gc=False):
    """One message of the feed; if its type is unknown, the other fields mean nothing."""

    type: str
    product_id: str = ""
    trade_id: int | None = None
    last_trade_id: int | None = None
    time: str = ""
    best_bid: str = ""
    best_ask: str = ""


class BookFrame(Frame):
    """A frame with levels of the order book."""

    bids: list[Level] = []
    asks: list[Level] = []
    changes: list[Level] = []


class Refusal(msgspec.Struct):
    """An `error` frame: the exchange refused a request."""

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
"""Names that the exchange may use in its answer, and the names that were requested."""

_read_subscriptions = msgspec.json.Decoder(_Subscriptions).decode
_read_frame = msgspec.json.Decoder(Frame).decode
_read_book_frame = msgspec.json.Decoder(BookFrame).decode
_read_refusal = msgspec.json.Decoder(Refusal).decode
_read_status = msgspec.json.Decoder(_Status).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode(frame: bytes, *, book: bool) -> Frame:
    """Decode a frame; raise BadFrameError if it is malformed.

    book: whether to decode the levels of the order book.
    A ticker whose fields have wrong types is accepted: it is published as it came, and `process` rejects it
    with the reason.
    """
    try:
        found = _read_book_frame(frame) if book else _read_frame(frame)
    except msgspec.ValidationError as error:
        return _odd_ticker(frame, error)
    except _UNREADABLE as error:
        raise BadFrameError(str(error), _books_in(frame)) from None
    if found.type == "ticker" and len(frame) > MAX_VALUE_BYTES:
        raise BadFrameError(f"a ticker of {len(frame)} bytes")
    for number in (found.trade_id, found.last_trade_id):
        if number is not None and not 0 <= number <= MAX_TRADE_ID:
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
    raise BadFrameError(str(error), _books_in(frame))


def _books_in(frame: bytes) -> tuple[str, ...] | None:
    """Return the products of an unreadable frame if it is about order books; None if they are not legible."""
    if not _is_book(frame):
        return ()
    found = _product_in(frame)
    return (found[1].decode("ascii", "replace"),) if found else None


def refusal(frame: bytes) -> Refusal:
    """Decode an `error` frame."""
    try:
        return _read_refusal(frame)
    except _UNREADABLE:
        return Refusal(frame[:200].decode("utf-8", "backslashreplace"))


def products(frame: bytes) -> list[str]:
    """Return the ids of all products in a `status` frame."""
    try:
        return [product.id for product in _read_status(frame).products]
    except _UNREADABLE:
        return []


def subscribed(frame: bytes, channels: tuple[str, ...]) -> set[str]:
    """Return the products that a `subscriptions` frame lists in all of these channels."""
    try:
        found = _read_subscriptions(frame).channels
    except _UNREADABLE:
        return set()
    ids = {_ALIASES.get(channel.name, channel.name): set(channel.product_ids) for channel in found}
    return set.intersection(*(ids.get(name, set()) for name in channels))


def subscribe(pairs: list[str], channels: tuple[str, ...]) -> str:
    """Return the request to subscribe these products to these channels."""
    request = {"type": "subscribe", "product_ids": pairs, "channels": channels}
    return msgspec.json.encode(request).decode()


# Prices recur: a cache is faster than matching and converting them again.
@functools.lru_cache(maxsize=65_536)
def plain(text: str) -> str | None:
    """Return the decimal, 0 or more, that a text spells, in the form of the topic: digits and one point.

    Any exact decimal is read, with or without an exponent. Returns None if the text spells none, or one with
    more digits than a price may have.
    """
    if is_price(text):
        return text
    if len(text) > MAX_NUMBER_CHARS or not _is_decimal(text):
        return None
    spelled = f"{EXACT.normalize(Decimal(text)):f}"
    return spelled if is_price(spelled) else None


@functools.lru_cache(maxsize=65_536)
def number(text: str) -> Decimal | None:
    """Return the decimal, 0 or more, that a text spells; None if it spells none."""
    spelled = plain(text)
    return None if spelled is None else Decimal(spelled)


def seconds(time: str) -> float | None:
    """Return an event time as seconds since the epoch; None if it is malformed."""
    if not _is_time(time):
        return None
    try:
        return datetime.fromisoformat(time).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def shifted(frame: bytes, clock: Callable[[float], float]) -> bytes:
    """Return a frame with its event time mapped by `clock`; unchanged if it has none."""
    found = _time_in(frame)
    event = seconds(found[1].decode("ascii", "replace")) if found else None
    if found is None or event is None:
        return frame
    text = iso(from_seconds(clock(event)), timespec="microseconds")
    return frame[: found.start(1)] + text.encode() + frame[found.end(1) :]
