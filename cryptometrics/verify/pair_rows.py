"""The stored rows of one pair, with its prices and sizes as whole numbers of one unit. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cryptometrics.verify.message_layout import KINDS
from cryptometrics.verify.stored_outcomes import NO_TRADE, runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cryptometrics.verify.byte_words import Integers
    from cryptometrics.verify.exact_numbers import Exact
    from cryptometrics.verify.findings import TopicPartition
    from cryptometrics.verify.stored_outcomes import RowSeries, StoredRows

PRICES = ("bid", "ask", "mid_price", "spread", "highest_bid", "lowest_ask", "max_spread")
SIZES = ("bid_size", "ask_size")


class MarketKey(NamedTuple):
    """A pair of a venue: its prices never mix with those of another."""

    venue: str
    pair: str

    def __str__(self) -> str:
        return f"{self.pair} ({self.venue})"


@dataclass(frozen=True, slots=True)
class PairRows:
    """Some rows of a market, in the order of the topic, from one partition.

    Prices are whole numbers of 10,000 ** -places, sizes of 10,000 ** -size_places. Both only grow from one
    part of a market's rows to the next.
    """

    market: MarketKey
    partition: TopicPartition
    era: int
    """The era of the book; rows without a book come last."""
    offsets: Integers
    times: Integers
    recorded: Integers
    series: Integers
    """Index in `names`."""
    names: list[RowSeries]
    trade_ids: Integers
    """NO_TRADE for a row without one."""
    highest_before: Integers
    """The highest trade id before each row; NO_TRADE if there is none."""
    sessions: list[tuple[str, slice | Integers]]
    """The sessions of the rows, and which rows are theirs."""
    is_before_sizes: NDArray[np.bool_]
    """Whether an earlier version stored the row, without sizes."""
    places: int
    bid: Exact
    ask: Exact
    mid_price: Exact
    spread: Exact
    highest_bid: Exact
    lowest_ask: Exact
    max_spread: Exact
    size_places: int
    bid_size: Exact
    """0 where there is no size, like `ask_size`."""
    ask_size: Exact
    has_bid_size: NDArray[np.bool_]
    has_ask_size: NDArray[np.bool_]

    @property
    def kinds(self) -> Integers:
        """The kind of each row as an index in KINDS; -1 for any other."""
        known = {code: self.names[code].kind for code in set(self.series.tolist())}
        if len(known) == 1:
            return np.full(len(self), _kind(next(iter(known.values()))), np.int64)
        codes = np.full(max(known) + 1, -1, np.int64)
        for code, kind in known.items():
            codes[code] = _kind(kind)
        return codes[self.series]

    @property
    def has_trade(self) -> NDArray[np.bool_]:
        """Whether each row has a trade id."""
        has_trade: NDArray[np.bool_] = self.trade_ids != NO_TRADE
        return has_trade

    @property
    def is_late(self) -> NDArray[np.bool_]:
        """Whether a row before has a higher trade id."""
        return (self.trade_ids < self.highest_before) & self.has_trade

    def __len__(self) -> int:
        return len(self.offsets)


@dataclass(slots=True)
class MarketState:
    """What one part of a market's rows hands on to the next."""

    places: int = 0
    size_places: int = 0
    highest_trade_id: int = NO_TRADE
    newest: int | None = None
    """The newest time, in microseconds from the epoch."""


NO_ERA = 2**31
"""Of rows without a book: after all others."""


@dataclass(slots=True)
class PairRowsOf:
    """Takes blocks apart into the rows of each market."""

    series: list[RowSeries]
    markets: dict[MarketKey, MarketState] = field(default_factory=dict)

    def split(self, rows: StoredRows) -> Iterator[PairRows]:
        """Yield the rows of each market."""
        for _, part in runs(rows.pairs):
            series = self.series[rows.series[part.start]]
            yield self._pair_rows(MarketKey(series.venue, series.pair), rows[part])

    def _pair_rows(self, market: MarketKey, rows: StoredRows) -> PairRows:
        unit = self.markets.setdefault(market, MarketState())
        numbers = rows.numbers
        unit.places = max(unit.places, *(numbers[name].places() for name in PRICES))
        unit.size_places = max(unit.size_places, *(numbers[name].places() for name in SIZES))
        so_far = np.maximum.accumulate(rows.trade_ids)
        highest_before = np.empty_like(so_far)
        highest_before[0] = unit.highest_trade_id
        np.maximum(so_far[:-1], unit.highest_trade_id, out=highest_before[1:])
        unit.highest_trade_id = max(unit.highest_trade_id, int(so_far[-1]))
        newest = int(rows.times.max())
        unit.newest = newest if unit.newest is None else max(unit.newest, newest)
        sizes_from = rows.book.sizes_from if rows.book is not None else 0
        return PairRows(
            market=market,
            partition=rows.partition,
            era=rows.book.era if rows.book is not None else NO_ERA,
            offsets=rows.offsets,
            times=rows.times,
            recorded=rows.recorded,
            series=rows.series,
            names=self.series,
            trade_ids=rows.trade_ids,
            highest_before=highest_before,
            sessions=list(self._sessions(rows.series)),
            is_before_sizes=rows.offsets < sizes_from if rows.book is not None else np.zeros(len(rows), bool),
            places=unit.places,
            size_places=unit.size_places,
            has_bid_size=~numbers["bid_size"].is_null,
            has_ask_size=~numbers["ask_size"].is_null,
            **{name: numbers[name].scaled(unit.places) for name in PRICES},
            **{name: numbers[name].scaled(unit.size_places) for name in SIZES},
        )

    def _sessions(self, series: Integers) -> Iterator[tuple[str, slice | Integers]]:
        codes = [int(series[0])] if (series == series[0]).all() else np.unique(series).tolist()
        names: dict[str, list[int]] = {}
        for code in codes:
            names.setdefault(self.series[code].session, []).append(code)
        if len(names) == 1:
            yield next(iter(names)), slice(None)
            return
        for name, of_session in names.items():
            yield name, np.flatnonzero(np.isin(series, of_session))


def _kind(kind: str) -> int:
    return KINDS.index(kind) if kind in KINDS else -1
