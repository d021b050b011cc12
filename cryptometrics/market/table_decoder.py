"""Decode a batch of messages into a `TickTable`, and say why the others are rejected."""

from __future__ import annotations

from dataclasses import dataclass, field
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


class _Plain(msgspec.Struct, gc=False, kw_only=True):
    """The fields of a message in the usual form, in Coinbase's order; all other fields are skipped.

    msgspec looks for each field from where it found the last one, so the order makes it quick.
    """

    type: Kind
    product_id: str
    price: str = ""
    best_bid: str
    best_bid_size: str = ""
    best_ask: str
    best_ask_size: str = ""
    side: Literal["buy", "sell", ""] = ""
    time: str
    trade_id: Annotated[int, msgspec.Meta(ge=0, le=MAX_TRADE_ID)] | None = NO_TRADE
    last_size: str = ""
    venue: str = DEFAULT_VENUE


_read = msgspec.json.Decoder(_Plain).decode
_UNREAD = _Plain(type="ticker", product_id="", best_bid="", best_ask="", time="")
"""The placeholder of a message in another form: all its texts count as odd."""


@dataclass(slots=True)
class _Texts:
    """The fields of some messages as columns."""

    kind: list[Kind] = field(default_factory=list)
    venue: list[str] = field(default_factory=list)
    bid: list[str] = field(default_factory=list)
    ask: list[str] = field(default_factory=list)
    bid_size: list[str] = field(default_factory=list)
    ask_size: list[str] = field(default_factory=list)
    trade_price: list[str] = field(default_factory=list)
    trade_size: list[str] = field(default_factory=list)
    is_buy: list[bool] = field(default_factory=list)
    time: list[str] = field(default_factory=list)
    trade_id: list[int | None] = field(default_factory=list)

    def add(self, wires: list[_Plain], venues: list[str]) -> None:
        """Add messages and their venues."""
        self.kind += [wire.type for wire in wires]
        self.venue += venues
        self.bid += [wire.best_bid for wire in wires]
        self.ask += [wire.best_ask for wire in wires]
        self.bid_size += [wire.best_bid_size for wire in wires]
        self.ask_size += [wire.best_ask_size for wire in wires]
        self.trade_price += [wire.price for wire in wires]
        self.trade_size += [wire.last_size for wire in wires]
        self.is_buy += [wire.side == "buy" for wire in wires]
        self.time += [wire.time for wire in wires]
        self.trade_id += [wire.trade_id for wire in wires]


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
    pair = tick_decoder.pairs_in(keys)
    texts = _Texts()
    misnamed = np.zeros(len(values), np.bool_)
    # In small blocks: the decoded structs are taken apart while they are still in the processor's cache.
    for begin in range(0, len(values), _AT_ONCE):
        block = slice(begin, begin + _AT_ONCE)
        wires = _wires(values[block])
        venues = _shared([wire.venue for wire in wires])
        _mark_misnamed(misnamed[block], pair[block], [wire.product_id for wire in wires], venues)
        texts.add(wires, venues)
    bid, bid_places, bid_odd = text_columns.prices(texts.bid)
    ask, ask_places, ask_odd = text_columns.prices(texts.ask)
    bid_size, bid_size_places, bid_size_odd = text_columns.optional(texts.bid_size)
    ask_size, ask_size_places, ask_size_odd = text_columns.optional(texts.ask_size)
    trade_price, trade_price_places, trade_price_odd = text_columns.optional(texts.trade_price)
    trade_size, trade_size_places, trade_size_odd = text_columns.optional(texts.trade_size)
    time, time_odd = text_columns.times(texts.time)
    now_us = to_microseconds(now)
    odd = bid_odd | ask_odd | bid_size_odd | ask_size_odd | trade_price_odd | trade_size_odd | time_odd
    odd |= misnamed | (time < _EARLIEST_US) | (time > now_us + _MAX_AHEAD_US)
    table = TickTable(
        message=np.arange(len(values)),
        partition=partitions,
        offset=offsets,
        pair=pair,  # type: ignore[arg-type]  # None differs from any name, so the row is decoded alone below
        venue=texts.venue,
        kind=texts.kind,
        bid_text=texts.bid,
        ask_text=texts.ask,
        bid=bid,
        bid_places=bid_places,
        ask=ask,
        ask_places=ask_places,
        bid_size_text=texts.bid_size,
        ask_size_text=texts.ask_size,
        bid_size=bid_size,
        bid_size_places=bid_size_places,
        ask_size=ask_size,
        ask_size_places=ask_size_places,
        trade_price_text=texts.trade_price,
        trade_size_text=texts.trade_size,
        trade_price=trade_price,
        trade_price_places=trade_price_places,
        trade_size=trade_size,
        trade_size_places=trade_size_places,
        is_buy=np.array(texts.is_buy, np.bool_),
        is_wide=np.zeros(len(values), np.bool_),
        time=time,
        trade_id=_trade_id_column(texts.trade_id),
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
    try:
        return np.array(trade_ids, np.int64)
    except TypeError:  # None, which few feeds write
        return np.array([NO_TRADE if trade_id is None else trade_id for trade_id in trade_ids], np.int64)


def _clear_trades(table: TickTable) -> None:
    """Set the trade's size to 0 where there is no trade: without price or size, and in a quote."""
    none = (table.trade_price <= 0) | (table.trade_size <= 0)
    if table.has_quotes:
        none |= np.array([kind == "quote" for kind in table.kind])
    table.trade_size[none] = 0


def _wires(values: Sequence[bytes | None]) -> list[_Plain]:
    try:
        is_long = max(map(len, values), default=0) > MAX_VALUE_BYTES  # type: ignore[arg-type]
    except TypeError:  # one has no value
        is_long = True
    if is_long:
        values = [v if v is not None and len(v) <= MAX_VALUE_BYTES else b"" for v in values]
    wires: list[_Plain] = []
    unread = iter(values)
    while len(wires) < len(values):
        try:
            wires.extend(map(_read, unread))  # type: ignore[arg-type]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            wires.append(_UNREAD)  # the message at which `map` stopped
    return wires


def _shared(names: list[str]) -> list[str]:
    """Return the names, as one object if all are equal: comparing and hashing it later is quick."""
    is_one = bool(names) and names.count(names[0]) == len(names)
    return names[:1] * len(names) if is_one else names


def _mark_misnamed(
    misnamed: Flags, keys: Sequence[str | None], pairs: Sequence[str], venues: Sequence[str]
) -> None:
    """Mark where the pair is not that of the key, or the venue is not valid."""
    if keys != pairs:
        misnamed |= np.array([key != pair for key, pair in zip(keys, pairs, strict=True)])
    if invalid := {venue for venue in set(venues) if not is_venue(venue)}:
        misnamed |= np.array([venue in invalid for venue in venues])


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
