"""Messages into columns of ticks, and the reasons against those that are none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
import numpy as np

from cryptometrics.market import text_columns, tick_decoder
from cryptometrics.market.tick_decoder import Kind, RejectedError, Tick
from cryptometrics.times import EPOCH, MICROSECOND, to_microseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptometrics.market.text_columns import Flags, Ints

_T = TypeVar("_T")
_EARLIEST_US = to_microseconds(tick_decoder.EARLIEST)
_FURTHEST_AHEAD_US = tick_decoder.FURTHEST_AHEAD // MICROSECOND
_AT_ONCE = 1000
NO_TRADE = -1
"""In a column of trade ids: the tick has none."""


@dataclass(slots=True)
class Columns:
    """Valid ticks in the order of their messages: the fields of `ticks.Tick`, a column each."""

    index: Ints
    """Which message each tick was."""
    pair: list[str]
    kind: list[Kind]
    bid_text: list[str]
    ask_text: list[str]
    bid: Ints
    """The digits of the price, without its point; `bid_places` of them stand after it."""
    bid_places: Ints
    ask: Ints
    ask_places: Ints
    is_wide: Flags
    """Prices with more digits than fit into 64 bits: only their texts are right."""
    time: Ints
    """Microseconds since 1970 UTC."""
    trade_id: Ints
    """NO_TRADE where there is none."""

    def __len__(self) -> int:
        return len(self.pair)

    def only(self, keep: Flags) -> Columns:
        """Return the ticks for which `keep` is true."""
        left_out = np.flatnonzero(~keep).tolist()
        return Columns(
            self.index[keep],
            _without(self.pair, left_out),
            _without(self.kind, left_out),
            _without(self.bid_text, left_out),
            _without(self.ask_text, left_out),
            self.bid[keep],
            self.bid_places[keep],
            self.ask[keep],
            self.ask_places[keep],
            self.is_wide[keep],
            self.time[keep],
            self.trade_id[keep],
        )

    def tick(self, place: int) -> Tick:
        """Return one tick by itself."""
        trade_id = int(self.trade_id[place])
        return Tick(
            self.pair[place],
            self.kind[place],
            Decimal(self.bid_text[place]),
            Decimal(self.ask_text[place]),
            moment(int(self.time[place])),
            None if trade_id == NO_TRADE else trade_id,
        )


class _Plain(msgspec.Struct, gc=False):
    """A message with nothing unusual in it; all other fields are let through unread."""

    type: Kind
    product_id: str
    best_bid: str
    best_ask: str
    time: str
    trade_id: Annotated[int, msgspec.Meta(ge=0, lt=tick_decoder.MOST_TRADES)] | None = None


_read = msgspec.json.Decoder(_Plain).decode
_UNREAD = _Plain("ticker", "", "", "", "")
"""Stands in the column for a message that is not plain: each of its texts is odd."""


def moment(microseconds: int) -> datetime:
    """Return a time in a column as a datetime in UTC."""
    return EPOCH + timedelta(microseconds=microseconds)


def decode(
    keys: Sequence[bytes | None], values: Sequence[bytes | None], now: datetime
) -> tuple[Columns, dict[int, RejectedError]]:
    """Return the ticks in the messages, and by its index why a message is none.

    The same as `ticks.decode` of each message.
    """
    kind: list[Kind] = []
    named: list[str] = []
    bid_text: list[str] = []
    ask_text: list[str] = []
    time_text: list[str] = []
    trade_ids: list[int | None] = []
    # Some at a time: what is read of them is taken apart while it is still in the processor's cache.
    for begin in range(0, len(values), _AT_ONCE):
        wires = _wires(values[begin : begin + _AT_ONCE])
        kind += [wire.type for wire in wires]
        named += [wire.product_id for wire in wires]
        bid_text += [wire.best_bid for wire in wires]
        ask_text += [wire.best_ask for wire in wires]
        time_text += [wire.time for wire in wires]
        trade_ids += [wire.trade_id for wire in wires]
    pair = tick_decoder.pairs_in(keys)
    bid, bid_places, bid_odd = text_columns.prices(bid_text)
    ask, ask_places, ask_odd = text_columns.prices(ask_text)
    time, time_odd = text_columns.times(time_text)
    if None in trade_ids:
        trade_ids = [NO_TRADE if trade_id is None else trade_id for trade_id in trade_ids]
    now_us = to_microseconds(now)
    odd = bid_odd | ask_odd | time_odd | (time < _EARLIEST_US) | (time > now_us + _FURTHEST_AHEAD_US)
    if pair != named:
        odd |= np.array([one != other for one, other in zip(pair, named, strict=True)])
    columns = Columns(
        index=np.arange(len(values)),
        pair=pair,  # type: ignore[arg-type]  # None is not equal to a name, and goes with what is odd
        kind=kind,
        bid_text=bid_text,
        ask_text=ask_text,
        bid=bid,
        bid_places=bid_places,
        ask=ask,
        ask_places=ask_places,
        is_wide=np.zeros(len(values), np.bool_),
        time=time,
        trade_id=np.array(trade_ids, np.int64),
    )
    odd |= _crossed(columns)
    rejected: dict[int, RejectedError] = {}
    for place in np.flatnonzero(odd).tolist():
        try:
            _put(columns, place, tick_decoder.read(keys[place], values[place], now))
        except RejectedError as error:
            rejected[place] = error.bare()
    if rejected:
        keep = np.ones(len(columns), np.bool_)
        keep[list(rejected)] = False
        columns = columns.only(keep)
    return columns, rejected


def _without(column: list[_T], places: Sequence[int]) -> list[_T]:
    """Return a column without some places, which rise; few as a rule: what is between them goes at once."""
    kept: list[_T] = []
    begin = 0
    for place in places:
        kept += column[begin:place]
        begin = place + 1
    return kept + column[begin:]


def _wires(values: Sequence[bytes | None]) -> list[_Plain]:
    if None in values or max(map(len, values), default=0) > tick_decoder.MAX_VALUE_BYTES:  # type: ignore[arg-type]
        values = [v if v is not None and len(v) <= tick_decoder.MAX_VALUE_BYTES else b"" for v in values]
    wires: list[_Plain] = []
    unread = iter(values)
    while len(wires) < len(values):
        try:
            wires.extend(map(_read, unread))  # type: ignore[arg-type]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            wires.append(_UNREAD)  # for the one that it stopped at; those before it are there
    return wires


def _crossed(columns: Columns) -> Flags:
    """Return where the bid is above the ask, or may be: numbers that cannot be compared count as crossed."""
    bid, ask = columns.bid, columns.ask
    shift = columns.bid_places - columns.ask_places
    if not shift.any():
        return bid > ask
    # The one with fewer digits after the point gets zeros, as long as they fit.
    most = 10 ** (text_columns.LONGEST_PRICE - np.minimum(np.abs(shift), text_columns.LONGEST_PRICE))
    fits = np.where(shift > 0, ask, bid) <= most
    scale = 10 ** np.where(fits, np.abs(shift), 0)
    crossed: Flags = (bid * np.where(shift < 0, scale, 1) > ask * np.where(shift > 0, scale, 1)) | ~fits
    return crossed


def _put(columns: Columns, place: int, wire: tick_decoder.Read) -> None:
    """Put a tick in whose message was not plain."""
    tick = wire.tick
    columns.pair[place], columns.kind[place] = tick.pair, tick.kind
    columns.bid_text[place], columns.ask_text[place] = wire.bid_text, wire.ask_text
    columns.time[place] = to_microseconds(tick.time)
    columns.trade_id[place] = NO_TRADE if tick.trade_id is None else tick.trade_id
    (bid, ask), (bid_places, ask_places), odd = text_columns.prices([wire.bid_text, wire.ask_text])
    columns.is_wide[place] = odd.any()
    columns.bid[place], columns.bid_places[place] = bid, bid_places
    columns.ask[place], columns.ask_places[place] = ask, ask_places
