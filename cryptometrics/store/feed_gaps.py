"""Write the gaps of the feed with their batch, and read them for `gaps`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    import psycopg

    from cryptometrics.store.partition_claims import GroupTopic

_INSERT = """
INSERT INTO feed_gaps
    (consumer_group, topic, kafka_partition, kafka_offset, venue, pair, kind, begins_at, ends_at,
     first_trade_id, last_trade_id, trades_missed, proves)
SELECT %s, %s, * FROM unnest(%s::int[], %s::bigint[], %s::text[], %s::text[], %s::text[],
    %s::timestamptz[], %s::timestamptz[], %s::bigint[], %s::bigint[], %s::bigint[], %s::boolean[])
"""

_GAPS = """
SELECT venue, pair, kind, begins_at, ends_at, first_trade_id, last_trade_id, trades_missed, proves
FROM feed_gaps
WHERE consumer_group = %(group)s AND (%(venue)s::text IS NULL OR venue = %(venue)s)
  AND (%(pairs)s::text[] IS NULL OR pair = ANY(%(pairs)s))
  AND ends_at >= coalesce(%(since)s, '-infinity'::timestamptz)
ORDER BY ends_at, venue, pair, kafka_partition, kafka_offset
"""

# A gap that began before `since` counts from `since` on. Missed frames whose trades are not known end their
# connection; missed trades do not.
_PAIRS = """
SELECT venue, pair, coalesce(ticks, 0) AS ticks, first_at, last_at, gaps, trades_missed, longest_gap_s,
       reconnects, unknown,
       round(coalesce(greatest(extract(epoch FROM last_at - first_at) - away_s, 0), 0)::numeric, 3)::float8
           AS covered_s
FROM (
    SELECT venue, pair, count(*) FILTER (WHERE kind NOT IN ('start', 'end')) AS gaps,
           coalesce(sum(trades_missed), 0)::bigint AS trades_missed,
           round(coalesce(max(extract(epoch FROM ends_at - begins_at)), 0), 3)::float8 AS longest_gap_s,
           count(*) FILTER (WHERE kind IN ('down', 'silence', 'overflow') OR is_whole_connection)
               AS reconnects,
           count(*) FILTER (WHERE trades_missed IS NULL) AS unknown,
           coalesce(sum(extract(epoch FROM ends_at - greatest(begins_at, %(since)s)))
                    FILTER (WHERE (kind <> 'missed' OR is_whole_connection) AND begins_at IS NOT NULL),
                    0)::float8 AS away_s
    FROM feed_gaps, LATERAL (SELECT kind = 'missed' AND first_trade_id IS NULL) AS _ (is_whole_connection)
    WHERE consumer_group = %(group)s AND (%(venue)s::text IS NULL OR venue = %(venue)s)
      AND (%(pairs)s::text[] IS NULL OR pair = ANY(%(pairs)s))
      AND ends_at >= coalesce(%(since)s, '-infinity'::timestamptz)
    GROUP BY venue, pair
) AS gaps
LEFT JOIN (
    {ticks}
) AS ticks USING (venue, pair)
ORDER BY venue, pair
"""
_ALL_TICKS = """
    SELECT venue, pair, sum(ticks)::bigint AS ticks, min(first_at) AS first_at, max(last_at) AS last_at
    FROM session_extremes WHERE consumer_group = %(group)s GROUP BY venue, pair
"""
_TICKS_SINCE = """
    SELECT venue, pair, count(*) AS ticks, min(timestamp) AS first_at, max(timestamp) AS last_at
    FROM crypto_metrics WHERE consumer_group = %(group)s AND timestamp >= %(since)s GROUP BY venue, pair
"""


@dataclass(frozen=True, slots=True)
class StoredGap:
    """A gap record to be stored, with what only the worker knows: the trades missed before a start."""

    partition: int
    offset: int
    venue: str
    pair: str
    kind: str
    begins: datetime | None
    ends: datetime
    first_trade_id: int | None
    last_trade_id: int | None
    trades_missed: int | None
    proves: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRow:
    """A gap as it is listed."""

    venue: str
    pair: str
    kind: str
    begins_at: datetime | None
    ends_at: datetime
    first_trade_id: int | None
    last_trade_id: int | None
    trades_missed: int | None
    proves: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairGaps:
    """Ticks and gaps of a pair's live feed."""

    venue: str
    pair: str
    ticks: int
    first_at: datetime | None
    last_at: datetime | None
    """Event times of the first and the newest tick."""
    covered_s: float
    """Seconds between the first and the last tick, without the gaps."""
    gaps: int
    """Gaps, without starts and ends of the feed."""
    trades_missed: int
    longest_gap_s: float
    reconnects: int
    unknown: int
    """Gaps and starts with an unknown number of missed trades."""


def write(cursor: psycopg.Cursor, topic: GroupTopic, gaps: Iterable[StoredGap]) -> None:
    """Insert gaps in the transaction of their batch."""
    rows = (
        (
            g.partition, g.offset, g.venue, g.pair, g.kind, g.begins, g.ends,
            g.first_trade_id, g.last_trade_id, g.trades_missed, g.proves,
        )
        for g in gaps
    )  # fmt: skip
    columns: list[list[object]] = [list(column) for column in zip(*rows, strict=True)]
    cursor.execute(_INSERT, [topic.group, topic.name, *columns])


def gaps(
    connection: psycopg.Connection,
    group: str,
    pairs: Collection[str] = (),
    since: datetime | None = None,
    *,
    venue: str | None = None,
) -> list[GapRow]:
    """Return the gaps of a group, or of one of its venues, that ended at `since` or later, oldest first."""
    values = {"group": group, "venue": venue, "pairs": list(pairs) or None, "since": since}
    with connection.cursor(row_factory=class_row(GapRow)) as cursor:
        return cursor.execute(_GAPS, values).fetchall()


def by_pair(
    connection: psycopg.Connection,
    group: str,
    pairs: Collection[str] = (),
    since: datetime | None = None,
    *,
    venue: str | None = None,
) -> list[PairGaps]:
    """Return the live feed's pairs in a group, or at one of its venues, with ticks and gaps since `since`."""
    query = _PAIRS.format(ticks=_ALL_TICKS if since is None else _TICKS_SINCE)
    values = {"group": group, "venue": venue, "pairs": list(pairs) or None, "since": since}
    with connection.cursor(row_factory=class_row(PairGaps)) as cursor:
        return cursor.execute(query.encode(), values).fetchall()
