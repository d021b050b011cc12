"""From messages to the batch that one transaction writes. Nothing here writes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.kafka.record import created
from cryptometrics.market.gap_records import decode as decode_gap
from cryptometrics.market.table_decoder import Columns, decode, moment
from cryptometrics.market.tick_decoder import Reason, RejectedError
from cryptometrics.market.trade_ids import TradeIds
from cryptometrics.pipeline import duplicates
from cryptometrics.pipeline.batch_builder import Draft
from cryptometrics.pipeline.gaps import FoundGap, Known, settle
from cryptometrics.pipeline.groups import group, runs
from cryptometrics.pipeline.pair_cache import Owned, Pair
from cryptometrics.store.batch_transaction import Batch, Part, Rejected, Skipped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptometrics.kafka.record import Record
    from cryptometrics.market.gap_records import Gap
    from cryptometrics.market.text_columns import Ints
    from cryptometrics.pipeline.alerting import Alerting
    from cryptometrics.pipeline.groups import Group
    from cryptometrics.store.offsets import Claim
    from cryptometrics.store.past import State, TickKey

MOST_REMEMBERED = 50_000
"""Sessions kept in memory; when there are more, all are dropped, and read again when needed."""


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
        self.alerting: Alerting | None = None
        """Judges each batch where there are rules."""

    # What is owned

    def own(self, claim: Claim) -> None:
        """Begin a partition where its claim says."""
        self._owned[claim.partition] = Owned(claim.partition, claim.epoch, claim.next_offset)

    def drop(self, partitions: Iterable[int]) -> None:
        """Forget partitions; messages of theirs that still come are passed over."""
        for partition in partitions:
            self._owned.pop(partition, None)
        if self.alerting is not None:
            self.alerting.drop(partitions)

    def drop_all(self) -> None:
        """Forget everything, also which days have partitions: one may have been pruned."""
        self._owned.clear()
        self._days.clear()
        if self.alerting is not None:
            self.alerting.drop_all()

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
        if self.alerting is not None:
            self.alerting.drop_all()

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
        now = datetime.now(UTC)
        columns, rejected = decode(keys, values, now)
        if refused:
            columns = self._refuse(taken, columns, refused, rejected)
        gaps: list[FoundGap] = []
        for place, error in sorted(rejected.items()):
            if gap := _gap_or_reject(batch, taken[place], error, now):
                before = int(np.searchsorted(columns.index, place))
                gaps.append(FoundGap(int(partitions[place]), int(offsets[place]), gap, before))
        draft = Draft(batch, columns, partitions[columns.index], offsets[columns.index])
        groups = group(columns, draft.partitions, self._owned)
        self._recall(groups)
        if gaps:  # before the trades of this batch are known, of which some come after the gap
            batch.gaps = settle(gaps, columns, self._known, self.state)
        draft.is_duplicate, draft.is_late = duplicates.find(
            columns,
            groups,
            [work.columns for work in in_flight if work.columns is not None],
            self._stored,
        )
        draft.seen = [] if self.alerting is not None else None
        for each in groups:
            draft.measure(each, self._group, self._session)
        self._days_with_news |= draft.finish()
        if self.alerting is not None and self.state is not None:
            self.alerting.judge(self.state.connection, taken, draft.seen or [], batch)
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

    def _known(self, name: str) -> Known | None:
        """Return what is in memory of a pair, None where it has to be looked up."""
        for owned in self._owned.values():
            pair = owned.pairs.get(name)
            if pair is not None:
                return Known(pair.trade_ids.highest, pair.stored.time if pair.stored else None)
        return None

    def _recall(self, groups: Iterable[Group]) -> None:
        """Read what is not in memory: pairs, sessions, and whether a day has its partition."""
        wanted: dict[tuple[str, str], list[Owned]] = {}
        for each in groups:
            pair = self._remembered(each)
            for day, _ in each.days:
                name = self._session or day
                if pair is None or name not in pair.sessions:
                    wanted.setdefault((each.name, name), []).append(each.owned)
                if day not in self._days:
                    self._add_day(day)
        if not wanted:
            return
        assert self.state is not None  # noqa: S101  (set before anything is owned)
        new = {pair for (pair, _), owners in wanted.items() if pair not in owners[0].pairs}
        pairs = self.state.pairs(new) if new else {}
        sessions = self.state.sessions(wanted)
        for (name, session), owners in wanted.items():
            pair = owners[0].pairs.get(name)
            if pair is None:
                stored = pairs.get(name)
                trades = TradeIds(stored.trade_ids, stored.trade_ids_floor) if stored else TradeIds()
                pair = Pair(name, stored, trades)
            for owned in owners:
                owned.pairs[name] = pair
            pair.sessions[session] = sessions.get((name, session))

    def _remembered(self, group: Group) -> Pair | None:
        """Return what is in memory of a pair: in two partitions of ours it is one pair all the same."""
        pair = group.owned.pairs.get(group.name)
        if pair is None:
            elsewhere = (owned.pairs.get(group.name) for owned in self._owned.values())
            pair = next((pair for pair in elsewhere if pair is not None), None)
            if pair is not None:
                group.owned.pairs[group.name] = pair
        return pair

    def take_news(self) -> set[str]:
        """Return the days that had ticks since the last time."""
        days, self._days_with_news = self._days_with_news, set()
        return days

    def _add_day(self, day: str) -> None:
        assert self.state is not None  # noqa: S101
        self.state.add_day(date.fromisoformat(day))
        self._days.add(day)

    def _stored(self, ticks: Iterable[TickKey]) -> set[TickKey]:
        assert self.state is not None  # noqa: S101
        return self.state.stored(ticks)


def _part_of(owned: Owned, batch: Batch) -> Part:
    part = batch.parts.get(owned.partition)
    if part is None:
        part = batch.parts[owned.partition] = Part(owned.epoch, owned.next_offset, owned.next_offset)
    return part


def _gap_or_reject(batch: Batch, message: Record, error: RejectedError, now: datetime) -> Gap | None:
    """Return the gap of the feed that a message is which is no tick; put all else into the batch."""
    try:
        if error.reason is Reason.REFUSED:
            raise error
        gap = decode_gap(message.key(), message.value(), now, error)
    except RejectedError as reason:
        _reject(batch, message, reason.bare())
        return None
    batch.parts[message.partition()].gaps += 1
    return gap


def _reject(batch: Batch, message: Record, error: RejectedError) -> None:
    rejected = Rejected(
        partition=message.partition(),
        offset=message.offset(),
        reason=str(error.reason),
        detail=error.detail,
        key=message.key(),
        value=message.value(),
        kafka_timestamp=created(message),
    )
    batch.parts[message.partition()].rejected += 1
    batch.rejected.append(rejected)
