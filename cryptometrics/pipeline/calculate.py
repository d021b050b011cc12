"""From messages to the batch that one transaction writes.

Nothing here writes. What is remembered per partition runs ahead of the database by the batches in flight;
when one of those fails, everything remembered is dropped and read again, so it may change in place.
"""

from __future__ import annotations

import time
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from cryptometrics.metrics import Session, measure, opened
from cryptometrics.store.batch import Batch, DayRows, PairState, Part, Rejected, Skipped
from cryptometrics.ticks import Reason, RejectedError, decode
from cryptometrics.trade_ids import TradeIds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptometrics.store.offsets import Claim
    from cryptometrics.store.state import State, TickKey
    from cryptometrics.ticks import Tick

MOST_REMEMBERED = 50_000
"""Sessions kept in memory; when there are more, all are dropped, and read again when needed."""


class Record(Protocol):
    """What is used of a message of the topic; confluent_kafka's `Message` is one."""

    def partition(self) -> int: ...  # noqa: D102
    def offset(self) -> int: ...  # noqa: D102
    def key(self) -> bytes | None: ...  # noqa: D102
    def value(self) -> bytes | None: ...  # noqa: D102
    def timestamp(self) -> tuple[int, int]: ...  # noqa: D102


@dataclass(slots=True, eq=False)
class Pair:
    """What is known of a pair: its newest quote, its trades, its sessions in use."""

    name: str
    stored: PairState | None
    """As of the newest batch calculated; None before the first."""
    trade_ids: TradeIds
    sessions: dict[str, Session | None] = field(default_factory=dict)
    """None: the session has no tick yet."""
    day: str = ""
    """Of the newest tick; while it does not change, neither does the session."""
    session_name: str = ""
    session: Session | None = None


@dataclass(slots=True, eq=False)
class Owned:
    """A partition that this worker may write, and how far it has been calculated."""

    partition: int
    epoch: int
    next_offset: int
    pairs: dict[str, Pair] = field(default_factory=dict)


@dataclass(slots=True)
class Work:
    """A batch with what it was calculated from, to calculate it again in parts if PostgreSQL refuses it."""

    batch: Batch
    messages: Sequence[Record]
    ticks: list[Tick]
    newest: datetime | None = None
    late: int = 0
    begun: float = field(default_factory=time.monotonic)
    """When its calculation began, by the monotonic clock."""

    def keys(self) -> set[TickKey]:
        """Return what makes its ticks recognisable when the feed repeats them."""
        return {(t.pair, t.trade_id, t.time) for t in self.ticks if t.trade_id is not None}


_Found = tuple[Owned, int, "Tick"]


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
        found = self._decode(messages, batch, refused or {})
        self._recall(found)
        duplicates, late = self._repeated(found, in_flight)
        ticks = self._measure(found, duplicates, late, batch)
        for partition, part in batch.parts.items():
            part.next_offset = self._owned[partition].next_offset
        newest = max((tick.time for tick in ticks), default=None)
        return Work(batch, messages, ticks, newest, len(late), begun)

    def ended(self, partition: int, position: int) -> Work | None:
        """Account for the offsets up to `position`, which hold nothing to read; None where there are none."""
        owned = self._owned.get(partition)
        if owned is None or position <= owned.next_offset:
            return None
        batch = Batch()
        self._skip_holes(owned, position, batch)
        batch.parts[partition].next_offset = position
        return Work(batch, [], [])

    def _decode(
        self, messages: Sequence[Record], batch: Batch, refused: dict[tuple[int, int], str]
    ) -> list[_Found]:
        """Return the valid ticks; put the others, and offsets without a message, into the batch."""
        now = datetime.now(UTC)
        found: list[_Found] = []
        current = -1
        owned: Owned | None = None
        part: Part | None = None
        add, read = found.append, decode
        for message in messages:
            partition, offset = message.partition(), message.offset()
            if partition != current:  # they come in runs
                current, owned, part = partition, self._owned.get(partition), None
            if owned is None or offset < owned.next_offset:
                continue  # of a partition that has gone, or from before a seek
            if part is None:
                part = _part_of(owned, batch)
            if offset > owned.next_offset:
                self._skip_holes(owned, offset, batch)
            owned.next_offset = offset + 1
            if refused and (why := refused.get((partition, offset))):
                _reject(batch, message, RejectedError(Reason.REFUSED, why))
                continue
            try:
                tick = read(message.key(), message.value(), now)
            except RejectedError as error:
                _reject(batch, message, error)
                continue
            part.metrics += 1
            add((owned, offset, tick))
        return found

    def _skip_holes(self, owned: Owned, until: int, batch: Batch) -> None:
        first = owned.next_offset
        _part_of(owned, batch).holes += until - first
        batch.skipped.append(Skipped(owned.partition, first, until - 1, "hole"))
        owned.next_offset = until

    def _recall(self, found: list[_Found]) -> None:
        """Read what is not in memory: pairs, sessions, and whether a day has its partition."""
        wanted: dict[tuple[str, str], Owned] = {}
        for owned, _, tick in found:
            day = tick.day
            pair = owned.pairs.get(tick.pair)
            if pair is not None and pair.day == day:
                continue
            name = self._session or day
            if pair is None or name not in pair.sessions:
                wanted[tick.pair, name] = owned
            if day not in self._days:
                self._add_day(day)
        if not wanted:
            return
        assert self.state is not None  # noqa: S101  (set before anything is owned)
        new = {pair for pair, _ in wanted if pair not in wanted[pair, _].pairs}
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

    def _repeated(
        self, found: list[_Found], in_flight: Sequence[Work]
    ) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
        """Return which (partition, offset) are duplicates of the feed, and which merely come late.

        A trade id that is not known was never here. Only the others are looked up: in this batch, in the
        batches in flight, in the table.
        """
        suspects: list[tuple[tuple[int, int], TickKey]] = []
        late: set[tuple[int, int]] = set()
        for owned, offset, tick in found:
            trade_id = tick.trade_id
            if trade_id is None:
                continue
            trades = owned.pairs[tick.pair].trade_ids
            if trade_id < trades.next:
                place = owned.partition, offset
                if trade_id in trades or trades.unknown(trade_id):
                    suspects.append((place, (tick.pair, trade_id, tick.time)))
                if trade_id < trades.next - 1:
                    late.add(place)
            trades.add(trade_id)
        if not suspects:
            return set(), late
        assert self.state is not None  # noqa: S101
        suspected = {place for place, _ in suspects}
        fresh: set[TickKey] = {
            (tick.pair, tick.trade_id, tick.time)
            for owned, offset, tick in found
            if tick.trade_id is not None and (owned.partition, offset) not in suspected
        }
        seen = fresh.union(*(work.keys() for work in in_flight))
        # The batch's own first: what is found there need not be looked for in the table.
        seen |= self.state.stored({key for _, key in suspects} - seen)
        duplicates: set[tuple[int, int]] = set()
        for place, key in suspects:
            if key in seen:
                duplicates.add(place)
            seen.add(key)
        return duplicates, late - duplicates

    def _measure(
        self, found: list[_Found], duplicates: set[tuple[int, int]], late: set[tuple[int, int]], batch: Batch
    ) -> list[Tick]:
        """Compute the rows in the order of the topic and bring the sessions forward; return their ticks."""
        group, escaped = _escaped(self._group), _escaped(self._session or "")
        ticks: list[Tick] = []
        touched: dict[int, tuple[Pair, str, Session]] = {}
        offsets: list[int] = []
        runs: list[tuple[int, int]] = []
        day, run_of = "", -1
        add_row, add_tick, add_offset = batch.rows.append, ticks.append, offsets.append
        for owned, offset, tick in found:
            partition = owned.partition
            if duplicates and (partition, offset) in duplicates:
                _skip_duplicate(batch, partition, offset)
                continue
            if tick.day != day or partition != run_of:
                day, run_of = tick.day, partition
                runs.append((len(ticks), partition))
            pair = owned.pairs[tick.pair]
            if pair.day != tick.day:
                pair.day, pair.session_name = tick.day, self._session or tick.day
                pair.session = pair.sessions[pair.session_name]
            session = pair.session
            if session is None:
                session = pair.session = pair.sessions[pair.session_name] = opened(tick)
            measured = measure(tick, session)
            if late and (partition, offset) in late:
                session.late += 1
            if id(session) not in touched:
                touched[id(session)] = pair, pair.session_name, session
            trade_id = "\\N" if tick.trade_id is None else tick.trade_id
            add_row(
                f"{tick.pair}\t{tick.bid_text}\t{tick.ask_text}\t{measured.mid_price!s}\t{measured.spread!s}"
                f"\t{session.highest_bid_text}\t{session.lowest_ask_text}\t{session.max_spread_text}"
                f"\t{tick.time_text}\t{group}\t{escaped or tick.day}\t{tick.kind}\t{trade_id}"
                f"\t{partition}\t{offset}\n"
            )
            add_tick(tick)
            add_offset(offset)
        batch.days = _day_rows(runs, ticks, offsets)
        # Copies: the sessions go on with the next batch while this one is still being written.
        batch.sessions = {(pair.name, name): copy(session) for pair, name, session in touched.values()}
        batch.pairs = _pair_states(touched.values())
        self._days_with_news |= {session.last_at.date().isoformat() for *_, session in touched.values()}
        return ticks


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


def _day_rows(runs: list[tuple[int, int]], ticks: list[Tick], offsets: list[int]) -> list[DayRows]:
    """Count the rows of each partition and day.

    runs: where ticks of one partition and day in a row begin, and the partition.
    """
    counted: dict[tuple[int, str], DayRows] = {}
    for (begin, partition), (end, _) in pairwise([*runs, (len(ticks), -1)]):
        place = partition, ticks[begin].day
        known = counted.setdefault(place, DayRows(*place, offsets[begin], offsets[begin], 0))
        known.last_offset = offsets[end - 1]
        known.rows += end - begin
    return list(counted.values())


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


def _escaped(text: str) -> str:
    """Return a text as COPY's text format has it."""
    for plain, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(plain, escaped)
    return text
