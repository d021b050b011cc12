"""Fold messages into partial aggregates: what a reader does before anything crosses the runner. Pure.

The ticks of a poll are folded where they are read, so a few elements cross the runner instead of thousands.
Ticks are decoded, and duplicates of the feed dropped, by the rules of `process`. The trades that this needs
are the reader's `TradeMemory`.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  (msgspec evaluates annotations at run time)
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from cryptometrics.beam.trade_memory import Trades
from cryptometrics.market import duplicates
from cryptometrics.market.table_decoder import decode
from cryptometrics.market.table_metrics import MIN_COLUMN_TICKS, quotes_of
from cryptometrics.market.table_windows import fold
from cryptometrics.market.trade_ids import TradeIds
from cryptometrics.market.windows import merge
from cryptometrics.times import EPOCH, MICROSECOND, from_microseconds, to_microseconds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from cryptometrics.beam.job import Job, Shape
    from cryptometrics.beam.trade_memory import TradeMemory
    from cryptometrics.kafka.record import Record
    from cryptometrics.market.duplicates import TradeKey
    from cryptometrics.market.table import PairTicks, TickTable
    from cryptometrics.market.text_columns import Ints
    from cryptometrics.market.venues import Market
    from cryptometrics.market.windows import Aggregate


class PartialAggregate(msgspec.Struct, frozen=True):
    """The aggregate of some ticks of one pair that lie in the same windows."""

    aggregate: Aggregate
    at: datetime
    """An event time that lies in the same windows: the beginning of what was folded."""
    watermark: datetime | None
    """The reader's when it read them: a window that ended, lateness included, before it takes none."""


class ReadCounts(NamedTuple):
    """The outcomes of messages."""

    ticks: int = 0
    """Folded."""
    duplicates: int = 0
    rejected: int = 0
    outside: int = 0
    """Of event times that were not asked for."""
    too_late: int = 0
    """Once for each window that no longer takes them; counted among `ticks`, too."""

    def plus(self, other: ReadCounts) -> ReadCounts:
        """Return the sum of both."""
        return ReadCounts(*(a + b for a, b in zip(self, other, strict=True)))


class Poll:
    """The messages of one poll of one partition; the memory keeps none of their trades until `keep`."""

    def __init__(self, job: Job, memory: TradeMemory) -> None:
        """Begin with the trades of earlier polls."""
        self._job = job
        self._memory = memory
        self._news: dict[Market, Trades] = {}
        self.parts: list[tuple[str, PartialAggregate]] = []
        """By market as text, because the encoding of a key must be the same everywhere."""
        self.counts = ReadCounts()
        self.newest: datetime | None = None

    def keep(self, memory: TradeMemory) -> None:
        """Add the trades that were read to a memory."""
        for market, news in self._news.items():
            memory.keep(market, news)

    def read(
        self, partition: int, messages: Sequence[Record], now: datetime, watermark: datetime | None
    ) -> None:
        """Decode and fold messages of a partition, in their order."""
        keys, values = [message.key() for message in messages], [message.value() for message in messages]
        offsets = np.array([message.offset() for message in messages], np.int64)
        table, rejected = decode(keys, values, np.full(len(messages), partition), offsets, now)
        pairs = table.by_pair()
        duplicates.mark(pairs, self._trades_of, self._seen_before)
        for ticks in pairs:
            self._news[ticks.market].add((trade_id, time) for _, trade_id, time in duplicates.keys(ticks))
        wanted = ~table.duplicate & ~_outside(table, self._job)
        parts = list(fold_table(table.only(wanted), self._job.shape))
        self.parts += [(str(market), PartialAggregate(part, at, watermark)) for market, at, part in parts]
        if parts:
            self.newest = max(part.closed[0] for *_, part in parts)
        repeated = int(table.duplicate.sum())
        ticks_folded = int(wanted.sum())
        outside = len(table) - repeated - ticks_folded
        self.counts = self.counts.plus(ReadCounts(ticks_folded, repeated, len(rejected), outside))

    def _trades_of(self, ticks: PairTicks) -> TradeIds:
        news = self._news.get(ticks.market)
        if news is None:
            known = self._memory.known(ticks.market).ids
            news = self._news[ticks.market] = Trades(TradeIds(str(known), known.floor))
        return news.ids

    def _seen_before(self, keys: Collection[TradeKey]) -> set[TradeKey]:
        seen: set[TradeKey] = set()
        for key in keys:
            market, trade_id, time = key
            known, news = self._memory.known(market), self._news[market]
            times = news.times.get(trade_id, set()) | known.times.get(trade_id, set())
            # Without its times, which are kept of the newest trades only, a known trade is a duplicate.
            if time in times or (not times and trade_id in known.ids):
                seen.add(key)
        return seen


def merged_parts(parts: Iterable[tuple[str, PartialAggregate]]) -> list[tuple[str, PartialAggregate]]:
    """Merge the parts of each market that lie in the same windows; all have the same watermark."""
    merged: dict[tuple[str, datetime], PartialAggregate] = {}
    for market, part in parts:
        known = merged.get((market, part.at))
        merged[market, part.at] = (
            part
            if known is None
            else msgspec.structs.replace(known, aggregate=merge(known.aggregate, part.aggregate))
        )
    return [(market, part) for (market, _), part in merged.items()]


def fold_table(table: TickTable, shape: Shape) -> Iterator[tuple[Market, datetime, Aggregate]]:
    """Yield market, a time in the same windows, and the aggregate of each group of ticks.

    A group is the ticks of one market and partition that lie in the same windows: of one grain of fixed and
    sliding windows, or of a stretch without a gap of session windows.
    """
    for pair in table.by_pair():
        ticks = pair
        if (np.diff(ticks.offset) < 0).any():
            ticks = pair.only(np.argsort(ticks.offset, kind="stable"))
        if shape.gap is not None:
            numbers = _stretches(ticks.time, shape.gap // MICROSECOND)
        elif shape.grain is not None:
            numbers = ticks.time // (shape.grain // MICROSECOND)
        else:
            numbers = np.zeros(len(ticks), np.int64)
        quotes = quotes_of(ticks) if len(ticks) >= MIN_COLUMN_TICKS else None
        for number, aggregate in fold(ticks, numbers, quotes):
            if shape.gap is not None:
                yield ticks.market, aggregate.opened[0], aggregate
            elif shape.grain is not None:
                yield ticks.market, from_microseconds(number * (shape.grain // MICROSECOND)), aggregate
            else:
                yield ticks.market, EPOCH, aggregate


def _stretches(time: Ints, gap: int) -> Ints:
    """Return the number of each tick's stretch: neighbours in time that are less than `gap` apart."""
    order = np.argsort(time, kind="stable")
    numbers = np.empty(len(time), np.int64)
    numbers[order] = np.cumsum(np.diff(time[order], prepend=time[order[0]]) >= gap)
    return numbers


def _outside(table: TickTable, job: Job) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which ticks lie outside the event times that the job asks for."""
    outside = np.zeros(len(table), np.bool_)
    if job.since is not None:
        outside |= table.time < to_microseconds(job.since)
    if job.until is not None:
        outside |= table.time >= to_microseconds(job.until)
    return outside
