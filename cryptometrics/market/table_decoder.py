"""Decode a batch of messages into a `TickTable`, and say why the others are rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np

from cryptometrics.market import text_columns, tick_decoder
from cryptometrics.market.table import NO_TRADE, TickTable
from cryptometrics.market.tick_decoder import MAX_VALUE_BYTES, RejectedError
from cryptometrics.market.ticks import EARLIEST, MAX_AHEAD, MAX_TRADE_ID, Kind
from cryptometrics.market.venues import DEFAULT_VENUE, is_venue
from cryptometrics.times import MICROSECOND, to_microseconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptometrics.market.text_columns import Flags, Ints

_EARLIEST_US = to_microseconds(EARLIEST)
_MAX_AHEAD_US = MAX_AHEAD // MICROSECOND
_AT_ONCE = 1000


class _Plain(msgspec.Struct, gc=False):
    """The fields of a message in the usual form; all other fields are skipped."""

    type: Kind
    product_id: str
    best_bid: str
    best_ask: str
    time: str
    trade_id: Annotated[int, msgspec.Meta(ge=0, le=MAX_TRADE_ID)] | None = None
    best_bid_size: str = ""
    best_ask_size: str = ""
    price: str = ""
    last_size: str = ""
    side: Literal["buy", "sell", ""] = ""
    venue: str = DEFAULT_VENUE


_read = msgspec.json.Decoder(_Plain).decode
_UNREAD = _Plain("ticker", "", "", "", "")
"""The placeholder of a message in another form: all its texts count as odd."""


def decode(
    keys: Sequence[bytes | None],
    values: Sequence[bytes | None],
    partitions: Ints,
    offsets: Ints,
    now: datetime,
) -> tuple[TickTable, dict[int, RejectedError]]:
    """Return the ticks of some records, and the reason against each other record by its index.

    The result is what `tick_decoder.decode` says of each record by itself.

    keys, values, partitions, offsets: of the records, in the order of the topic.
    now: the time of reading, with its zone; a tick may be a day ahead of it at most.
    """
    kind: list[Kind] = []
    named: list[str] = []
    venue: list[str] = []
    bid_text: list[str] = []
    ask_text: list[str] = []
    time_text: list[str] = []
    trade_ids: list[int | None] = []
    bid_size_text: list[str] = []
    ask_size_text: list[str] = []
    trade_price_text: list[str] = []
    trade_size_text: list[str] = []
    is_buy: list[bool] = []
    # In small blocks: the decoded structs are taken apart while they are still in the processor's cache.
    for begin in range(0, len(values), _AT_ONCE):
        wires = _wires(values[begin : begin + _AT_ONCE])
        kind += [wire.type for wire in wires]
        named += [wire.product_id for wire in wires]
        venue += [wire.venue for wire in wires]
        bid_text += [wire.best_bid for wire in wires]
        ask_text += [wire.best_ask for wire in wires]
        time_text += [wire.time for wire in wires]
        trade_ids += [wire.trade_id for wire in wires]
        bid_size_text += [wire.best_bid_size for wire in wires]
        ask_size_text += [wire.best_ask_size for wire in wires]
        trade_price_text += [wire.price for wire in wires]
        trade_size_text += [wire.last_size for wire in wires]
        is_buy += [wire.side == "buy" for wire in wires]
    pair = tick_decoder.pairs_in(keys)
    bid, bid_places, bid_odd = text_columns.prices(bid_text)
    ask, ask_places, ask_odd = text_columns.prices(ask_text)
    bid_size, bid_size_places, bid_size_odd = text_columns.optional(bid_size_text)
    ask_size, ask_size_places, ask_size_odd = text_columns.optional(ask_size_text)
    trade_price, trade_price_places, trade_price_odd = text_columns.optional(trade_price_text)
    trade_size, trade_size_places, trade_size_odd = text_columns.optional(trade_size_text)
    time, time_odd = text_columns.times(time_text)
    now_us = to_microseconds(now)
    odd = bid_odd | ask_odd | bid_size_odd | ask_size_odd | trade_price_odd | trade_size_odd | time_odd
    odd |= (time < _EARLIEST_US) | (time > now_us + _MAX_AHEAD_US)
    odd |= _misnamed(pair, named, venue)
    table = TickTable(
        message=np.arange(len(values)),
        partition=partitions,
        offset=offsets,
        pair=pair,  # type: ignore[arg-type]  # None differs from any name, so the row is decoded alone below
        venue=venue,
        kind=kind,
        bid_text=bid_text,
        ask_text=ask_text,
        bid=bid,
        bid_places=bid_places,
        ask=ask,
        ask_places=ask_places,
        bid_size_text=bid_size_text,
        ask_size_text=ask_size_text,
        bid_size=bid_size,
        bid_size_places=bid_size_places,
        ask_size=ask_size,
        ask_size_places=ask_size_places,
        trade_price_text=trade_price_text,
        trade_size_text=trade_size_text,
        trade_price=trade_price,
        trade_price_places=trade_price_places,
        trade_size=trade_size,
        trade_size_places=trade_size_places,
        is_buy=np.array(is_buy, np.bool_),
        is_wide=np.zeros(len(values), np.bool_),
        time=time,
        trade_id=_trade_id_column(trade_ids),
        late=np.zeros(len(values), np.bool_),
        duplicate=np.zeros(len(values), np.bool_),
    )
    _clear_trades(table)
    odd |= _crossed(table)
    rejected: dict[int, RejectedError] = {}
    for row in np.flatnonzero(odd).tolist():
        try:
            _put(table, row, tick_decoder.read(keys[row], values[row], now))
        except RejectedError as error:
            rejected[row] = error.bare()
    if rejected:
        keep = np.ones(len(table), np.bool_)
        keep[list(rejected)] = False
        table = table.only(keep)
    return table, rejected


def _trade_id_column(trade_ids: list[int | None]) -> Ints:
    if None in trade_ids:
        trade_ids = [NO_TRADE if trade_id is None else trade_id for trade_id in trade_ids]
    return np.array(trade_ids, np.int64)


def _clear_trades(table: TickTable) -> None:
    """Set the trade's size to 0 where there is no trade: without price or size, and in a quote."""
    none = (table.trade_price <= 0) | (table.trade_size <= 0)
    if "quote" in table.kind:
        none |= np.array([kind == "quote" for kind in table.kind])
    table.trade_size[none] = 0


def _wires(values: Sequence[bytes | None]) -> list[_Plain]:
    if None in values or max(map(len, values), default=0) > MAX_VALUE_BYTES:  # type: ignore[arg-type]
        values = [v if v is not None and len(v) <= MAX_VALUE_BYTES else b"" for v in values]
    wires: list[_Plain] = []
    unread = iter(values)
    while len(wires) < len(values):
        try:
            wires.extend(map(_read, unread))  # type: ignore[arg-type]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            wires.append(_UNREAD)  # the message at which `map` stopped
    return wires


def _misnamed(keys: Sequence[str | None], pairs: Sequence[str], venues: Sequence[str]) -> Flags:
    """Return where the pair is not that of the key, or the venue is not valid."""
    misnamed = np.zeros(len(pairs), np.bool_)
    if keys != pairs:
        misnamed |= np.array([key != pair for key, pair in zip(keys, pairs, strict=True)])
    if invalid := {venue for venue in set(venues) if not is_venue(venue)}:
        misnamed |= np.array([venue in invalid for venue in venues])
    return misnamed


def _crossed(table: TickTable) -> Flags:
    """Return where the bid may be above the ask: numbers too long to compare count as crossed."""
    bid, ask = table.bid, table.ask
    shift = table.bid_places - table.ask_places
    if not shift.any():
        return bid > ask
    # Pad the price with fewer decimals with zeros, as long as they fit.
    most = 10 ** (text_columns.MAX_PLAIN_CHARS - np.minimum(np.abs(shift), text_columns.MAX_PLAIN_CHARS))
    fits = np.where(shift > 0, ask, bid) <= most
    scale = 10 ** np.where(fits, np.abs(shift), 0)
    crossed: Flags = (bid * np.where(shift < 0, scale, 1) > ask * np.where(shift > 0, scale, 1)) | ~fits
    return crossed


def _put(table: TickTable, row: int, wire: tick_decoder.DecodedTick) -> None:
    """Fill in the row of a message that was decoded alone."""
    tick = wire.tick
    table.pair[row], table.venue[row], table.kind[row] = tick.pair, tick.venue, tick.kind
    table.bid_text[row], table.ask_text[row] = wire.bid_text, wire.ask_text
    table.time[row] = to_microseconds(tick.time)
    table.trade_id[row] = NO_TRADE if tick.trade_id is None else tick.trade_id
    table.bid_size_text[row], table.ask_size_text[row] = wire.bid_size_text, wire.ask_size_text
    table.trade_price_text[row], table.trade_size_text[row] = wire.trade_price_text, wire.trade_size_text
    table.is_buy[row] = tick.trade is not None and tick.trade.is_buy
    numbers, places, odd = text_columns.optional(
        [
            *(wire.bid_text, wire.ask_text, wire.bid_size_text, wire.ask_size_text),
            *(wire.trade_price_text, wire.trade_size_text if tick.trade else "0"),
        ]
    )
    table.is_wide[row] = odd.any()
    numbers[odd] = 1  # not nothing, and not 0, which would be no trade
    table.bid[row], table.ask[row], table.bid_size[row], table.ask_size[row] = numbers[:4]
    table.trade_price[row], table.trade_size[row] = numbers[4:]
    table.bid_places[row], table.ask_places[row] = places[:2]
    table.bid_size_places[row], table.ask_size_places[row] = places[2:4]
    table.trade_price_places[row], table.trade_size_places[row] = places[4:]
