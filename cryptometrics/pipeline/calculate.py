"""From messages to the batch that one transaction writes. Nothing here writes."""

from __future__ import annotations

import time
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Protocol

import numpy as np

from cryptometrics import metrics
from cryptometrics.columns.decode import NO_TRADE, Columns, decode, moment
from cryptometrics.columns.measure import measure
from cryptometrics.pipeline import repetitions, windows
from cryptometrics.pipeline.groups import group, runs
from cryptometrics.pipeline.remembered import Owned, Pair
from cryptometrics.store import rows
from cryptometrics.store.batch import Batch, DayRows, PairState, Part, Rejected, Skipped
from cryptometrics.ticks import Reason, RejectedError
from cryptometrics.trade_ids import TradeIds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptometrics.columns.measure import Places
    from cryptometrics.columns.texts import Flags, Ints
    from cryptometrics.metrics import Session
    from cryptometrics.pipeline.groups import Group
    from cryptometrics.store.offsets import Claim
    from cryptometrics.store.state import State, TickKey

MOST_REMEMBERED = 50_000
"""Sessions kept in memory; when there are more, all are dropped, and read again when needed."""
FEW = 24
"""Ticks of a pair up to which it is quicker to measure them one by one."""


class Record(Protocol):
    """What is used of a message of the topic; confluent_kafka's `Message` is one."""

    def partition(self) -> int: ...  # noqa: D102
    def offset(self) -> int: ...  # noqa: D102
    def key(self) -> bytes | None: ...  # noqa: D102
    def value(self) -> bytes | None: ...  # noqa: D102
    def timestamp(self) -> tuple[int, int]: ...  # noqa: D102


@dataclass(slots=True)
class Work:
    """A batch with what it was calculated from, to calculate it again in parts if PostgreSQL refuses it."""

    batch: Batch
    messages: Sequence[Record]
    columns: Columns | None = None
    """Its valid ticks, to know them again when the feed repeats them."""
    newest: datetime | None = None
    late: int = 0
    begun: float = field(default_factory=time.monotonic)
    """When its calculation began, by the monotonic clock."""


@dataclass(slots=True)
class _Draft:
    """A batch in the making."""

    batch: Batch
    columns: Columns
    partitions: Ints
    """Of each tick, as its offset."""
    offsets: Ints
    is_late: Flags
    rows: list[bytes | None]
    """None: a duplicate has no row."""
    touched: list[tuple[Pair, str, Session]] = field(default_factory=list)
    days: dict[tuple[int, str], DayRows] = field(default_factory=dict)


class Calculator:
    """Turns messages into batches, for the partitions that it is given."""

    def __init__(self, group: str, session: str | None) -> None:
        """Write rows for `group`, in the session of this name or, without one, in that of the UTC day."""
        self._group = group
        self._session = session
        self._owned: dict[int, Owned] = {}
        self._days: set[str] = set()
        self._days_with_news: set[str] = set()
        self.state: State | None = None
        """Where the past is read; set by whoever holds the connection."""

    # What is owned

    def own(self, claim: Claim) -> None:
        """Begin a partition where its claim says."""
        self._owned[claim.partition] = Owned(claim.partition, claim.epoch, claim.next_offset)

    def drop(self, partitions: Iterable[int]) -> None:
        """Forget partitions; messages of theirs that still come are passed over."""
        for partition in partitions:
            self._owned.pop(partition, None)

    def drop_all(self) -> None:
        """Forget everything, also which days have partitions: one may have been pruned."""
        self._owned.clear()
        self._days.clear()

    def positions(self) -> dict[int, int]:
        """Return how far each partition that is owned has been calculated."""
        return {partition: owned.next_offset for partition, owned in self._owned.items()}

    def remembered(self) -> int:
        """Return how many sessions are in memory."""
        return sum(len(pair.sessions) for owned in self._owned.values() for pair in owned.pairs.values())

    def forget_pairs(self) -> None:
        """Drop pairs and sessions, to be read again when needed; nothing may be in flight."""
        for owned in self._owned.values():
            owned.pairs.clear()

    # The calculation

    def calculate(
        self,
        messages: Sequence[Record],
        in_flight: Sequence[Work],
        refused: dict[tuple[int, int], str] | None = None,
    ) -> Work:
        """Return the batch of these messages, in their order.

        in_flight: what is calculated but not yet stored: a repetition may be of one of its ticks.
        refused: (partition, offset) → PostgreSQL's message, of ticks that it does not take.
        """
        begun, batch = time.monotonic(), Batch()
        taken, partitions, offsets = self._take(messages, batch)
        keys, values = [message.key() for message in taken], [message.value() for message in taken]
        columns, rejected = decode(keys, values, datetime.now(UTC))
        if refused:
            columns = self._refuse(taken, columns, refused, rejected)
        for place, error in sorted(rejected.items()):
            _reject(batch, taken[place], error)
        draft = _Draft(
            batch=batch,
            columns=columns,
            partitions=partitions[columns.index],
            offsets=offsets[columns.index],
            is_late=np.zeros(len(columns), np.bool_),
            rows=[None] * len(columns),
        )
        groups = group(columns, draft.partitions, self._owned)
        self._recall(groups)
        duplicate, draft.is_late = repetitions.find(
            columns,
            groups,
            [work.columns for work in in_flight if work.columns is not None],
            self._stored,
        )
        for each in groups:
            self._measure(each, draft, duplicate)
        self._count(draft, duplicate)
        newest = moment(int(columns.time.max())) if len(columns) else None
        return Work(batch, messages, columns, newest, int(draft.is_late.sum()), begun)

    def ended(self, partition: int, position: int) -> Work | None:
        """Account for the offsets up to `position`, which hold nothing to read; None where there are none."""
        owned = self._owned.get(partition)
        if owned is None or position <= owned.next_offset:
            return None
        batch = Batch()
        self._skip_holes(owned, position, batch)
        batch.parts[partition].next_offset = position
        return Work(batch, [])

    def _take(self, messages: Sequence[Record], batch: Batch) -> tuple[list[Record], Ints, Ints]:
        """Return the messages that are ours and new, with their partitions and offsets.

        Offsets without a message are put into the batch.
        """
        partitions = np.array([message.partition() for message in messages], np.int64)
        offsets = np.array([message.offset() for message in messages], np.int64)
        taken: list[Record] = []
        places: list[slice] = []
        for begin, end in runs(partitions, offsets):
            partition, first = int(partitions[begin]), int(offsets[begin])
            owned = self._owned.get(partition)
            known = 0 if owned is None else max(owned.next_offset - first, 0)
            if owned is None or begin + known >= end:
                continue  # of a partition that has gone, or from before a seek
            part = _part_of(owned, batch)
            if first > owned.next_offset:
                self._skip_holes(owned, first, batch)
            owned.next_offset = part.next_offset = first + end - begin
            taken += messages[begin + known : end]
            places.append(slice(begin + known, end))
        if len(taken) < len(messages):
            partitions, offsets = (
                np.concatenate([column[part] for part in places] or [column[:0]])
                for column in (partitions, offsets)
            )
        return taken, partitions, offsets

    def _skip_holes(self, owned: Owned, until: int, batch: Batch) -> None:
        first = owned.next_offset
        _part_of(owned, batch).holes += until - first
        batch.skipped.append(Skipped(owned.partition, first, until - 1, "hole"))
        owned.next_offset = until

    def _refuse(
        self,
        taken: Sequence[Record],
        columns: Columns,
        refused: dict[tuple[int, int], str],
        rejected: dict[int, RejectedError],
    ) -> Columns:
        """Reject what PostgreSQL does not take; return the ticks without it."""
        for place, message in enumerate(taken):
            if why := refused.get((message.partition(), message.offset())):
                rejected[place] = RejectedError(Reason.REFUSED, why)
        return columns.only(~np.isin(columns.index, list(rejected)))

    def _recall(self, groups: Iterable[Group]) -> None:
        """Read what is not in memory: pairs, sessions, and whether a day has its partition."""
        wanted: dict[tuple[str, str], Owned] = {}
        for each in groups:
            pair = each.owned.pairs.get(each.name)
            for day, _ in each.days:
                name = self._session or day
                if pair is None or name not in pair.sessions:
                    wanted[each.name, name] = each.owned
                if day not in self._days:
                    self._add_day(day)
        if not wanted:
            return
        assert self.state is not None  # noqa: S101  (set before anything is owned)
        new = {pair for (pair, _), owned in wanted.items() if pair not in owned.pairs}
        pairs = self.state.pairs(new) if new else {}
        sessions = self.state.sessions(wanted)
        for (name, session), owned in wanted.items():
            pair = owned.pairs.get(name)
            if pair is None:
                stored = pairs.get(name)
                trades = TradeIds(stored.trade_ids, stored.trade_ids_floor) if stored else TradeIds()
                pair = owned.pairs[name] = Pair(name, stored, trades)
            pair.sessions[session] = sessions.get((name, session))

    def summarize(self) -> None:
        """Bring the table's index up to date for the days that had ticks since the last time."""
        if self._days_with_news and self.state is not None:
            self.state.summarize(map(date.fromisoformat, self._days_with_news))
            self._days_with_news.clear()

    def _add_day(self, day: str) -> None:
        assert self.state is not None  # noqa: S101
        self.state.add_day(date.fromisoformat(day))
        self._days.add(day)

    def _stored(self, ticks: Iterable[TickKey]) -> set[TickKey]:
        assert self.state is not None  # noqa: S101
        return self.state.stored(ticks)

    def _measure(self, each: Group, draft: _Draft, duplicate: Flags) -> None:
        """Compute the rows of a pair and bring its sessions forward."""
        pair = each.owned.pairs[each.name]
        days = [(day, at[~duplicate[at]]) for day, at in each.days] if duplicate.any() else each.days
        days = [(day, at) for day, at in days if len(at)]
        for day, at in days:
            _count_day(draft, each.owned.partition, day, at)
            self._days_with_news.add(day)
        if self._session and len(days) > 1:
            days = [(days[0][0], np.sort(np.concatenate([at for _, at in days])))]
        for day, at in days:
            name = self._session or day
            session = pair.sessions[name]
            if session is None:
                session = pair.sessions[name] = metrics.opened(draft.columns.tick(int(at[0])))
            self._write_rows(draft, at, session, each, name)
            session.late += int(draft.is_late[at].sum())
            draft.touched.append((pair, name, session))

    def _write_rows(self, draft: _Draft, at: Places, session: Session, each: Group, name: str) -> None:
        texts = each.name.encode(), self._group.encode(), name.encode()
        partition = each.owned.partition
        columns = draft.columns
        measured = measure(columns, at, session) if len(at) > FEW else None
        offsets, late, minutes = draft.offsets[at], draft.is_late[at], draft.batch.windows
        if measured is None:
            ticks = [columns.tick(place) for place in at.tolist()]
            for place, tick, offset in zip(at.tolist(), ticks, offsets.tolist(), strict=True):
                draft.rows[place] = rows.encode_one(
                    tick,
                    metrics.measure(tick, session),
                    session,
                    (*texts, tick.kind.encode()),
                    partition,
                    offset,
                )
            windows.add_ticks(minutes, each.name, ticks, partition, offsets, late)
            return
        windows.add_columns(minutes, each.name, measured, partition, offsets, columns.time[at], late)
        for kind, same in _by_form(draft, at):
            part = measured if same is None else measured.only(same)
            places = at if same is None else at[same]
            encoded = rows.encode(part, columns, places, (*texts, kind), partition, draft.offsets[places])
            for place, row in zip(places.tolist(), encoded, strict=True):
                draft.rows[place] = row

    def _count(self, draft: _Draft, duplicate: Flags) -> None:
        """Put into the batch what the ticks come to."""
        batch = draft.batch
        for place in np.flatnonzero(duplicate).tolist():
            _skip_duplicate(batch, int(draft.partitions[place]), int(draft.offsets[place]))
        for partition, count in zip(*np.unique(draft.partitions, return_counts=True), strict=True):
            batch.parts[int(partition)].metrics += int(count)
        batch.rows = [row for row in draft.rows if row is not None]
        batch.days = list(draft.days.values())
        # Copies: the sessions go on with the next batch while this one is still being written.
        batch.sessions = {(pair.name, name): copy(session) for pair, name, session in draft.touched}
        batch.pairs = _pair_states(draft.touched)


def _by_form(draft: _Draft, at: Places) -> list[tuple[bytes, Flags | None]]:
    """Return the kinds of these ticks, and which are of it, apart for those with and without a trade."""
    columns = draft.columns
    quote = np.array([columns.kind[place] == "quote" for place in at.tolist()])
    trade = columns.trade_id[at] != NO_TRADE
    if not quote.any() and trade.all():  # nearly always
        return [(b"ticker", None)]
    forms = [
        (kind, (quote == is_quote) & (trade == has_trade))
        for kind, is_quote in ((b"ticker", False), (b"quote", True))
        for has_trade in (True, False)
    ]
    return [(kind, same) for kind, same in forms if same.any()]


def _count_day(draft: _Draft, partition: int, day: str, at: Places) -> None:
    first, last = int(draft.offsets[at[0]]), int(draft.offsets[at[-1]])
    known = draft.days.setdefault((partition, day), DayRows(partition, day, first, last, 0))
    known.first_offset, known.last_offset = min(known.first_offset, first), max(known.last_offset, last)
    known.rows += len(at)


def _part_of(owned: Owned, batch: Batch) -> Part:
    part = batch.parts.get(owned.partition)
    if part is None:
        part = batch.parts[owned.partition] = Part(owned.epoch, owned.next_offset, owned.next_offset)
    return part


def _pair_states(touched: Iterable[tuple[Pair, str, Session]]) -> list[PairState]:
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


def _reject(batch: Batch, message: Record, error: RejectedError) -> None:
    rejected = Rejected(
        partition=message.partition(),
        offset=message.offset(),
        reason=str(error.reason),
        detail=error.detail,
        key=message.key(),
        value=message.value(),
        kafka_timestamp=_created(message),
    )
    batch.parts[message.partition()].rejected += 1
    batch.rejected.append(rejected)


def _created(message: Record) -> datetime | None:
    """Return Kafka's own time of a message; None without one, or where the client put one no calendar has."""
    _, milliseconds = message.timestamp()
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds > 0 else None
    except (ValueError, OverflowError, OSError):
        return None
