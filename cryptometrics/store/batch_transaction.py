"""The batch transaction: rows, outcomes, state and next offsets are written together or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg.pq import TransactionStatus

from cryptometrics.alerts.channels import NOBODY
from cryptometrics.store import (
    alerts,
    changed_minutes,
    feed_gaps,
    insert_rows,
    window_completion,
    windows,
)
from cryptometrics.store.array_text import array, arrays
from cryptometrics.store.copy_rows import COPY_COLUMNS, HEADER, TRAILER, one_row
from cryptometrics.store.prepared_statements import RoundTrip
from cryptometrics.store.text_encoding import storable

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    import psycopg

    from cryptometrics.alerts.channels import Recipients
    from cryptometrics.alerts.rule_state import SavedState, Transition
    from cryptometrics.market.metrics import Session
    from cryptometrics.market.venues import Market
    from cryptometrics.market.windows import Aggregate
    from cryptometrics.store.array_text import Value
    from cryptometrics.store.copy_rows import Fields
    from cryptometrics.store.feed_gaps import StoredGap
    from cryptometrics.store.partition_claims import GroupTopic
    from cryptometrics.store.prepared_statements import Executes


class FencedError(Exception):
    """A partition of the batch has another owner, or its stored offset is not the expected one."""


@dataclass(slots=True)
class PartitionOutcome:
    """The offsets [expected, next_offset) of one partition in a batch, and the count of each outcome."""

    epoch: int
    expected: int
    next_offset: int
    metrics: int = 0
    rejected: int = 0
    gaps: int = 0
    duplicates: int = 0
    holes: int = 0


@dataclass(frozen=True, slots=True)
class SkippedOffsets:
    """Offsets without a row, both ends included; `reason` is duplicate, hole or lost."""

    partition: int
    first_offset: int
    last_offset: int
    reason: str


@dataclass(frozen=True, slots=True)
class RejectedOffset:
    """A message that is not a valid tick, in full."""

    partition: int
    offset: int
    reason: str
    detail: str
    key: bytes | None
    value: bytes | None
    kafka_timestamp: datetime | None


@dataclass(frozen=True, slots=True)
class PairState:
    """The newest quote of a pair by event time, and its stored trades (see `market.trade_ids`)."""

    market: Market
    bid: Decimal
    ask: Decimal
    time: datetime
    trade_ids: str
    trade_ids_floor: int
    trade_id: int | None
    bid_size: Decimal | None = None
    ask_size: Decimal | None = None


@dataclass(slots=True)
class DayRows:
    """The number of rows of the batch in one partition and day, and the range of their offsets."""

    partition: int
    day: str
    first_offset: int
    last_offset: int
    rows: int


@dataclass(slots=True)
class Batch:
    """All that one transaction writes."""

    parts: dict[int, PartitionOutcome] = field(default_factory=dict)
    rows: list[bytes] = field(default_factory=list)
    """Rows of `crypto_metrics`, encoded by `copy_rows`, many in each element."""
    single_rows: list[Fields] = field(default_factory=list)
    """Rows that were not calculated in columns, in their fields."""
    days: list[DayRows] = field(default_factory=list)
    """The counts of both, one for each partition and day."""
    sessions: dict[tuple[Market, str], Session] = field(default_factory=dict)
    """(market, session) → the session as of the end of the batch."""
    pairs: list[PairState] = field(default_factory=list)
    windows: dict[tuple[Market, datetime], Aggregate] = field(default_factory=dict)
    """(market, minute) → the aggregate that the batch adds."""
    progress: dict[tuple[int, str], datetime] = field(default_factory=dict)
    """(partition, venue) → the newest event time of its ticks."""
    rejected: list[RejectedOffset] = field(default_factory=list)
    skipped: list[SkippedOffsets] = field(default_factory=list)
    gaps: list[StoredGap] = field(default_factory=list)
    alerts: list[Transition] = field(default_factory=list)
    alert_states: dict[tuple[str, Market], SavedState] = field(default_factory=dict)
    """(rule, market) → its state as of the end of the batch."""
    recipients: Recipients = NOBODY
    """Whom alerts are sent to."""


# The guard comes first, so that the rows are locked before anything is written: of two owners one waits here
# and then sees the other's epoch or offset. Sorted, so that two workers never deadlock.
_ADVANCE = """
WITH part AS (
    SELECT * FROM unnest(
        %(partitions)s::int[], %(epochs)s::bigint[], %(expected)s::bigint[], %(next)s::bigint[],
        %(metrics)s::bigint[], %(rejected)s::bigint[], %(gaps)s::bigint[], %(duplicates)s::bigint[],
        %(holes)s::bigint[]
    ) AS p (kafka_partition, epoch, expected, next_offset, metrics, rejected, gaps, duplicates, holes)
), mine AS (
    SELECT o.kafka_partition FROM consumer_offsets o JOIN part p USING (kafka_partition)
    WHERE o.consumer_group = %(group)s AND o.topic = %(topic)s
      AND o.epoch = p.epoch AND o.next_offset = p.expected
    ORDER BY o.kafka_partition FOR UPDATE OF o
)
UPDATE consumer_offsets o
SET next_offset = p.next_offset, metrics = o.metrics + p.metrics, rejected = o.rejected + p.rejected,
    gaps = o.gaps + p.gaps, duplicates = o.duplicates + p.duplicates, holes = o.holes + p.holes,
    updated_at = now()
FROM part p JOIN mine USING (kafka_partition)
WHERE o.consumer_group = %(group)s AND o.topic = %(topic)s AND o.kafka_partition = p.kafka_partition
"""

_COPY = f"COPY crypto_metrics ({COPY_COLUMNS}) FROM STDIN (FORMAT binary)"

# Kept up to date with each batch, so that `prune` need not scan a day that it drops.
_DAYS = """
INSERT INTO metric_days AS d
    (consumer_group, topic, kafka_partition, day, first_offset, last_offset, rows)
SELECT %s, %s, * FROM unnest(%s::int[], %s::date[], %s::bigint[], %s::bigint[], %s::bigint[])
ON CONFLICT (consumer_group, topic, kafka_partition, day) DO UPDATE SET
    first_offset = least(d.first_offset, excluded.first_offset),
    last_offset = greatest(d.last_offset, excluded.last_offset), rows = d.rows + excluded.rows
"""

_SESSIONS = """
INSERT INTO session_extremes
    (consumer_group, venue, pair, session, highest_bid, highest_bid_at, lowest_ask, lowest_ask_at, max_spread,
     max_spread_at, last_bid, last_ask, last_at, first_at, ticks, late, last_bid_size, last_ask_size)
SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::text[], %s::numeric[], %s::timestamptz[],
    %s::numeric[], %s::timestamptz[], %s::numeric[], %s::timestamptz[], %s::numeric[], %s::numeric[],
    %s::timestamptz[], %s::timestamptz[], %s::bigint[], %s::bigint[], %s::numeric[], %s::numeric[])
ON CONFLICT (consumer_group, venue, pair, session) DO UPDATE SET
    highest_bid = excluded.highest_bid, highest_bid_at = excluded.highest_bid_at,
    lowest_ask = excluded.lowest_ask, lowest_ask_at = excluded.lowest_ask_at,
    max_spread = excluded.max_spread, max_spread_at = excluded.max_spread_at,
    last_bid = excluded.last_bid, last_ask = excluded.last_ask, last_at = excluded.last_at,
    first_at = excluded.first_at, ticks = excluded.ticks, late = excluded.late,
    last_bid_size = excluded.last_bid_size, last_ask_size = excluded.last_ask_size
"""

_PAIRS = """
INSERT INTO pair_state
    (consumer_group, venue, pair, bid, ask, timestamp, trade_ids, trade_ids_floor, trade_id,
     bid_size, ask_size)
SELECT %s, venue, pair, bid, ask, timestamp, trade_ids::int8multirange, trade_ids_floor, trade_id,
    bid_size, ask_size
FROM unnest(%s::text[], %s::text[], %s::numeric[], %s::numeric[], %s::timestamptz[], %s::text[],
    %s::bigint[], %s::bigint[], %s::numeric[], %s::numeric[])
    AS p (venue, pair, bid, ask, timestamp, trade_ids, trade_ids_floor, trade_id, bid_size, ask_size)
ON CONFLICT (consumer_group, venue, pair) DO UPDATE SET
    bid = excluded.bid, ask = excluded.ask, timestamp = excluded.timestamp, trade_ids = excluded.trade_ids,
    trade_ids_floor = excluded.trade_ids_floor, trade_id = excluded.trade_id, bid_size = excluded.bid_size,
    ask_size = excluded.ask_size, recorded_at = now()
"""

_REJECTED = """
INSERT INTO rejected_ticks
    (consumer_group, topic, kafka_partition, kafka_offset, reason, detail, key, value, kafka_timestamp)
SELECT %s, %s, * FROM unnest(%s::int[], %s::bigint[], %s::text[], %s::text[], %s::bytea[], %s::bytea[],
    %s::timestamptz[])
"""

_SKIPPED = """
INSERT INTO skipped_offsets (consumer_group, topic, kafka_partition, first_offset, last_offset, reason)
SELECT %s, %s, * FROM unnest(%s::int[], %s::bigint[], %s::bigint[], %s::text[])
"""


def write(connection: psycopg.Connection, topic: GroupTopic, batch: Batch) -> None:
    """Write the batch in one transaction and commit it.

    Raises FencedError, with nothing written, if a partition of the batch has another owner or offset.
    """
    few = len(batch.single_rows) <= insert_rows.MAX_ROWS and not batch.rows
    if few and not (batch.rejected or batch.skipped or batch.gaps or batch.alerts or batch.alert_states):
        _write_few(connection, topic, batch)
    else:
        _write_any(connection, topic, batch)


def _write_few(connection: psycopg.Connection, topic: GroupTopic, batch: Batch) -> None:
    """Write a small batch of nothing but ticks in two round trips: statements cost more than such rows."""
    try:
        guard = RoundTrip(connection)
        guard.execute("BEGIN")
        _advance(guard, topic, batch.parts)
        _require_all(guard.send(), batch.parts)  # nothing is written before the guard's answer
        rest = RoundTrip(connection)
        if batch.single_rows:
            insert_rows.insert(rest, batch.single_rows)
        _write_ticks_state(rest, topic, batch)
        rest.execute("COMMIT")
        rest.send()
    except BaseException:
        if connection.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            connection.rollback()
        raise


def _write_any(connection: psycopg.Connection, topic: GroupTopic, batch: Batch) -> None:
    with connection.transaction(), connection.cursor() as cursor:
        _advance(cursor, topic, batch.parts)
        _require_all(cursor.rowcount, batch.parts)
        if batch.rows or batch.single_rows:
            with cursor.copy(_COPY) as copy:
                copy.write(b"".join((HEADER, *batch.rows, *map(one_row, batch.single_rows), TRAILER)))
        with connection.pipeline():  # the rest in one round trip: no statement needs another's answer
            _write_state(cursor, topic, batch)


def _write_ticks_state(cursor: Executes, topic: GroupTopic, batch: Batch) -> None:
    """Write what follows from the ticks: counts, sessions, pairs, minutes, watermarks."""
    if batch.days:  # after COPY, which has locked the day's table
        days = ((d.partition, d.day, d.first_offset, d.last_offset, d.rows) for d in batch.days)
        cursor.execute(_DAYS, [topic.group, topic.name, *arrays(days)])
    if batch.sessions:
        cursor.execute(_SESSIONS, [topic.group, *arrays(_session_rows(batch.sessions))])
    if batch.pairs:
        pairs = (
            (
                *p.market,
                *(p.bid, p.ask, p.time, p.trade_ids, p.trade_ids_floor, p.trade_id),
                *(p.bid_size, p.ask_size),
            )
            for p in batch.pairs
        )
        cursor.execute(_PAIRS, [topic.group, *arrays(pairs)])
    changed_minutes.note(cursor, topic, batch.windows, batch.gaps)  # before the watermarks move
    if batch.windows:
        windows.merge(cursor, topic.group, batch.windows)
    if batch.progress:
        window_completion.advance(cursor, topic, batch.progress)


def _write_state(cursor: psycopg.Cursor, topic: GroupTopic, batch: Batch) -> None:
    _write_ticks_state(cursor, topic, batch)
    if batch.rejected:
        rejected = (
            (
                r.partition,
                r.offset,
                r.reason,
                storable(cursor.connection, r.detail),
                r.key,
                r.value,
                r.kafka_timestamp,
            )
            for r in batch.rejected
        )
        cursor.execute(_REJECTED, [topic.group, topic.name, *map(list, zip(*rejected, strict=True))])
    if batch.skipped:
        skipped = ((s.partition, s.first_offset, s.last_offset, s.reason) for s in batch.skipped)
        cursor.execute(_SKIPPED, [topic.group, topic.name, *arrays(skipped)])
    if batch.gaps:
        feed_gaps.write(cursor, topic, batch.gaps)
    alerts.write(cursor, topic.group, batch.alerts, batch.alert_states, batch.recipients)


def _advance(cursor: Executes, topic: GroupTopic, parts: dict[int, PartitionOutcome]) -> None:
    values = list(parts.values())
    cursor.execute(
        _ADVANCE,
        {
            "group": topic.group,
            "topic": topic.name,
            "partitions": array(parts),
            "epochs": array(p.epoch for p in values),
            "expected": array(p.expected for p in values),
            "next": array(p.next_offset for p in values),
            "metrics": array(p.metrics for p in values),
            "rejected": array(p.rejected for p in values),
            "gaps": array(p.gaps for p in values),
            "duplicates": array(p.duplicates for p in values),
            "holes": array(p.holes for p in values),
        },
    )


def _require_all(advanced: int, parts: dict[int, PartitionOutcome]) -> None:
    """Raise FencedError unless the guard has advanced each partition of the batch."""
    if advanced != len(parts):
        raise FencedError(f"{len(parts) - advanced} of {len(parts)} partitions have another owner")


def _session_rows(sessions: dict[tuple[Market, str], Session]) -> list[tuple[Value, ...]]:
    return [
        (
            *market, name, s.highest_bid, s.highest_bid_at, s.lowest_ask, s.lowest_ask_at, s.max_spread,
            s.max_spread_at, s.last_bid, s.last_ask, s.last_at, s.first_at, s.ticks, s.late,
            s.last_bid_size, s.last_ask_size,
        )
        for (market, name), s in sessions.items()
    ]  # fmt: skip
