"""A batch in the making: its ticks, measured pair by pair, become rows, minutes, sessions and counts."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.market import metrics
from cryptometrics.market.table_decoder import NO_TRADE
from cryptometrics.market.table_metrics import measure
from cryptometrics.pipeline import minutes
from cryptometrics.pipeline.runs import Run, quote_of
from cryptometrics.store import copy_rows
from cryptometrics.store.batch_transaction import DayRows, PairState, Skipped

if TYPE_CHECKING:
    from cryptometrics.market.metrics import Session
    from cryptometrics.market.table_decoder import Columns
    from cryptometrics.market.table_metrics import Places
    from cryptometrics.market.text_columns import Flags, Ints
    from cryptometrics.pipeline.groups import Group
    from cryptometrics.pipeline.pair_cache import Pair
    from cryptometrics.pipeline.runs import Seen
    from cryptometrics.store.batch_transaction import Batch

FEW = 15
"""Ticks of a pair up to which it is quicker to measure them one by one."""


class Draft:
    """The valid ticks of a batch, on their way into it."""

    def __init__(self, batch: Batch, columns: Columns, partitions: Ints, offsets: Ints) -> None:
        """Begin with nothing measured; partitions and offsets are those of each tick."""
        self._batch = batch
        self._columns = columns
        self.partitions = partitions
        self._offsets = offsets
        self.is_duplicate: Flags = np.zeros(len(columns), np.bool_)
        self.is_late: Flags = np.zeros(len(columns), np.bool_)
        self.seen: list[Seen] | None = None
        """What alert rules are to judge, filled by `measure` where it is a list."""
        # Whether all are tickers with a trade: nearly always.
        self._is_uniform = "quote" not in columns.kind and bool((columns.trade_id != NO_TRADE).all())
        self._touched: list[tuple[Pair, str, Session]] = []
        self._days: dict[tuple[int, str], DayRows] = {}

    def measure(self, group: Group, consumer_group: str, session_name: str | None) -> None:
        """Compute the rows of a pair and bring its sessions forward.

        session_name: of its session; None: each day has one of its own.
        """
        pair = group.owned.pairs[group.name]
        days = [(day, at[~self.is_duplicate[at]]) for day, at in group.days]
        days = [(day, at) for day, at in days if len(at)]
        for day, at in days:
            self._count_day(group.owned.partition, day, at)
        if session_name and len(days) > 1:
            days = [(days[0][0], np.sort(np.concatenate([at for _, at in days])))]
        for day, at in days:
            name = session_name or day
            session = pair.sessions[name]
            if session is None:
                session = pair.sessions[name] = metrics.opened(self._columns.tick(int(at[0])))
            self._write_rows(group, at, session, (consumer_group, name))
            session.late += int(self.is_late[at].sum())
            self._touched.append((pair, name, session))

    def finish(self) -> set[str]:
        """Put into the batch what the ticks come to; return the days that they are of."""
        batch = self._batch
        for place in np.flatnonzero(self.is_duplicate).tolist():
            _skip_duplicate(batch, int(self.partitions[place]), int(self._offsets[place]))
        for partition, count in zip(*np.unique(self.partitions, return_counts=True), strict=True):
            batch.parts[int(partition)].metrics += int(count)
        batch.days = list(self._days.values())
        # Copies: the sessions go on with the next batch while this one is still being written.
        batch.sessions = {(pair.name, name): copy(session) for pair, name, session in self._touched}
        batch.pairs = _pair_states(self._touched)
        return {day for _, day in self._days}

    def _write_rows(self, group: Group, at: Places, session: Session, named: tuple[str, str]) -> None:
        texts = group.name.encode(), named[0].encode(), named[1].encode()
        partition, columns, windows = group.owned.partition, self._columns, self._batch.windows
        written = self._batch.rows
        offsets, late = self._offsets[at], self.is_late[at]
        measured = measure(columns, at, session) if len(at) > FEW else None
        if measured is None:
            ticks = [columns.tick(place) for place in at.tolist()]
            for tick, offset in zip(ticks, offsets.tolist(), strict=True):
                own = metrics.measure(tick, session)
                names = (*texts, tick.kind.encode())
                written.append(copy_rows.encode_one(tick, own, session, names, partition, offset))
                if self.seen is not None:
                    self.seen.append(quote_of(tick, own, named[1], session, partition, offset))
            minutes.add_ticks(windows, group.name, ticks, partition, offsets, late)
            return
        if self.seen is not None:
            self.seen.append(Run(measured, group.name, columns.time[at], named[1], partition, offsets))
        minutes.add_columns(windows, group.name, measured, partition, offsets, columns.time[at], late)
        for kind, same in self._by_form(at):
            part = measured if same is None else measured.only(same)
            places = at if same is None else at[same]
            names = (*texts, kind)
            written.append(copy_rows.encode(part, columns, places, names, partition, self._offsets[places]))

    def _by_form(self, at: Places) -> list[tuple[bytes, Flags | None]]:
        """Return the kinds of these ticks, and which are of it, apart for those with and without a trade."""
        if self._is_uniform:
            return [(b"ticker", None)]
        quote = np.array([self._columns.kind[place] == "quote" for place in at.tolist()])
        trade = self._columns.trade_id[at] != NO_TRADE
        forms = [
            (kind, (quote == is_quote) & (trade == has_trade))
            for kind, is_quote in ((b"ticker", False), (b"quote", True))
            for has_trade in (True, False)
        ]
        return [(kind, same) for kind, same in forms if same.any()]

    def _count_day(self, partition: int, day: str, at: Places) -> None:
        first, last = int(self._offsets[at[0]]), int(self._offsets[at[-1]])
        known = self._days.setdefault((partition, day), DayRows(partition, day, first, last, 0))
        known.first_offset, known.last_offset = min(known.first_offset, first), max(known.last_offset, last)
        known.rows += len(at)


def _pair_states(touched: list[tuple[Pair, str, Session]]) -> list[PairState]:
    """Return the state of each pair touched; its quote is the newest by event time, across its sessions."""
    states: dict[str, PairState] = {}
    for pair, _, session in touched:
        bid, ask, time = session.last_bid, session.last_ask, session.last_at
        if pair.stored is not None and pair.stored.time > time:
            bid, ask, time = pair.stored.bid, pair.stored.ask, pair.stored.time
        trades = pair.trade_ids
        highest = trades.highest if trades.highest >= 0 else None
        pair.stored = PairState(pair.name, bid, ask, time, str(trades), trades.floor, highest)
        states[pair.name] = pair.stored
    return list(states.values())


def _skip_duplicate(batch: Batch, partition: int, offset: int) -> None:
    part = batch.parts[partition]
    part.metrics -= 1
    part.duplicates += 1
    last = batch.skipped[-1] if batch.skipped else None
    if last and last.partition == partition and last.reason == "duplicate" and last.last_offset == offset - 1:
        batch.skipped[-1] = Skipped(partition, last.first_offset, offset, "duplicate")
    else:
        batch.skipped.append(Skipped(partition, offset, offset, "duplicate"))
