"""The wire format: what a tick is, how it is decoded, and every reason for which one is rejected.

A tick is one message of the topic: JSON in the shape of Coinbase Exchange's `ticker` message, its key
the pair. Prices stay exact: `Decimal` from the wire's text, never a float.
"""

from __future__ import annotations

import decimal
import enum
import functools
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from cryptometrics.text import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_VALUE_BYTES = 64 * 1024
"""A longer message is rejected unread; a ticker takes some 400 bytes."""
INTEGER_DIGITS, FRACTION_DIGITS = 20, 18
"""Digits a price may have before and after the point."""
LONGEST_PRICE = INTEGER_DIGITS + 1 + FRACTION_DIGITS
LONGEST_PAIR = 41
"""Characters. What is longer is none, and is not remembered: a sender could fill the memory with it."""
MOST_TRADES = 2**63 - 1
"""A trade id is below it, so that the range it ends fits into PostgreSQL's bigint."""
EARLIEST = datetime(2009, 1, 1, tzinfo=UTC)
"""No crypto market is older."""
FURTHEST_AHEAD = timedelta(days=1)
"""How far the exchange's clock may be ahead of ours."""

EXACT = decimal.Context(
    prec=2 * (INTEGER_DIGITS + FRACTION_DIGITS), traps=[decimal.Inexact, decimal.InvalidOperation]
)
"""The context of all price arithmetic: wide enough for any sum here, and rounding is an error."""

PAIR_PATTERN = r"[A-Z0-9]{1,20}-[A-Z0-9]{1,20}"
is_pair = re.compile(PAIR_PATTERN).fullmatch
is_price = re.compile(rf"[0-9]{{1,{INTEGER_DIGITS}}}(?:\.[0-9]{{1,{FRACTION_DIGITS}}})?").fullmatch
_is_time = re.compile(
    # Hour 24 is left out: newer Pythons take it for the next day, which is not the day that stands there.
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,12})?"
    r"(?:Z|[+-][0-9]{2}:[0-9]{2})"
).fullmatch

Kind = Literal["ticker", "quote"]
"""`ticker`: the quote beside a trade; `quote`: rebuilt from the order book."""
_KINDS: dict[str, Kind] = {"ticker": "ticker", "quote": "quote"}


class Reason(enum.StrEnum):
    """Why a tick is rejected; the value is what stands in `rejected_ticks.reason`."""

    NO_VALUE = "no_value"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    NOT_OBJECT = "not_object"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_TYPE = "unknown_type"
    BAD_PAIR = "bad_pair"
    KEY_MISMATCH = "key_mismatch"
    BAD_PRICE = "bad_price"
    CROSSED_QUOTE = "crossed_quote"
    BAD_TIME = "bad_time"
    IMPLAUSIBLE_TIME = "implausible_time"
    BAD_GAP = "bad_gap"
    REFUSED = "refused_by_postgres"


class RejectedError(Exception):
    """A message is no valid tick; carries the reason and a detail that a person can read."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def bare(self) -> Self:
        """Return it without the frames that it came through: they would hold whole batches, in circles."""
        self.__traceback__ = self.__context__ = None
        return self


class Tick(msgspec.Struct, gc=False):
    """One valid quote. Prices are in the quote currency; `time` is the exchange's, in UTC."""

    pair: str
    kind: Kind
    bid: Decimal
    ask: Decimal
    time: datetime
    trade_id: int | None


class Read(msgspec.Struct, gc=False):
    """A tick and the texts of its prices as the message has them."""

    tick: Tick
    bid_text: str
    ask_text: str


class _Wire(msgspec.Struct, gc=False):
    """The fields that are read; all others are let through unread."""

    type: str
    product_id: str
    best_bid: str
    best_ask: str
    time: str
    trade_id: int | None = None


_read_wire = msgspec.json.Decoder(_Wire).decode


def decode(key: bytes | None, value: bytes | None, now: datetime) -> Tick:
    """Return the tick in a message, or raise RejectedError with the first reason against it.

    now: the time of reading, with its zone; a tick may be a day ahead of it at most.
    """
    return read(key, value, now).tick


def read(key: bytes | None, value: bytes | None, now: datetime) -> Read:
    """Return the same with the texts of the prices."""
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
    if pair != pairs_in([key])[0]:
        raise _why_no_pair(key, pair)
    bid = _price(wire.best_bid) if len(wire.best_bid) <= LONGEST_PRICE else None
    ask = _price(wire.best_ask) if len(wire.best_ask) <= LONGEST_PRICE else None
    if bid is None or ask is None:
        raise _why_no_price(*(("best_ask", wire.best_ask) if bid else ("best_bid", wire.best_bid)))
    if bid > ask:
        raise RejectedError(Reason.CROSSED_QUOTE, f"bid {wire.best_bid} is above ask {wire.best_ask}")
    time = _time(wire.time, now)
    trade_id = wire.trade_id
    if trade_id is not None and not 0 <= trade_id < MOST_TRADES:
        raise RejectedError(Reason.WRONG_TYPE, "trade_id is not a whole number from 0 to 2^63 - 2")
    return Read(Tick(pair, kind, bid, ask, time, trade_id), wire.best_bid, wire.best_ask)


def pairs_in(keys: Sequence[bytes | None]) -> list[str | None]:
    """Return the pair that each record's key is, None where it is none."""
    if max(map(len, filter(None, keys)), default=0) > LONGEST_PAIR:
        keys = [key if len(key or b"") <= LONGEST_PAIR else None for key in keys]
    return list(map(_pair_in, keys))


# Keys come again and again, so to remember them is faster than to look at them anew.
@functools.lru_cache(maxsize=4096)
def _pair_in(key: bytes | None) -> str | None:
    try:
        text = (key or b"").decode()
    except UnicodeDecodeError:
        return None
    return text if is_pair(text) else None


def _price(text: str) -> Decimal | None:
    """Return the price that a text is, None where it is none."""
    # Decimal takes more than a price may be: " 1\n", "1_000", "NaN", full-width digits.
    return (Decimal(text) or None) if is_price(text) else None


def _why_no_pair(key: bytes | None, pair: str) -> RejectedError:
    if not is_pair(pair):
        return RejectedError(Reason.BAD_PAIR, f"product_id {_shown(pair)} is not of the form BASE-QUOTE")
    return RejectedError(Reason.KEY_MISMATCH, f"the record's key {_shown(key)} is not the pair {pair}")


def _why_no_price(field: str, text: str) -> RejectedError:
    return RejectedError(
        Reason.BAD_PRICE,
        f"{field} {_shown(text)} is not a positive decimal of at most {INTEGER_DIGITS} digits before "
        f"and {FRACTION_DIGITS} after the point",
    )


def _time(text: str, now: datetime) -> datetime:
    """Return the time in UTC, cut to microseconds: rounding could reach tomorrow."""
    if not _is_time(text):
        raise RejectedError(Reason.BAD_TIME, f"time {_shown(text)} is not RFC 3339 with a zone")
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is not UTC:
            time = time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise RejectedError(Reason.BAD_TIME, f"time {_shown(text)} does not exist") from None
    if not (EARLIEST <= time <= now or now < time <= now + FURTHEST_AHEAD):
        side = "before 2009" if time < EARLIEST else "more than a day ahead"
        raise RejectedError(Reason.IMPLAUSIBLE_TIME, f"time {text} is {side}")
    return time


def _why_unreadable(value: bytes, error: Exception) -> RejectedError:
    """Tell apart what the fast decoder lumps together; only bad messages come here."""
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
    """Return what an unknown sender sent, short and without control characters."""
    if what is None:
        return "(none)"
    text = what.decode("utf-8", "backslashreplace") if isinstance(what, bytes) else what
    text = text if len(text) <= 80 else text[:77] + "…"
    safe = escape(text)
    return f'"{safe}"' if quote else safe
