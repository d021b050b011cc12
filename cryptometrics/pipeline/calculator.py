"""Calculate batches: from messages to what one transaction writes. Nothing here writes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.kafka.record import created
from cryptometrics.market import duplicates
from cryptometrics.market.gap_records import decode as decode_gap
from cryptometrics.market.table_decoder import decode
from cryptometrics.market.tick_decoder import Reason, RejectedError
from cryptometrics.pipeline import small_batch
from cryptometrics.pipeline.batch_builder import BatchBuilder
from cryptometrics.pipeline.pair_cache import PairCache
from cryptometrics.pipeline.settle_gaps import FoundGap, settle
from cryptometrics.store.batch_transaction import Batch, PartitionOutcome, RejectedOffset, SkippedOffsets
from cryptometrics.times import from_microseconds, to_microseconds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from cryptometrics.kafka.record import Record
    from cryptometrics.market.duplicates import TradeKey
    from cryptometrics.market.gap_records import Gap
    from cryptometrics.market.table import PairTicks, TickTable
    from cryptometrics.market.trade_ids import TradeIds
    from cryptometrics.pipeline.alerting import Alerting
    from cryptometrics.pipeline.pair_cache import OwnedPartition, Past
    from cryptometrics.pipeline.small_batch import TickGroup
    from cryptometrics.store.partition_claims import Claim


@dataclass(slots=True)
class CalculatedBatch:
    """A batch, and its messages: it is calculated again in parts if PostgreSQL refuses it."""

    batch: Batch
    messages: Sequence[Record]
    table: TickTable | None = None
    """Its valid ticks, which the feed may repeat before they are stored; None without any."""
    newest: datetime | None = None
    late: int = 0
    begun: float = field(default_factory=time.monotonic)
    """When its calculation began, on the monotonic clock."""
    groups: Sequence[TickGroup] = ()
    """The ticks of a small batch, which has no table."""

    def event_times(self) -> list[int]:
        """Return the event times of its ticks, in microseconds since 1970."""
        if self.table is not None:
            times: list[int] = self.table.time.tolist()
            return times
        return [to_microseconds(tick.time) for group in self.groups for tick in group.ticks]

    def keys_in(self, wanted: Collection[TradeKey]) -> set[TradeKey]:
        """Return which of some keys its ticks have."""
        if self.table is not None:
            return duplicates.keys_in([self.table], wanted)
        return small_batch.keys_in(self.groups).intersection(wanted)


class Calculator:
    """Calculates batches for the partitions that a worker owns."""

    def __init__(self, group: str, session: str | None, past: Past, alerting: Alerting | None = None) -> None:
        """Calculate rows of the consumer group `group`.

        session: the name of the rows' session; None: the UTC day of each.
        past: where stored ticks, pairs and sessions are looked up.
        alerting: evaluates each batch; None without alert rules.
        """
        self._group = group
        self._session = session
        self._past = past
        self._alerting = alerting
        self._cache = PairCache(past, session)
        self._days_with_rows: set[str] = set()

    # Ownership

    def own(self, claim: Claim) -> None:
        """Begin a partition at the offset of its claim."""
        self._cache.own(claim)

    def drop(self, partitions: Iterable[int]) -> None:
        """Drop partitions; messages of theirs that still arrive are ignored."""
        self._cache.drop(partitions)
        if self._alerting is not None:
            self._alerting.drop(partitions)

    def drop_all(self) -> None:
        """Drop all partitions, pairs and alert states."""
        self._cache.drop_all()
        if self._alerting is not None:
            self._alerting.drop_all()

    def drop_pairs(self) -> None:
        """Drop pairs, sessions and alert states, to be loaded when needed; no batch may be in flight."""
        self._cache.drop_pairs()
        if self._alerting is not None:
            self._alerting.drop_all()

    def positions(self) -> dict[int, int]:
        """Return the next offset to calculate of each owned partition."""
        return self._cache.positions()

    def cache_size(self) -> int:
        """Return the number of sessions in memory."""
        return self._cache.size()

    def take_days(self) -> set[str]:
        """Return the days that got rows since the last call."""
        days, self._days_with_rows = self._days_with_rows, set()
        return days

    # Calculation

    def calculate(
        self,
        messages: Sequence[Record],
        in_flight: Sequence[CalculatedBatch],
        refused: dict[tuple[int, int], str] | None = None,
    ) -> CalculatedBatch:
        """Return the batch of these messages, in their order.

        in_flight: batches that are calculated but not stored; the feed may repeat their ticks.
        refused: (partition, offset) → PostgreSQL's message, of ticks that it refuses.
        """
        begun, batch = time.monotonic(), Batch()
        now = datetime.now(UTC)
        taken = self._take(messages, batch)
        if len(taken) <= small_batch.MAX_MESSAGES and not refused:
            groups = small_batch.read(taken, self._cache, self._session, now)
            if groups is not None:
                return self._calculate_small(messages, taken, groups, batch, begun)
        keys, values = [message.key() for message in taken], [message.value() for message in taken]
        partitions = np.array([message.partition() for message in taken], np.int64)
        offsets = np.array([message.offset() for message in taken], np.int64)
        table, rejected = decode(keys, values, partitions, offsets, now)
        if refused:
            table = _refuse(taken, table, refused, rejected)
        gaps: list[FoundGap] = []
        for index, error in sorted(rejected.items()):
            if gap := _decode_gap(batch, taken[index], error, now):
                before = int(np.searchsorted(table.message, index))
                gaps.append(FoundGap(int(partitions[index]), int(offsets[index]), gap, before))
        pairs = table.by_pair()
        self._cache.load(pairs)
        if gaps:  # before this batch's trades are noted: some of them come after the gap
            batch.gaps = settle(gaps, table, self._cache.last_trade)
        self._mark_duplicates(pairs, in_flight)
        builder = BatchBuilder(batch, self._group, observe=self._alerting is not None)
        for ticks in pairs:
            pair = self._cache.pair(ticks)
            for part in ticks.without_duplicates().by_session(self._session):
                builder.add(part, pair)
        builder.count(table)
        self._days_with_rows |= builder.finish()
        if self._alerting is not None:
            self._alerting.evaluate(taken, builder.observed or [], batch)
        return CalculatedBatch(batch, messages, table, table.newest, int(table.late.sum()), begun)

    def _calculate_small(
        self,
        messages: Sequence[Record],
        taken: Sequence[Record],
        groups: Sequence[TickGroup],
        batch: Batch,
        begun: float,
    ) -> CalculatedBatch:
        """Return the batch of the ticks that `small_batch` has read from the messages taken."""
        builder = BatchBuilder(batch, self._group, observe=self._alerting is not None)
        for group in groups:
            builder.add_group(group)
        self._days_with_rows |= builder.finish()
        if self._alerting is not None:
            self._alerting.evaluate(taken, builder.observed or [], batch)
        newest = max(batch.progress.values(), default=None)
        return CalculatedBatch(batch, messages, newest=newest, begun=begun, groups=groups)

    def skip_to(self, partition: int, position: int) -> CalculatedBatch | None:
        """Account for the offsets up to `position`, which hold no message; return None if there are none."""
        owned = self._cache.partition(partition)
        if owned is None or position <= owned.next_offset:
            return None
        batch = Batch()
        _skip_holes(owned, position, batch)
        batch.parts[partition].next_offset = position
        return CalculatedBatch(batch, [])

    def _take(self, messages: Sequence[Record], batch: Batch) -> list[Record]:
        """Return the new messages of owned partitions.

        Offsets without a message are put into the batch as holes.
        """
        partitions = [message.partition() for message in messages]
        offsets = [message.offset() for message in messages]
        taken: list[Record] = []
        for begin, end in _consecutive(partitions, offsets):
            partition, first = partitions[begin], offsets[begin]
            owned = self._cache.partition(partition)
            known = 0 if owned is None else max(owned.next_offset - first, 0)
            if owned is None or begin + known >= end:
                continue  # of a partition that was revoked, or fetched before a seek
            part = _part_of(owned, batch)
            if first > owned.next_offset:
                _skip_holes(owned, first, batch)
            owned.next_offset = part.next_offset = first + end - begin
            taken += messages[begin + known : end]
        return taken

    def _mark_duplicates(self, pairs: Sequence[PairTicks], in_flight: Sequence[CalculatedBatch]) -> None:
        def trades_of(ticks: PairTicks) -> TradeIds:
            return self._cache.pair(ticks).trade_ids

        def seen_before(keys: Collection[TradeKey]) -> set[TradeKey]:
            found = {key for each in in_flight for key in each.keys_in(keys)}
            wanted = ((market, trade, from_microseconds(time)) for market, trade, time in set(keys) - found)
            stored = self._past.stored(wanted)
            return found | {(market, trade, to_microseconds(time)) for market, trade, time in stored}

        duplicates.mark(pairs, trades_of, seen_before)


def _consecutive(partitions: Sequence[int], offsets: Sequence[int]) -> Iterable[tuple[int, int]]:
    """Yield begin and end of each stretch of messages of one partition with consecutive offsets."""
    count = len(partitions)
    if count > small_batch.MAX_MESSAGES:
        breaks = (np.flatnonzero((np.diff(partitions) != 0) | (np.diff(offsets) != 1)) + 1).tolist()
    else:
        breaks = [
            at
            for at in range(1, count)
            if partitions[at] != partitions[at - 1] or offsets[at] != offsets[at - 1] + 1
        ]
    if count:
        yield from pairwise([0, *breaks, count])


def _part_of(owned: OwnedPartition, batch: Batch) -> PartitionOutcome:
    part = batch.parts.get(owned.partition)
    if part is None:
        part = PartitionOutcome(owned.epoch, owned.next_offset, owned.next_offset)
        batch.parts[owned.partition] = part
    return part


def _skip_holes(owned: OwnedPartition, until: int, batch: Batch) -> None:
    first = owned.next_offset
    _part_of(owned, batch).holes += until - first
    batch.skipped.append(SkippedOffsets(owned.partition, first, until - 1, "hole"))
    owned.next_offset = until


def _refuse(
    taken: Sequence[Record],
    table: TickTable,
    refused: dict[tuple[int, int], str],
    rejected: dict[int, RejectedError],
) -> TickTable:
    """Reject the messages that PostgreSQL refuses; return the ticks without them."""
    for index, message in enumerate(taken):
        if why := refused.get((message.partition(), message.offset())):
            rejected[index] = RejectedError(Reason.REFUSED, why)
    return table.only(~np.isin(table.message, list(rejected)))


def _decode_gap(batch: Batch, message: Record, error: RejectedError, now: datetime) -> Gap | None:
    """Decode a message that is not a tick as a gap record, or add it to the batch's rejects."""
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
    rejected = RejectedOffset(
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
