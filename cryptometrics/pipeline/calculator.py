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
    from cryptometrics.market.text_columns import Ints
    from cryptometrics.market.trade_ids import TradeIds
    from cryptometrics.pipeline.alerting import Alerting
    from cryptometrics.pipeline.pair_cache import OwnedPartition, Past
    from cryptometrics.store.partition_claims import Claim


@dataclass(slots=True)
class CalculatedBatch:
    """A batch, and its messages: it is calculated again in parts if PostgreSQL refuses it."""

    batch: Batch
    messages: Sequence[Record]
    table: TickTable | None = None
    """Its valid ticks, which the feed may repeat before they are stored."""
    newest: datetime | None = None
    late: int = 0
    begun: float = field(default_factory=time.monotonic)
    """When its calculation began, on the monotonic clock."""


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
        taken, partitions, offsets = self._take(messages, batch)
        keys, values = [message.key() for message in taken], [message.value() for message in taken]
        now = datetime.now(UTC)
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
        self._days_with_rows |= builder.finish(table)
        if self._alerting is not None:
            self._alerting.evaluate(taken, builder.observed or [], batch)
        return CalculatedBatch(batch, messages, table, table.newest, int(table.late.sum()), begun)

    def skip_to(self, partition: int, position: int) -> CalculatedBatch | None:
        """Account for the offsets up to `position`, which hold no message; return None if there are none."""
        owned = self._cache.partition(partition)
        if owned is None or position <= owned.next_offset:
            return None
        batch = Batch()
        _skip_holes(owned, position, batch)
        batch.parts[partition].next_offset = position
        return CalculatedBatch(batch, [])

    def _take(self, messages: Sequence[Record], batch: Batch) -> tuple[list[Record], Ints, Ints]:
        """Return the new messages of owned partitions, with their partitions and offsets.

        Offsets without a message are put into the batch as holes.
        """
        partitions = np.array([message.partition() for message in messages], np.int64)
        offsets = np.array([message.offset() for message in messages], np.int64)
        taken: list[Record] = []
        slices: list[slice] = []
        for begin, end in _consecutive(partitions, offsets):
            partition, first = int(partitions[begin]), int(offsets[begin])
            owned = self._cache.partition(partition)
            known = 0 if owned is None else max(owned.next_offset - first, 0)
            if owned is None or begin + known >= end:
                continue  # of a partition that was revoked, or fetched before a seek
            part = _part_of(owned, batch)
            if first > owned.next_offset:
                _skip_holes(owned, first, batch)
            owned.next_offset = part.next_offset = first + end - begin
            taken += messages[begin + known : end]
            slices.append(slice(begin + known, end))
        if len(taken) < len(messages):
            partitions, offsets = (
                np.concatenate([column[part] for part in slices] or [column[:0]])
                for column in (partitions, offsets)
            )
        return taken, partitions, offsets

    def _mark_duplicates(self, pairs: Sequence[PairTicks], in_flight: Sequence[CalculatedBatch]) -> None:
        tables = [each.table for each in in_flight if each.table is not None]

        def trades_of(ticks: PairTicks) -> TradeIds:
            return self._cache.pair(ticks).trade_ids

        def seen_before(keys: Collection[TradeKey]) -> set[TradeKey]:
            found = duplicates.keys_in(tables, keys)
            wanted = ((market, trade, from_microseconds(time)) for market, trade, time in set(keys) - found)
            stored = self._past.stored(wanted)
            return found | {(market, trade, to_microseconds(time)) for market, trade, time in stored}

        duplicates.mark(pairs, trades_of, seen_before)


def _consecutive(partitions: Ints, offsets: Ints) -> Iterable[tuple[int, int]]:
    """Yield begin and end of each stretch of messages of one partition with consecutive offsets."""
    breaks = np.flatnonzero((np.diff(partitions) != 0) | (np.diff(offsets) != 1)) + 1
    if len(partitions):
        yield from pairwise([0, *breaks.tolist(), len(partitions)])


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
