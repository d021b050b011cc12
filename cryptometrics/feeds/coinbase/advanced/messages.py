"""Decode the frames of Coinbase Advanced Trade, and encode its requests and tickers. Pure.

A frame is an envelope with a number, a time and events. Only the channel and the number are required; the
documentation and the live feed disagree on the rest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from cryptometrics.feeds.coinbase import values
from cryptometrics.feeds.coinbase.values import UNREADABLE, BadFrameError, plain, product_in
from cryptometrics.market.tick_decoder import MAX_VALUE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptometrics.feeds.coinbase.values import Level

MAX_SEQUENCE = 2**63 - 1

BOOK_CHANNEL = "level2"
"""The channel of order books as it is subscribed; its frames call it `l2_data`."""

_time_in = re.compile(rb'"timestamp"\s*:\s*"([^"\\]{20,40})"').search
_sequence_in = re.compile(rb'"sequence_num"\s*:\s*"?([0-9]{1,19})\b').search
_is_book = re.compile(rb'"l2_data"').search
_SIDES = {"bid": "buy", "offer": "sell"}


class Envelope(msgspec.Struct):
    """What every frame has; `events` depends on the channel."""

    channel: str = ""
    type: str = ""
    """`error` if the exchange refuses a request; such a frame has no channel."""
    sequence_num: int | str | None = None
    timestamp: str = ""
    events: msgspec.Raw = msgspec.Raw(b"[]")


class Ticker(msgspec.Struct):
    """A pair's quote; the envelope has its time.

    The values stay as they are in JSON: `process` rejects with its reason what is not a price.
    """

    product_id: str
    best_bid: msgspec.Raw = msgspec.Raw()
    best_ask: msgspec.Raw = msgspec.Raw()
    best_bid_quantity: msgspec.Raw = msgspec.Raw()
    best_ask_quantity: msgspec.Raw = msgspec.Raw()
    price: msgspec.Raw = msgspec.Raw()


class _TickerEvent(msgspec.Struct):
    tickers: list[Ticker] = []


class _Change(msgspec.Struct):
    side: str
    price_level: str
    new_quantity: str


class BookEvent(msgspec.Struct):
    """A snapshot or an update of the order book of a product."""

    type: str
    product_id: str
    updates: list[_Change] = []

    def levels(self, side: str) -> list[Level]:
        """Return price and size of each level of a side, which is `bid` or `offer`."""
        return [(change.price_level, change.new_quantity) for change in self.updates if change.side == side]

    def changes(self) -> Iterator[Level]:
        """Yield side, price and size of each level."""
        for change in self.updates:
            yield _SIDES.get(change.side, change.side), change.price_level, change.new_quantity


class _SubscribedEvent(msgspec.Struct):
    subscriptions: dict[str, list[str]] = {}


class _StatusEvent(msgspec.Struct):
    class Product(msgspec.Struct):
        id: str

    products: list[Product] = []


_read_envelope = msgspec.json.Decoder(Envelope).decode
_read_tickers = msgspec.json.Decoder(list[_TickerEvent]).decode
_read_books = msgspec.json.Decoder(list[BookEvent]).decode
_read_subscriptions = msgspec.json.Decoder(list[_SubscribedEvent]).decode
_read_products = msgspec.json.Decoder(list[_StatusEvent]).decode
_read_text = msgspec.json.Decoder(str).decode


def decode(frame: bytes) -> Envelope:
    """Decode the envelope of a frame; raise BadFrameError if it is malformed."""
    try:
        return _read_envelope(frame)
    except UNREADABLE as error:
        raise BadFrameError(str(error), books_in(frame)) from None


def sequence(frame: bytes, envelope: Envelope | None) -> int | None:
    """Return the number of a frame, written as text or as a number; None if it has none.

    envelope: None if it could not be decoded: then the number is searched in the text.
    """
    if envelope is None:
        found = _sequence_in(frame)
        return int(found[1]) if found else None
    number = envelope.sequence_num
    if isinstance(number, str):
        number = int(number) if number.isascii() and number.isdigit() and len(number) < 20 else None
    return number if number is not None and 0 <= number <= MAX_SEQUENCE else None


def tickers(envelope: Envelope) -> Iterator[Ticker]:
    """Yield the tickers of a frame; raise BadFrameError if its events are malformed."""
    try:
        events = _read_tickers(envelope.events)
    except UNREADABLE as error:
        raise BadFrameError(str(error)) from None
    for event in events:
        yield from event.tickers


def books(frame: bytes, envelope: Envelope) -> list[BookEvent]:
    """Return the events of order books; raise BadFrameError if they are malformed."""
    try:
        return _read_books(envelope.events)
    except UNREADABLE as error:
        raise BadFrameError(str(error), product_in(frame)) from None


def books_in(frame: bytes) -> tuple[str, ...] | None:
    """Return the products of an unreadable frame if it is about order books; None if they are not legible."""
    return product_in(frame) if _is_book(frame) else ()


def subscribed(envelope: Envelope, channel: str) -> set[str] | None:
    """Return the products that are subscribed to a channel; None if the frame does not list it."""
    try:
        events = _read_subscriptions(envelope.events)
    except UNREADABLE:
        return None
    found = [event.subscriptions[channel] for event in events if channel in event.subscriptions]
    return set().union(*found) if found else None


def products(frame: bytes) -> list[str]:
    """Return the ids of all products in a frame of the channel `status`."""
    try:
        envelope = _read_envelope(frame)
        if envelope.channel != "status":
            return []
        return [product.id for event in _read_products(envelope.events) for product in event.products]
    except UNREADABLE:
        return []


def subscribe(channel: str, pairs: list[str]) -> str:
    """Return the request to subscribe products to a channel; each channel needs its own."""
    request: dict[str, object] = {"type": "subscribe", "channel": channel}
    if pairs:
        request["product_ids"] = pairs
    return msgspec.json.encode(request).decode()


def encode_ticker(ticker: Ticker, time: str, venue: str) -> bytes:
    """Return a ticker as a message of the topic; raise BadFrameError if it is too long for one.

    time: RFC 3339 without characters that JSON escapes.
    """
    fields = {
        "price": ticker.price,
        "best_bid": ticker.best_bid,
        "best_bid_size": ticker.best_bid_quantity,
        "best_ask": ticker.best_ask,
        "best_ask_size": ticker.best_ask_quantity,
    }
    numbers = b"".join(b'"%b":%b,' % (name.encode(), _plain(raw)) for name, raw in fields.items() if raw)
    head = f'{{"type":"ticker","product_id":"{ticker.product_id}",'.encode()
    message = head + numbers + f'"time":"{time}","venue":"{venue}"}}'.encode()
    if len(message) > MAX_VALUE_BYTES:
        raise BadFrameError(f"a ticker of {len(message)} bytes")
    return message


def text(raw: msgspec.Raw) -> str:
    """Return a JSON string; empty for any other value."""
    try:
        return _read_text(raw)
    except UNREADABLE:
        return ""


def _plain(raw: msgspec.Raw) -> bytes:
    """Return a value in the form of the topic: without an exponent if it is an exact decimal."""
    number = plain(text(raw))
    return bytes(raw) if number is None else b'"%b"' % number.encode()


def shifted(frame: bytes, clock: Callable[[float], float]) -> bytes:
    """Return a frame with the time of its envelope mapped by `clock`; unchanged if it has none."""
    return values.shifted(frame, _time_in(frame), clock)
