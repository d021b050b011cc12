"""Turn the ticks of a batch, measured session by session, into its rows, minutes, sessions and counts."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.alerts.observed_ticks import TickRun, quote_of
from cryptometrics.market import metrics, table_metrics, table_windows, windows
from cryptometrics.market.windows import MINUTE, merge
from cryptometrics.store import copy_rows
from cryptometrics.store.batch_transaction import DayRows, PairState, SkippedOffsets
from cryptometrics.times import MICROSECOND, from_microseconds, to_microseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from cryptometrics.market.metrics import Session
    from cryptometrics.market.table import PairTicks, TickTable
    from cryptometrics.market.ticks import Tick
    from cryptometrics.market.venues import Market
    from cryptometrics.market.windows import Aggregate
    from cryptometrics.pipeline.alerting import Observed
    from cryptometrics.pipeline.pair_cache import CachedPair
    from cryptometrics.pipeline.small_batch import TickGroup
    from cryptometrics.store.batch_transaction import Batch

_MINUTE_US = MINUTE // MICROSECOND


class BatchBuilder:
    """Fills a batch with what follows from its ticks."""

    def __init__(self, batch: Batch, group: str, *, observe: bool) -> None:
        """group: the consumer group of the rows. observe: whether alert rules evaluate the ticks."""
        self._batch = batch
        self._group = group
        self.observed: list[Observed] | None = [] if observe else None
        """The ticks as alert rules see them."""
        self._touched: list[tuple[CachedPair, str, Session]] = []
        self._days: dict[tuple[int, str], DayRows] = {}

    def add(self, ticks: PairTicks, pair: CachedPair) -> None:
        """Measure ticks of one session, none of them a duplicate, and update the pair's session."""
        name, offsets = str(ticks.session), ticks.offset
        for day, part in ticks.by_day():
            self._count_day(day, ticks.partition, int(part.offset[0]), int(part.offset[-1]), len(part))
        session = pair.sessions[name]
        if session is None:
            session = pair.sessions[name] = metrics.open_session(ticks.table.tick(int(ticks.rows[0])))
        measured = (
            table_metrics.measure(ticks, session) if len(ticks) >= table_metrics.MIN_COLUMN_TICKS else None
        )
        if measured is None:
            self._add_each(ticks.ticks, ticks.partition, offsets.tolist(), name, session)
        else:
            self._batch.rows += copy_rows.encode(measured, self._group)
            if self.observed is not None:
                self.observed.append(TickRun(measured))
        minutes = table_windows.fold(ticks, ticks.time // _MINUTE_US, measured)
        self._add_minutes(ticks.market, minutes)
        self._note_progress(ticks.partition, ticks.market, from_microseconds(int(ticks.time.max())))
        session.late += int(ticks.late.sum())
        self._touched.append((pair, name, session))

    def add_group(self, group: TickGroup) -> None:
        """Measure a few ticks one by one, none of them a duplicate or late; otherwise like `add`."""
        pair, partition, ticks, offsets = group.pair, group.partition, group.ticks, group.offsets
        self._count_day(group.day, partition, offsets[0], offsets[-1], len(ticks))
        session = pair.sessions[group.session]
        if session is None:
            session = pair.sessions[group.session] = metrics.open_session(ticks[0])
        self._add_each(ticks, partition, offsets, group.session, session)
        minutes = [to_microseconds(tick.time) // _MINUTE_US for tick in ticks]
        for minute in dict.fromkeys(minutes):
            places = [place for place, number in enumerate(minutes) if number == minute]
            part = windows.fold([ticks[n] for n in places], partition, [offsets[n] for n in places])
            self._add_minutes(pair.market, [(minute, part)])
        self._note_progress(partition, pair.market, max(tick.time for tick in ticks))
        self._touched.append((pair, group.session, session))
        self._batch.parts[partition].metrics += len(ticks)

    def count(self, table: TickTable) -> None:
        """Count the outcomes of a table, all of whose ticks were added."""
        batch = self._batch
        for row in np.flatnonzero(table.duplicate).tolist():
            _skip_duplicate(batch, int(table.partition[row]), int(table.offset[row]))
        for partition, count in zip(*np.unique(table.partition, return_counts=True), strict=True):
            batch.parts[int(partition)].metrics += int(count)

    def finish(self) -> set[str]:
        """Complete the batch; return the days of its rows."""
        batch = self._batch
        batch.days = list(self._days.values())
        # Copies: the sessions go on with the next batch while this one is being written.
        batch.sessions = {(pair.market, name): copy(session) for pair, name, session in self._touched}
        batch.pairs = _pair_states(self._touched)
        return {day for _, day in self._days}

    def _add_each(
        self, ticks: Sequence[Tick], partition: int, offsets: Sequence[int], name: str, session: Session
    ) -> None:
        """Measure ticks of a session one by one: few of them, or prices with too many digits for columns."""
        for tick, offset in zip(ticks, offsets, strict=True):
            own = metrics.measure(tick, session)
            place = partition, offset
            self._batch.single_rows.append(copy_rows.fields(tick, own, session, (self._group, name), place))
            if self.observed is not None:
                self.observed.append(quote_of(tick, own, name, session, place))

    def _add_minutes(self, market: Market, parts: Iterable[tuple[int, Aggregate]]) -> None:
        minutes = self._batch.windows
        for number, part in parts:
            key = market, from_microseconds(number * _MINUTE_US)
            known = minutes.get(key)
            minutes[key] = part if known is None else merge(known, part)

    def _note_progress(self, partition: int, market: Market, newest: datetime) -> None:
        progress, key = self._batch.progress, (partition, market.venue)
        progress[key] = max(newest, progress.get(key, newest))

    def _count_day(self, day: str, partition: int, first: int, last: int, rows: int) -> None:
        known = self._days.setdefault((partition, day), DayRows(partition, day, first, last, 0))
        known.first_offset, known.last_offset = min(known.first_offset, first), max(known.last_offset, last)
        known.rows += rows


def _pair_states(touched: list[tuple[CachedPair, str, Session]]) -> list[PairState]:
    """Return the state of each pair touched, with its newest quote by event time across its sessions."""
    states: dict[Market, PairState] = {}
    for pair, _, session in touched:
        bid, ask, time = session.last_bid, session.last_ask, session.last_at
        sizes = session.last_bid_size, session.last_ask_size
        if pair.stored is not None and pair.stored.time > time:
            bid, ask, time = pair.stored.bid, pair.stored.ask, pair.stored.time
            sizes = pair.stored.bid_size, pair.stored.ask_size
        trades = pair.trade_ids
        highest = trades.highest if trades.highest >= 0 else None
        pair.stored = PairState(pair.market, bid, ask, time, str(trades), trades.floor, highest, *sizes)
        states[pair.market] = pair.stored
    return list(states.values())


def _skip_duplicate(batch: Batch, partition: int, offset: int) -> None:
    part = batch.parts[partition]
    part.metrics -= 1
    part.duplicates += 1
    last = batch.skipped[-1] if batch.skipped else None
    if last and last.partition == partition and last.reason == "duplicate" and last.last_offset == offset - 1:
        batch.skipped[-1] = SkippedOffsets(partition, last.first_offset, offset, "duplicate")
    else:
        batch.skipped.append(SkippedOffsets(partition, offset, offset, "duplicate"))
