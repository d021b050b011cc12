"""The ticks of a batch as columns: `TickTable`, and `PairTicks`, the part of one market and session.

A table holds valid ticks in the order of their messages, a column for each field of a tick and for what is
known of its record: partition, offset, and whether it is a duplicate or late. Decoding makes it
(`table_decoder`); metrics, windows, rows, alerts and Beam take a `PairTicks`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from cryptometrics.market import text_columns
from cryptometrics.market.text_columns import DAY_US, NOTHING
from cryptometrics.market.ticks import Tick, Trade
from cryptometrics.market.venues import Market
from cryptometrics.times import EPOCH, from_microseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from cryptometrics.market.text_columns import Flags, Ints
    from cryptometrics.market.ticks import Kind

    Rows = NDArray[np.intp]
    Value = TypeVar("Value")

NO_TRADE = -1
"""In a column of trade ids: the tick has none."""

_MAX_SMALL = 2**15


@dataclass
class TickTable:
    """Valid ticks in the order of their messages, one row each."""

    message: Ints
    """The index of the message that each tick was decoded from."""
    partition: Ints
    offset: Ints
    pair: list[str]
    venue: list[str]
    kind: list[Kind]
    bid_text: list[str]
    ask_text: list[str]
    bid: Ints
    """The digits of the price without its point; `bid_places` of them follow the point."""
    bid_places: Ints
    ask: Ints
    ask_places: Ints
    bid_size_text: list[str]
    """Empty where there is none, as in the other columns of text."""
    ask_size_text: list[str]
    bid_size: Ints
    """Like the prices; NOTHING where there is none."""
    bid_size_places: Ints
    ask_size: Ints
    ask_size_places: Ints
    trade_price_text: list[str]
    trade_size_text: list[str]
    trade_price: Ints
    trade_price_places: Ints
    trade_size: Ints
    """0 without a trade; NOTHING if it is not known whether there was one."""
    trade_size_places: Ints
    is_buy: Flags
    """Whether the taker bought."""
    is_wide: Flags
    """Whether a number has more digits than fit into 64 bits: then only the texts are right."""
    time: Ints
    """Microseconds since 1970 UTC."""
    trade_id: Ints
    """NO_TRADE where there is none."""
    late: Flags
    """Whether the trade id is below one that came earlier in the topic; False until `duplicates.mark`."""
    duplicate: Flags
    """Whether the feed has sent the tick before; False until `duplicates.mark`."""

    def __len__(self) -> int:
        return len(self.pair)

    def only(self, keep: Flags) -> TickTable:
        """Return the ticks for which `keep` is true."""
        dropped = np.flatnonzero(~keep).tolist()
        columns: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        for name, column in columns.items():
            columns[name] = _without(column, dropped) if isinstance(column, list) else column[keep]
        return TickTable(**columns)

    def tick(self, row: int) -> Tick:
        """Return one tick by itself."""
        trade_id = int(self.trade_id[row])
        return Tick(
            self.pair[row],
            self.kind[row],
            Decimal(self.bid_text[row]),
            Decimal(self.ask_text[row]),
            from_microseconds(int(self.time[row])),
            None if trade_id == NO_TRADE else trade_id,
            _size(self.bid_size_text[row]),
            _size(self.ask_size_text[row]),
            self._trade(row) if self.trade_size[row] > 0 else None,
            self.venue[row],
        )

    def _trade(self, row: int) -> Trade:
        price, size = Decimal(self.trade_price_text[row]), Decimal(self.trade_size_text[row])
        return Trade(price, size, bool(self.is_buy[row]))

    @property
    def newest(self) -> datetime | None:
        """The latest event time, None in an empty table."""
        return from_microseconds(int(self.time.max())) if len(self) else None

    @property
    def has_quotes(self) -> bool:
        """Whether some of them are not tickers."""
        return self.kind.count("ticker") != len(self)

    @functools.cached_property
    def form(self) -> Ints:
        """A number that ticks share if they are of one kind and have, or lack, the same optional fields."""
        is_quote = (
            np.array([kind == "quote" for kind in self.kind], np.int64)
            if self.has_quotes
            else np.zeros(len(self), np.int64)
        )
        has_trade_id = self.trade_id != NO_TRADE
        has_bid_size, has_ask_size = self.bid_size != NOTHING, self.ask_size != NOTHING
        form: Ints = ((is_quote * 2 + has_trade_id) * 2 + has_bid_size) * 2 + has_ask_size
        return form

    @functools.cached_property
    def has_one_form(self) -> bool:
        """Whether all ticks are of one form, as nearly always."""
        return bool((self.form == self.form[:1]).all())

    def by_pair(self) -> list[PairTicks]:
        """Return the ticks of each pair of each venue in each partition, in the order of the topic."""
        if not len(self):
            return []
        markets, numbers = self._markets()
        numbers += self.partition * len(markets)
        if int(numbers.max()) < _MAX_SMALL:
            numbers = numbers.astype(np.int16)  # numpy sorts these without comparing
        order = np.argsort(numbers, kind="stable")
        bounds = np.flatnonzero(np.diff(numbers[order])) + 1
        parts: list[PairTicks] = []
        for rows in np.split(order, bounds):
            partition, number = divmod(int(numbers[rows[0]]), len(markets))
            parts.append(PairTicks(self, rows, markets[number], partition))
        return parts

    def _markets(self) -> tuple[list[Market], Ints]:
        """Return the markets of the table, and the number of each tick's market among them."""
        pair_numbers, pairs = _numbered(self.pair)
        venue_numbers, venues = _numbered(self.venue)
        if len(venues) == 1:  # nearly always
            return [Market(venues[0], pair) for pair in pairs], pair_numbers
        markets = [Market(venue, pair) for venue in venues for pair in pairs]
        return markets, venue_numbers * len(pairs) + pair_numbers


class PairTicks:
    """Ticks of one market and partition in the order of the topic; after `by_session`, of one session."""

    def __init__(
        self, table: TickTable, rows: Rows, market: Market, partition: int, session: str | None = None
    ) -> None:
        """Take these rows of a table; `session` is None as long as they are not divided by session."""
        self.table = table
        self.rows = rows
        self.market = market
        self.partition = partition
        self.session = session

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def pair(self) -> str:
        """The pair of all of them."""
        return self.market.pair

    @functools.cached_property
    def time(self) -> Ints:
        """Event times in microseconds since 1970 UTC."""
        return self.table.time[self.rows]

    @functools.cached_property
    def offset(self) -> Ints:
        """Offsets in the partition."""
        return self.table.offset[self.rows]

    @functools.cached_property
    def trade_id(self) -> Ints:
        """Trade ids, NO_TRADE where there is none."""
        return self.table.trade_id[self.rows]

    @functools.cached_property
    def late(self) -> Flags:
        """Which of them came late, once `duplicates.mark` has marked the table."""
        return self.table.late[self.rows]

    @functools.cached_property
    def ticks(self) -> list[Tick]:
        """The same one by one."""
        return list(map(self.table.tick, self.rows.tolist()))

    @property
    def days(self) -> list[str]:
        """The UTC days of their event times, as 2026-01-31, in the order in which they appear."""
        return [day for day, _ in self.by_day()]

    def only(self, keep: Flags | Rows) -> PairTicks:
        """Return the ticks that a mask, or an array of positions among them, selects."""
        return PairTicks(self.table, self.rows[keep], self.market, self.partition, self.session)

    def without_duplicates(self) -> PairTicks:
        """Return the ticks that the feed has not sent before."""
        duplicate = self.table.duplicate[self.rows]
        return self.only(~duplicate) if duplicate.any() else self

    def by_day(self) -> Iterator[tuple[str, PairTicks]]:
        """Yield each UTC day and its ticks."""
        if not len(self):
            return
        days = self.time // DAY_US
        first = int(days[0])
        if (days == first).all():
            yield _day(first), self
            return
        for day in dict.fromkeys(days.tolist()):
            yield _day(day), self.only(days == day)

    def by_session(self, name: str | None) -> Iterator[PairTicks]:
        """Yield the ticks of each session: the one of this name, or without a name one for each UTC day."""
        if name is not None:
            if len(self):
                yield PairTicks(self.table, self.rows, self.market, self.partition, name)
            return
        for day, ticks in self.by_day():
            yield PairTicks(self.table, ticks.rows, self.market, self.partition, day)

    def by_form(self) -> Iterator[tuple[Kind, PairTicks, Flags | None]]:
        """Yield the ticks of each form (see `TickTable.form`) with their kind and their mask.

        The mask is None where all ticks are of one form.
        """
        if not self.table.has_one_form:
            forms = self.table.form[self.rows]
            for form in np.unique(forms).tolist():
                mask = forms == form
                ticks = self.only(mask)
                yield self.table.kind[ticks.rows[0]], ticks, mask
        elif len(self):
            yield self.table.kind[0], self, None


def table_of(
    partitions: Sequence[int],
    offsets: Sequence[int],
    venues: Sequence[str],
    pairs: Sequence[str],
    bids: Sequence[str],
    asks: Sequence[str],
    times: Sequence[int],
    late: Sequence[bool],
    *,
    sizes: tuple[Sequence[str | None], Sequence[str | None]] | None = None,
) -> TickTable:
    """Return the table of stored ticks, which are valid; kind and trade id are not needed and left out.

    Their trades are not known. bids, asks: decimals as text. times: microseconds since 1970 UTC. sizes: of
    bids and of asks; None if no tick has any.
    """
    empty = [""] * len(pairs)
    bid_size_text, ask_size_text = (
        (empty, empty) if sizes is None else ([size or "" for size in column] for column in sizes)
    )
    bid_size, bid_size_places, bid_size_odd = text_columns.optional(bid_size_text)
    ask_size, ask_size_places, ask_size_odd = text_columns.optional(ask_size_text)
    nothing, zeros = np.full(len(pairs), NOTHING), np.zeros(len(pairs), np.int64)
    bid, bid_places, bid_odd = text_columns.prices(bids)
    ask, ask_places, ask_odd = text_columns.prices(asks)
    return TickTable(
        message=np.arange(len(pairs)),
        partition=np.array(partitions, np.int64),
        offset=np.array(offsets, np.int64),
        pair=list(pairs),
        venue=list(venues),
        kind=["ticker"] * len(pairs),
        bid_text=list(bids),
        ask_text=list(asks),
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
        trade_price_text=empty,
        trade_size_text=empty,
        trade_price=nothing,
        trade_price_places=zeros,
        trade_size=nothing,
        trade_size_places=zeros,
        is_buy=np.zeros(len(pairs), np.bool_),
        is_wide=bid_odd | ask_odd | bid_size_odd | ask_size_odd,
        time=np.array(times, np.int64),
        trade_id=np.full(len(pairs), NO_TRADE),
        late=np.array(late, np.bool_),
        duplicate=np.zeros(len(pairs), np.bool_),
    )


def _size(text: str) -> Decimal | None:
    return Decimal(text) if text else None


def _numbered(names: list[str]) -> tuple[Ints, list[str]]:
    """Return the number of each name among the different ones, and those in the order of appearance."""
    different = list(dict.fromkeys(names))
    if len(different) == 1:
        return np.zeros(len(names), np.int64), different
    number_of = {name: number for number, name in enumerate(different)}
    return np.fromiter(map(number_of.__getitem__, names), np.int64, len(names)), different


@functools.lru_cache(maxsize=1024)
def _day(number: int) -> str:
    day: date = EPOCH.date() + timedelta(days=number)
    return day.isoformat()


def _without(column: list[Value], rows: Iterable[int]) -> list[Value]:
    """Return a column without some rows, given in ascending order; few as a rule, so copy in slices."""
    kept: list[Value] = []
    begin = 0
    for row in rows:
        kept += column[begin:row]
        begin = row + 1
    return kept + column[begin:]
