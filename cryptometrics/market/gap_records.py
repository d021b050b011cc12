"""Gap records: what a feed missed, in order with the ticks of the topic. Pure.

A gap record is a JSON message with `type` = `gap`; its key is the pair. It holds the time of the gap and the
exchange's numbers of the trades in it, not the missed data.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from cryptometrics.market.tick_decoder import MAX_VALUE_BYTES, Reason, RejectedError, why_no_venue
from cryptometrics.market.ticks import EARLIEST, MAX_AHEAD, MAX_TRADE_ID, is_pair
from cryptometrics.market.venues import DEFAULT_VENUE, is_venue
from cryptometrics.market.wire_fields import PairText, TimeText, TradeId, VenueText, allow, describe, is_time
from cryptometrics.times import iso

if TYPE_CHECKING:
    from collections.abc import Iterable


class GapKind(enum.StrEnum):
    """Why a feed missed something; the value is stored in `feed_gaps.kind`."""

    START = "start"
    """The feed starts; only the reader of the topic knows what came before."""
    MISSED = "missed"
    """The connection was up, but the exchange skipped trades."""
    DOWN = "down"
    """The connection broke."""
    SILENCE = "silence"
    """The connection was open, but nothing came."""
    UNREADABLE = "unreadable"
    """Data of the pair came that could not be read: an update of its book, or a part of a recording."""
    OVERFLOW = "overflow"
    """Kafka was unavailable for longer than the buffer lasts, so the feed stopped reading."""
    END = "end"
    """The feed stopped in an orderly way; its time is until when the pair was heard."""


_BOUNDS = {GapKind.START, GapKind.END}
"""Kinds that begin or end what a feed received; they have no begin of their own."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A period in which a feed missed a pair, and the trades of that period.

    first_trade_id, last_trade_id: the missed trades, both ends inclusive; both are None if there were none or
    none are known. For a `start`, the first is None: the trades after the last stored one, up to
    `last_trade_id`, are missed, and `last_trade_id` + 1 is the first one received.
    """

    pair: str
    kind: GapKind
    time: datetime
    """End, by the receiver's clock, in UTC."""
    begins: datetime | None
    """Begin; None for a `start` and an `end`."""
    first_trade_id: int | None = None
    last_trade_id: int | None = None
    proves: bool | None = None
    """Of a `start`: whether the feed can prove that it misses nothing that it sends; None if unknown."""
    venue: str = DEFAULT_VENUE

    @property
    def trades_missed(self) -> int | None:
        """Number of missed trades; None if it is not known."""
        if self.first_trade_id is not None and self.last_trade_id is not None:
            return self.last_trade_id - self.first_trade_id + 1
        # Other kinds interrupt a feed: if it knows of no missed trade, it goes on with the next one.
        return None if self.kind in {GapKind.START, GapKind.MISSED} else 0

    @property
    def seconds(self) -> float | None:
        """Length in seconds; None for a `start` and an `end`."""
        return None if self.begins is None else (self.time - self.begins).total_seconds()


class WireGap(msgspec.Struct, omit_defaults=True):
    """A period in which a feed missed a pair, in order with the ticks of the topic."""

    type: Annotated[str, allow(const="gap")]
    product_id: PairText
    kind: Annotated[
        str,
        allow(enum=[str(kind) for kind in GapKind]),
        describe("Why the feed missed something; start and end begin and end what it received."),
    ]
    time: Annotated[TimeText, describe("End of the gap, by the receiver's clock.")]
    begins: Annotated[TimeText | None, describe("Begin of the gap, not after its end.")] = None
    first_trade_id: Annotated[TradeId | None, describe("The first missed trade.")] = None
    last_trade_id: Annotated[
        TradeId | None, describe("The last missed trade; of a start, the one before the first received.")
    ] = None
    proves: Annotated[
        bool | None, describe("Of a start: whether the feed can prove that it misses nothing that it sends.")
    ] = None
    venue: VenueText = DEFAULT_VENUE


class _Type(msgspec.Struct):
    type: str


_read_type = msgspec.json.Decoder(_Type).decode
_read_wire = msgspec.json.Decoder(WireGap).decode
_write_wire = msgspec.json.Encoder().encode


def encode(gap: Gap) -> tuple[bytes, bytes]:
    """Return a gap as key and value of a Kafka record."""
    begins = None if gap.begins is None else _text(gap.begins)
    wire = WireGap(
        "gap", gap.pair, gap.kind, _text(gap.time), begins, gap.first_trade_id, gap.last_trade_id,
        gap.proves, gap.venue,
    )  # fmt: skip
    return gap.pair.encode(), _write_wire(wire)


def decode(key: bytes | None, value: bytes | None, now: datetime, error: RejectedError) -> Gap:
    """Decode a message that is not a tick as a gap.

    now: the time of reading, with a zone. error: why the message is not a tick.
    Raises RejectedError: `error` itself if the message is not a gap either, else what is wrong with the gap.
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
        raise error from None  # the message is not valid JSON after the type
    if not is_pair(wire.product_id):
        raise RejectedError(Reason.BAD_PAIR, "product_id of the gap is not of the form BASE-QUOTE")
    if key != wire.product_id.encode():
        raise RejectedError(Reason.KEY_MISMATCH, f"the record's key is not the gap's pair {wire.product_id}")
    if not is_venue(wire.venue):
        raise why_no_venue(wire.venue)
    time = _time(wire.time, now)
    begins = None if wire.begins is None else _time(wire.begins, now)
    _check(wire, time, begins)
    trades = wire.first_trade_id, wire.last_trade_id
    return Gap(wire.product_id, GapKind(wire.kind), time, begins, *trades, wire.proves, wire.venue)


def _check(wire: WireGap, time: datetime, begins: datetime | None) -> None:
    first, last = wire.first_trade_id, wire.last_trade_id
    problem = ""
    if wire.kind not in GapKind.__members__.values():
        problem = "its kind is unknown"
    elif any(number is not None and not 0 <= number <= MAX_TRADE_ID for number in (first, last)):
        problem = "a trade id is not from 0 to 2^63 - 2"
    elif wire.proves is not None and wire.kind != GapKind.START:
        problem = "only a start says whether the feed proves its data"
    elif wire.kind in _BOUNDS:
        if first is not None or begins is not None:
            problem = "it has a begin, which only the reader knows"
        elif wire.kind == GapKind.END and last is not None:
            problem = "an end has a trade"
    elif begins is None or begins > time:
        problem = "it has no begin, or one after its end"
    elif (first is None) != (last is None) or (first is not None and last is not None and first > last):
        problem = "its trade ids are not a range"
    if problem:
        raise RejectedError(Reason.BAD_GAP, f"gap: {problem}")


def _kind_is(*kinds: GapKind) -> dict[str, Any]:
    return {"properties": {"kind": {"enum": [str(kind) for kind in kinds]}}, "required": ["kind"]}


def _typed(name: str, *fields: str) -> dict[str, Any]:
    return {"properties": {field: {"type": name} for field in fields}}


RULES_OF_KINDS: list[dict[str, Any]] = [
    {"if": _kind_is(GapKind.START), "then": _typed("null", "begins", "first_trade_id")},
    {
        "if": _kind_is(GapKind.END),
        "then": _typed("null", "begins", "first_trade_id", "last_trade_id", "proves"),
    },
    {
        "if": _kind_is(*(kind for kind in GapKind if kind not in _BOUNDS)),
        "then": {
            "required": ["begins"],
            "allOf": [_typed("string", "begins"), _typed("null", "proves")],
            "oneOf": [
                _typed("null", "first_trade_id", "last_trade_id"),
                {
                    "required": ["first_trade_id", "last_trade_id"],
                    **_typed("integer", "first_trade_id", "last_trade_id"),
                },
            ],
        },
    },
]
"""Which fields each kind has, as JSON Schema: what `_check` demands, as far as a schema can say it."""


def _time(text: str, now: datetime) -> datetime:
    if not is_time(text):
        raise RejectedError(Reason.BAD_TIME, "a time of the gap is not RFC 3339 with a zone")
    try:
        time = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise RejectedError(Reason.BAD_TIME, "a time of the gap does not exist") from None
    if not EARLIEST <= time <= now + MAX_AHEAD:
        raise RejectedError(
            Reason.IMPLAUSIBLE_TIME, "a time of the gap is before 2009 or more than a day ahead"
        )
    return time


def _text(time: datetime) -> str:
    return iso(time, timespec="microseconds")


def as_fields(gaps: Iterable[Gap]) -> list[dict[str, Any]]:
    """Return gaps for JSON, with the names of the columns of `feed_gaps`."""
    return [
        {
            "venue": gap.venue,
            "pair": gap.pair,
            "kind": str(gap.kind),
            "begins_at": None if gap.begins is None else _text(gap.begins),
            "ends_at": _text(gap.time),
            "first_trade_id": gap.first_trade_id,
            "last_trade_id": gap.last_trade_id,
            "trades_missed": gap.trades_missed,
            "proves": gap.proves,
        }
        for gap in gaps
    ]
