"""From messages to partial aggregates: what a reader does before anything crosses the runner. Pure.

The ticks of a poll are folded where they are read, so a few elements cross the runner in place of thousands.
Ticks are decoded, and duplicates of the feed dropped, by the rules of `process`. What has to be remembered
for that is a reader's memory, and part of its restriction.
"""

from __future__ import annotations

from array import array
from datetime import datetime, timedelta  # noqa: TC003  (msgspec looks for them at run time)
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from cryptometrics.market.table_decoder import decode
from cryptometrics.market.trade_ids import TradeIds
from cryptometrics.market.windows import Aggregate, fixed_start, fold
from cryptometrics.times import EPOCH, from_microseconds, to_microseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptometrics.beam.job import Job, Shape
    from cryptometrics.kafka.record import Record
    from cryptometrics.market.tick_decoder import Tick

REMEMBERED = 1_000
"""Trades of a pair whose times are remembered; one before them that comes again is taken for a duplicate."""

PairMemory = tuple[str, str, int, bytes, bytes]
"""A pair, its trade ids and their floor, and of the newest trades the ids and the times."""


class Part(msgspec.Struct, frozen=True):
    """What some ticks of one pair amount to, which lie in the same windows."""

    aggregate: Aggregate
    at: datetime
    """An event time that lies in the same windows: the beginning of what was folded."""
    watermark: datetime | None
    """The reader's when it read them: a window that had ended by then, and the lateness after, takes none."""


class Counts(NamedTuple):
    """What became of messages."""

    ticks: int = 0
    """Folded."""
    duplicates: int = 0
    rejected: int = 0
    outside: int = 0
    """Of event times that were not asked for."""
    too_late: int = 0
    """Once for each window that takes them no more; counted among `ticks`, too."""

    def plus(self, other: Counts) -> Counts:
        """Return both together."""
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))


class _Trades:
    """The trades of a pair: all ids as ranges, and the times of the newest."""

    __slots__ = ("ids", "times")

    def __init__(self, ids: TradeIds, times: dict[int, datetime]) -> None:
        self.ids = ids
        self.times = times


class Memory:
    """Which trades were read. It changes only by `keep`: a split sees it as of the end of a poll."""

    def __init__(self, pairs: Iterable[PairMemory] = ()) -> None:
        self._pairs: dict[str, _Trades] = {}
        for pair, ids, floor, trades, times in pairs:
            moments = map(from_microseconds, array("q", times))
            known = dict(zip(array("q", trades), moments, strict=True))
            self._pairs[pair] = _Trades(TradeIds(ids, floor), known)

    def state(self) -> tuple[PairMemory, ...]:
        """Return it in a form that can be stored."""
        return tuple(
            (
                pair,
                str(trades.ids),
                trades.ids.floor,
                array("q", trades.times).tobytes(),
                array("q", [*map(to_microseconds, trades.times.values())]).tobytes(),
            )
            for pair, trades in self._pairs.items()
        )

    def known(self, pair: str) -> _Trades:
        """Return the trades of a pair, not to be changed."""
        trades = self._pairs.get(pair)
        return _Trades(TradeIds(), {}) if trades is None else trades

    def keep(self, pair: str, news: _Trades) -> None:
        """Take over what was read of a pair."""
        trades = self._pairs.setdefault(pair, _Trades(news.ids, {}))
        trades.ids = news.ids
        trades.times |= news.times
        excess = len(trades.times) - REMEMBERED
        if excess > 0:
            for trade_id in sorted(trades.times)[:excess]:
                del trades.times[trade_id]


class Poll:
    """The news of one poll of one partition: nothing of it is remembered until `keep`."""

    def __init__(self, job: Job, memory: Memory) -> None:
        """Begin with what is remembered of the polls before."""
        self._job = job
        self._memory = memory
        self._news: dict[str, tuple[_Trades, _Trades]] = {}
        self.parts: list[tuple[str, Part]] = []
        self.counts = Counts()
        self.newest: datetime | None = None

    def keep(self, memory: Memory) -> None:
        """Put what was read into a memory."""
        for pair, (_, news) in self._news.items():
            memory.keep(pair, news)

    def read(
        self, partition: int, messages: Sequence[Record], now: datetime, watermark: datetime | None
    ) -> None:
        """Decode and fold messages of a partition, in their order."""
        since, until = self._job.since, self._job.until
        groups = Groups(self._job.shape)
        duplicates = outside = 0
        keys, values = [message.key() for message in messages], [message.value() for message in messages]
        columns, refused = decode(keys, values, now)
        rejected = len(refused)
        for place, index in enumerate(columns.index.tolist()):
            tick = columns.tick(place)
            late = False
            if tick.trade_id is not None:
                verdict = self._verdict(tick, tick.trade_id)
                if verdict is None:
                    duplicates += 1
                    continue
                late = verdict
            if (since is not None and tick.time < since) or (until is not None and tick.time >= until):
                outside += 1
                continue
            groups.add(tick, messages[index].offset(), late=late)
        folded = groups.folded(partition)
        self.parts += [(pair, Part(aggregate, at, watermark)) for pair, at, aggregate in folded]
        ticks = sum(aggregate.ticks for *_, aggregate in folded)
        if folded:
            self.newest = max(aggregate.closed[0] for *_, aggregate in folded)
        self.counts = self.counts.plus(Counts(ticks, duplicates, rejected, outside))

    def _verdict(self, tick: Tick, trade_id: int) -> bool | None:
        """Return whether a tick comes late, None for a duplicate; and take note of it."""
        both = self._news.get(tick.pair)
        if both is None:
            known = self._memory.known(tick.pair)
            news = _Trades(TradeIds(str(known.ids), known.ids.floor), {})
            both = self._news[tick.pair] = known, news
        known, news = both
        ids = news.ids
        late = False
        if trade_id < ids.next:
            if trade_id in ids:
                before = news.times.get(trade_id, known.times.get(trade_id))
                if before is None or before == tick.time:
                    return None
            late = trade_id < ids.next - 1
        ids.add(trade_id)
        news.times[trade_id] = tick.time
        return late


class Groups:
    """Ticks of one partition by pair and by the windows they lie in."""

    def __init__(self, shape: Shape) -> None:
        self._grain, self._gap = shape.grain, shape.gap
        self._groups: dict[tuple[str, datetime], tuple[list[Tick], list[int], list[int]]] = {}

    def add(self, tick: Tick, offset: int, *, late: bool) -> None:
        """Take one in, in the order of the topic."""
        key = tick.pair, EPOCH if self._grain is None else fixed_start(tick.time, self._grain)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = [], [], []
        group[0].append(tick)
        group[1].append(offset)
        if late:
            group[2].append(offset)

    def folded(self, partition: int) -> list[tuple[str, datetime, Aggregate]]:
        """Return the pair, a time in the same windows, and the aggregate of each group."""
        if self._gap is not None:
            return [
                (pair, aggregate.opened[0], aggregate)
                for (pair, _), group in self._groups.items()
                for aggregate in _runs(partition, *group, self._gap)
            ]
        return [(pair, start, _folded(partition, *group)) for (pair, start), group in self._groups.items()]


def _folded(partition: int, ticks: Sequence[Tick], offsets: Sequence[int], late: Sequence[int]) -> Aggregate:
    """Return the aggregate of ticks that may lie in any order."""
    if any(after < before for before, after in pairwise(offsets)):
        order = sorted(range(len(offsets)), key=offsets.__getitem__)
        ticks, offsets = [ticks[n] for n in order], [offsets[n] for n in order]
    return fold(
        partition,
        offsets,
        [tick.time for tick in ticks],
        [tick.bid for tick in ticks],
        [tick.ask for tick in ticks],
        len(late),
    )


def _runs(
    partition: int, ticks: Sequence[Tick], offsets: Sequence[int], late: Sequence[int], gap: timedelta
) -> Iterable[Aggregate]:
    """Yield the aggregate of each run of ticks in which no two neighbours are `gap` apart."""
    order = sorted(range(len(ticks)), key=lambda n: ticks[n].time)
    late_here = set(late)
    run: list[int] = []
    for n in [*order, None]:
        if run and (n is None or ticks[n].time - ticks[run[-1]].time >= gap):
            chosen = [offsets[m] for m in run]
            yield _folded(partition, [ticks[m] for m in run], chosen, [o for o in chosen if o in late_here])
            run = []
        if n is not None:
            run.append(n)
