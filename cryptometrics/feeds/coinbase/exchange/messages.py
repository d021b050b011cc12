"""Decode the frames of Coinbase Exchange, and encode subscriptions. Pure.

Only the type is required: the exchange adds and removes fields without notice.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from cryptometrics.feeds.coinbase import values
from cryptometrics.feeds.coinbase.values import UNREADABLE, BadFrameError, Level
from cryptometrics.market.tick_decoder import MAX_VALUE_BYTES
from cryptometrics.market.ticks import MAX_TRADE_ID

if TYPE_CHECKING:
    from collections.abc import Callable


_time_in = re.compile(rb'"time"\s*:\s*"([^"\\]{20,40})"').search
_is_book = re.compile(rb'"(?:snapshot|l2update)"').search


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
_read_status = msgspec.json.Decoder(_Status).decode


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
    except UNREADABLE as error:
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
        except UNREADABLE:
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
    return values.product_in(frame)


def products(frame: bytes) -> list[str]:
    """Return the ids of all products in a `status` frame."""
    try:
        return [product.id for product in _read_status(frame).products]
    except UNREADABLE:
        return []


def subscribed(frame: bytes, channels: tuple[str, ...]) -> set[str]:
    """Return the products that a `subscriptions` frame lists in all of these channels."""
    try:
        found = _read_subscriptions(frame).channels
    except UNREADABLE:
        return set()
    ids = {_ALIASES.get(channel.name, channel.name): set(channel.product_ids) for channel in found}
    return set.intersection(*(ids.get(name, set()) for name in channels))


def subscribe(pairs: list[str], channels: tuple[str, ...]) -> str:
    """Return the request to subscribe these products to these channels."""
    request = {"type": "subscribe", "product_ids": pairs, "channels": channels}
    return msgspec.json.encode(request).decode()


def shifted(frame: bytes, clock: Callable[[float], float]) -> bytes:
    """Return a frame with its event time mapped by `clock`; unchanged if it has none."""
    return values.shifted(frame, _time_in(frame), clock)
