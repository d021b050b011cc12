"""What a feed did not hear: the gap record, which goes down the topic in order with the ticks.

A gap is one message of the topic, JSON with `type` = `gap`, its key the pair. Nothing that was lost is in it,
only when it was, and which trades the exchange numbered meanwhile. Pure.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from cryptometrics.market.tick_decoder import (
    EARLIEST,
    FURTHEST_AHEAD,
    MAX_VALUE_BYTES,
    MOST_TRADES,
    Reason,
    RejectedError,
    is_pair,
)
from cryptometrics.times import iso

if TYPE_CHECKING:
    from collections.abc import Iterable


class Kind(enum.StrEnum):
    """Why a feed did not hear something; the value is what stands in `feed_gaps.kind`."""

    START = "start"
    """The feed begins; what was before, only the reader of the topic knows."""
    MISSED = "missed"
    """The connection was up, but the exchange left trades out."""
    DOWN = "down"
    """The connection broke."""
    SILENCE = "silence"
    """The connection was open, but nothing came."""
    OVERFLOW = "overflow"
    """Kafka was away for longer than the buffer lasts, so the reading stopped."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which a pair was not heard, and the trades of that time.

    first_trade_id, last_trade_id: the trades that were missed, both ends included; both None where none were,
    or none are known of. Of a `start` the first is None: the trades from the one after the last stored up to
    `last_trade_id` are missed, and `last_trade_id` + 1 is the first one heard.
    """

    pair: str
    kind: Kind
    time: datetime
    """When it ended, by the receiver's clock, in UTC."""
    begins: datetime | None
    """When it began; None of a `start`."""
    first_trade_id: int | None = None
    last_trade_id: int | None = None

    @property
    def trades_missed(self) -> int | None:
        """How many trades were missed; None where that is not known."""
        if self.first_trade_id is not None and self.last_trade_id is not None:
            return self.last_trade_id - self.first_trade_id + 1
        return None if self.kind is Kind.START else 0

    @property
    def seconds(self) -> float | None:
        """How long it was."""
        return None if self.begins is None else (self.time - self.begins).total_seconds()


class _Wire(msgspec.Struct, omit_defaults=True):
    """A gap as it is on the topic."""

    type: str
    product_id: str
    kind: str
    time: str
    begins: str | None = None
    first_trade_id: int | None = None
    last_trade_id: int | None = None


class _Type(msgspec.Struct):
    type: str


_read_type = msgspec.json.Decoder(_Type).decode
_read_wire = msgspec.json.Decoder(_Wire).decode
_write_wire = msgspec.json.Encoder().encode


def encode(gap: Gap) -> tuple[bytes, bytes]:
    """Return a gap as key and value of a record of the topic."""
    begins = None if gap.begins is None else _text(gap.begins)
    wire = _Wire(
        "gap", gap.pair, gap.kind, _text(gap.time), begins, gap.first_trade_id, gap.last_trade_id
    )  # fmt: skip
    return gap.pair.encode(), _write_wire(wire)


def decode(key: bytes | None, value: bytes | None, now: datetime, error: RejectedError) -> Gap:
    """Return the gap in a message that is no tick.

    now: the time of reading, with its zone. error: why it is no tick.
    Raises RejectedError: `error` itself where the message is no gap either, else what is wrong with the gap.
    """
    if value is None or len(value) > MAX_VALUE_BYTES:
        raise error
    try:
        is_gap = _read_type(value).type == "gap"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        is_gap = False
    if not is_gap:
        raise error
    try:
        wire = _read_wire(value)
    except msgspec.ValidationError as problem:
        text = str(problem)
        missing = "missing required field" in text
        raise RejectedError(Reason.MISSING_FIELD if missing else Reason.WRONG_TYPE, f"gap: {text}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise error from None  # what is after the type is no JSON
    if not is_pair(wire.product_id):
        raise RejectedError(Reason.BAD_PAIR, "product_id of the gap is not of the form BASE-QUOTE")
    if key != wire.product_id.encode():
        raise RejectedError(Reason.KEY_MISMATCH, f"the record's key is not the gap's pair {wire.product_id}")
    time = _time(wire.time, now)
    begins = None if wire.begins is None else _time(wire.begins, now)
    _check(wire, time, begins)
    return Gap(
        wire.product_id, Kind(wire.kind), time, begins, wire.first_trade_id, wire.last_trade_id
    )  # fmt: skip


def _check(wire: _Wire, time: datetime, begins: datetime | None) -> None:
    first, last = wire.first_trade_id, wire.last_trade_id
    problem = ""
    if wire.kind not in Kind.__members__.values():
        problem = "its kind is unknown"
    elif any(number is not None and not 0 <= number < MOST_TRADES for number in (first, last)):
        problem = "a trade id is not from 0 to 2^63 - 2"
    elif wire.kind == Kind.START:
        if first is not None or begins is not None:
            problem = "a start says where it begins, which only the reader knows"
    elif begins is None or begins > time:
        problem = "it begins nowhere, or after its end"
    elif (first is None) != (last is None) or (first is not None and last is not None and first > last):
        problem = "its trade ids are no range"
    if problem:
        raise RejectedError(Reason.BAD_GAP, f"gap: {problem}")


def _time(text: str, now: datetime) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        has_zone, time = time.tzinfo is not None, time.astimezone(UTC)
    except (ValueError, OverflowError):
        has_zone = False
    if not has_zone:
        raise RejectedError(Reason.BAD_TIME, "a time of the gap is not RFC 3339 with a zone")
    if not EARLIEST <= time <= now + FURTHEST_AHEAD:
        raise RejectedError(
            Reason.IMPLAUSIBLE_TIME, "a time of the gap is before 2009 or more than a day ahead"
        )
    return time


def _text(time: datetime) -> str:
    return iso(time, timespec="microseconds")


def as_fields(gaps: Iterable[Gap]) -> list[dict[str, Any]]:
    """Return gaps for JSON, named like the columns of `feed_gaps`."""
    return [
        {
            "pair": gap.pair,
            "kind": str(gap.kind),
            "begins_at": None if gap.begins is None else _text(gap.begins),
            "ends_at": _text(gap.time),
            "first_trade_id": gap.first_trade_id,
            "last_trade_id": gap.last_trade_id,
            "trades_missed": gap.trades_missed,
        }
        for gap in gaps
    ]
