"""Values in Coinbase's frames, and the errors that its feeds share. Pure.

Numbers are exact: they are read from the text of the wire into the form of the topic.
"""

from __future__ import annotations

import functools
import re
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from cryptometrics.market.ticks import EXACT, is_price
from cryptometrics.times import from_seconds, iso

if TYPE_CHECKING:
    from collections.abc import Callable

Level = tuple[str, ...]
"""A level of an order book: price and size; a change has its side before them."""

MAX_NUMBER_CHARS = 60
"""Length of a number; whatever fits into the topic's format is shorter."""

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Errors of a frame that is not the JSON that it should be."""

_is_decimal = re.compile(r"\+?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?").fullmatch
_is_time = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,32}(?:Z|[+-][0-9]{2}:[0-9]{2})").fullmatch
_product_in = re.compile(rb'"product_id"\s*:\s*"([A-Z0-9-]{3,41})"').search


class BadFrameError(Exception):
    """A frame violates the protocol: it is ignored and counted.

    books: the products whose order book it may have changed, so that theirs is no longer known; None means
    all products.
    """

    def __init__(self, reason: str, books: tuple[str, ...] | None = ()) -> None:
        super().__init__(reason)
        self.books = books


class Refusal(msgspec.Struct):
    """An `error` frame: the exchange refused a request."""

    message: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.message}: {self.reason}" if self.reason else self.message or "no reason given"


_read_refusal = msgspec.json.Decoder(Refusal).decode


def refusal(frame: bytes) -> Refusal:
    """Decode an `error` frame."""
    try:
        return _read_refusal(frame)
    except UNREADABLE:
        return Refusal(frame[:200].decode("utf-8", "backslashreplace"))


def product_in(frame: bytes) -> tuple[str, ...] | None:
    """Return the product that an unreadable frame names; None if none is legible."""
    found = _product_in(frame)
    return (found[1].decode("ascii", "replace"),) if found else None


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


def shifted(frame: bytes, event_time: re.Match[bytes] | None, clock: Callable[[float], float]) -> bytes:
    """Return a frame with its event time, the first group of the match, mapped by `clock`.

    The frame is unchanged if it has no valid time.
    """
    event = seconds(event_time[1].decode("ascii", "replace")) if event_time else None
    if event_time is None or event is None:
        return frame
    text = iso(from_seconds(clock(event)), timespec="microseconds")
    return frame[: event_time.start(1)] + text.encode() + frame[event_time.end(1) :]
