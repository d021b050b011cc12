"""Windows in PostgreSQL: merged by `process`, written whole by `aggregate`, recomputed to verify.

A batch *merges*: what it adds to a minute is added to what is there, once, in the transaction of its ticks. A
Beam pipeline *overwrites*: it knows the whole window, so to write it again changes nothing.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.market.windows import MINUTE
from cryptometrics.store.array_text import array

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime, timedelta

    import psycopg

    from cryptometrics.market.windows import Aggregate

MINUTES = "1m"
"""The name of the windows that `process` keeps."""
OUT_OF_ORDER_S = 2.0
"""How far behind the newest tick of its partition a tick may be before its window is complete."""
IDLE_S = 60.0
"""Seconds without a tick after which the windows of a partition that is read to its end are complete."""

# Sorted, so that two who write the same windows never wait for each other in a circle.
_INSERT = """
INSERT INTO crypto_windows AS w
    (consumer_group, name, pair, window_start, window_end, ticks, open, high, low, close,
     highest_bid, lowest_ask, max_spread, late, spread_sum, spread_bps_sum,
     open_at, open_partition, open_offset,
     close_at, close_partition, close_offset, complete)
SELECT %(group)s, %(name)s, n.*, %(complete)s
FROM unnest(%(pair)s::text[], %(start)s::timestamptz[], %(end)s::timestamptz[], %(ticks)s::bigint[],
    %(open)s::numeric[], %(high)s::numeric[], %(low)s::numeric[], %(close)s::numeric[],
    %(highest_bid)s::numeric[], %(lowest_ask)s::numeric[], %(max_spread)s::numeric[], %(late)s::bigint[],
    %(spread_sum)s::numeric[], %(spread_bps_sum)s::numeric[],
    %(open_at)s::timestamptz[], %(open_partition)s::int[], %(open_offset)s::bigint[],
    %(close_at)s::timestamptz[], %(close_partition)s::int[], %(close_offset)s::bigint[]) AS n (pair, start)
ORDER BY pair, start
ON CONFLICT (consumer_group, name, pair, window_start) DO UPDATE SET
"""

_OPENS = """(excluded.open_at, excluded.open_partition, excluded.open_offset, excluded.open)
         < (w.open_at, w.open_partition, w.open_offset, w.open)"""
_CLOSES = """(excluded.close_at, excluded.close_partition, excluded.close_offset, excluded.close)
         > (w.close_at, w.close_partition, w.close_offset, w.close)"""

# `windows.merge` in SQL. That a window was complete stays: who reads sees by updated_at that it has changed.
_MERGE = (
    _INSERT
    + f"""
    ticks = w.ticks + excluded.ticks,
    (open, open_at, open_partition, open_offset) = (SELECT
        CASE WHEN {_OPENS} THEN excluded.open ELSE w.open END,
        CASE WHEN {_OPENS} THEN excluded.open_at ELSE w.open_at END,
        CASE WHEN {_OPENS} THEN excluded.open_partition ELSE w.open_partition END,
        CASE WHEN {_OPENS} THEN excluded.open_offset ELSE w.open_offset END),
    (close, close_at, close_partition, close_offset) = (SELECT
        CASE WHEN {_CLOSES} THEN excluded.close ELSE w.close END,
        CASE WHEN {_CLOSES} THEN excluded.close_at ELSE w.close_at END,
        CASE WHEN {_CLOSES} THEN excluded.close_partition ELSE w.close_partition END,
        CASE WHEN {_CLOSES} THEN excluded.close_offset ELSE w.close_offset END),
    high = greatest(w.high, excluded.high), low = least(w.low, excluded.low),
    highest_bid = greatest(w.highest_bid, excluded.highest_bid),
    lowest_ask = least(w.lowest_ask, excluded.lowest_ask),
    max_spread = greatest(w.max_spread, excluded.max_spread), late = w.late + excluded.late,
    spread_sum = w.spread_sum + excluded.spread_sum,
    spread_bps_sum = w.spread_bps_sum + excluded.spread_bps_sum, updated_at = now()
"""
)

# What is the same already is left alone, so that updated_at tells the truth.
_OVERWRITE = (
    _INSERT
    + """
    window_end = excluded.window_end, ticks = excluded.ticks, open = excluded.open, high = excluded.high,
    low = excluded.low, close = excluded.close, highest_bid = excluded.highest_bid,
    lowest_ask = excluded.lowest_ask, max_spread = excluded.max_spread, late = excluded.late,
    spread_sum = excluded.spread_sum, spread_bps_sum = excluded.spread_bps_sum, open_at = excluded.open_at,
    open_partition = excluded.open_partition, open_offset = excluded.open_offset,
    close_at = excluded.close_at, close_partition = excluded.close_partition,
    close_offset = excluded.close_offset, complete = excluded.complete, updated_at = now()
WHERE (w.window_end, w.ticks, w.open, w.high, w.low, w.close, w.highest_bid, w.lowest_ask, w.max_spread,
       w.late, w.spread_sum, w.spread_bps_sum, w.open_at, w.open_partition, w.open_offset, w.close_at,
       w.close_partition, w.close_offset, w.complete)
    IS DISTINCT FROM (excluded.window_end, excluded.ticks, excluded.open, excluded.high, excluded.low,
       excluded.close, excluded.highest_bid, excluded.lowest_ask, excluded.max_spread, excluded.late,
       excluded.spread_sum, excluded.spread_bps_sum, excluded.open_at, excluded.open_partition,
       excluded.open_offset, excluded.close_at, excluded.close_partition, excluded.close_offset,
       excluded.complete)
    AND (excluded.ticks >= w.ticks OR NOT %(keep_larger)s)
"""
)

# The newest window of a partition is open, so the open ones say how far its watermark is; no tick of the
# future moves it past the present. A row that a batch has in hand is left for the next time.
_COMPLETE = """
WITH open AS (
    SELECT ctid AS place, window_end,
           least(max(close_at) OVER passed, now()) - %(out_of_order)s * interval '1 second' AS watermark,
           close_partition = ANY(%(at_end)s)
               AND max(updated_at) OVER passed < now() - %(idle)s * interval '1 second' AS idle
    FROM crypto_windows
    WHERE consumer_group = %(group)s AND name = '1m' AND NOT complete AND close_partition = ANY(%(owned)s)
    WINDOW passed AS (PARTITION BY close_partition)
), due AS (
    SELECT w.ctid AS place FROM crypto_windows w JOIN open ON w.ctid = open.place
    WHERE open.window_end <= open.watermark OR open.idle
    FOR UPDATE OF w SKIP LOCKED
)
UPDATE crypto_windows w SET complete = true FROM due
WHERE w.ctid = due.place AND w.consumer_group = %(group)s AND NOT w.complete
"""


_TOO_LATE = """
INSERT INTO crypto_windows_too_late (consumer_group, name, pair, window_start, ticks)
SELECT %s, %s, n.* FROM unnest(%s::text[], %s::timestamptz[], %s::bigint[]) AS n (pair, start)
ORDER BY pair, start
ON CONFLICT (consumer_group, name, pair, window_start) DO UPDATE SET ticks = excluded.ticks
"""


class Difference(NamedTuple):
    """A window that is stored otherwise than its ticks say."""

    pair: str
    start: datetime
    stored: int
    """Ticks, 0 where there is no such window."""
    found: int
    only_late: bool
    """Whether it is nothing but how many of them came late."""


COLUMNS = (
    "pair, window_start, window_end, ticks, open, high, low, close, highest_bid, lowest_ask, avg_spread, "
    "max_spread, avg_spread_bps, late, spread_sum, spread_bps_sum, open_at, open_partition, open_offset, "
    "close_at, close_partition, close_offset"
)
"""Every column that follows from the ticks."""

_TICKS = "SELECT * FROM crypto_metrics WHERE consumer_group = %(group)s"
_TOPIC_ORDER = "kafka_partition, kafka_offset"


def recomputed(ticks: str = _TICKS, order: str = _TOPIC_ORDER) -> str:
    """Return the query that is the truth: what the windows of stored ticks are, from the ticks alone.

    ticks: the query of the ticks; order: the order of the topic in it. Parameters are `group`, `size`, and
    `slide`: a window begins every so often, and a tick counts in all of [start, start + size) that hold it.
    """
    return f"""
SELECT pair, start AS window_start, start + %(size)s::interval AS window_end, ticks,
    opened[4] AS open, high, low, closed[4] AS close, highest_bid, lowest_ask,
    round((spread_sum + 0.000000000000000000) / ticks, 18) AS avg_spread, max_spread,
    round((spread_bps_sum + 0.000000000000000000) / ticks, 8) AS avg_spread_bps, late,
    spread_sum, spread_bps_sum,
    timestamptz 'epoch' + opened[1]::bigint * interval '1 microsecond' AS open_at,
    opened[2]::int AS open_partition, opened[3]::bigint AS open_offset,
    timestamptz 'epoch' + closed[1]::bigint * interval '1 microsecond' AS close_at,
    closed[2]::int AS close_partition, closed[3]::bigint AS close_offset
FROM (
    SELECT pair, start, count(*) AS ticks,
        min(ARRAY[extract(epoch FROM timestamp) * 1000000, kafka_partition, kafka_offset, mid_price])
            AS opened,
        max(ARRAY[extract(epoch FROM timestamp) * 1000000, kafka_partition, kafka_offset, mid_price])
            AS closed,
        max(mid_price) AS high, min(mid_price) AS low, max(bid) AS highest_bid, min(ask) AS lowest_ask,
        max(spread) AS max_spread, sum(spread) AS spread_sum,
        sum(crypto_spread_bps(bid, ask)) AS spread_bps_sum,
        count(*) FILTER (WHERE trade_id < highest) AS late
    FROM (
        SELECT *, date_bin(%(slide)s::interval, timestamp, 'epoch') AS newest,
            max(trade_id) OVER (PARTITION BY pair ORDER BY {order}
                                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS highest
        FROM ({ticks}) AS stored
    ) AS ticks, generate_series(newest, newest - %(size)s::interval, -%(slide)s::interval) AS start
    WHERE start + %(size)s::interval > timestamp
    GROUP BY pair, start
) AS windows
"""  # noqa: S608  (constants)


RECOMPUTED = recomputed()


def merge(cursor: psycopg.Cursor, group: str, windows: dict[tuple[str, datetime], Aggregate]) -> None:
    """Add what a batch holds of each (pair, minute) to what is stored; within the batch's transaction."""
    rows = [(pair, start, start + MINUTE, part) for (pair, start), part in windows.items()]
    cursor.execute(_MERGE, _values(group, MINUTES, rows, complete=False))


def overwrite(
    cursor: psycopg.Cursor,
    group: str,
    name: str,
    rows: Iterable[tuple[str, datetime, datetime, Aggregate]],
    *,
    complete: bool,
    keep_larger: bool = False,
) -> None:
    """Write whole windows, (pair, start, end, aggregate); those that are stored so already stay untouched.

    keep_larger: so do those that have more ticks; retention or offsets may have left only a part to read.
    """
    values = _values(group, name, list(rows), complete=complete)
    cursor.execute(_OVERWRITE, values | {"keep_larger": keep_larger})


def write_too_late(
    cursor: psycopg.Cursor, group: str, name: str, counts: Mapping[tuple[str, datetime], int]
) -> None:
    """Write how many ticks each (pair, window) has left out so far."""
    pairs, starts = [pair for pair, _ in counts], [start for _, start in counts]
    cursor.execute(_TOO_LATE, [group, name, pairs, starts, list(counts.values())])


def complete_passed(
    connection: psycopg.Connection,
    group: str,
    owned: Collection[int],
    at_end: Collection[int],
    *,
    idle: float = IDLE_S,
) -> int:
    """Mark the minutes that the watermark has passed, and return how many.

    owned: the partitions whose windows to look at. at_end: those of them that are read to their end, which
    are idle, and their last windows complete, after `idle` seconds without a tick.
    """
    return connection.execute(
        _COMPLETE,
        {
            "group": group,
            "owned": list(owned),
            "at_end": list(at_end),
            "idle": idle,
            "out_of_order": OUT_OF_ORDER_S,
        },
    ).rowcount


def differing(
    connection: psycopg.Connection,
    group: str,
    name: str,
    size: timedelta,
    slide: timedelta | None = None,
    *,
    truth: str = RECOMPUTED,
    parameters: Mapping[str, object] = MappingProxyType({}),
) -> list[Difference]:
    """Return each window that is not what its ticks say.

    truth: the query that says it, and what parameters it has besides.
    """
    values = {**parameters, "group": group, "name": name, "size": size, "slide": slide or size}
    query = f"""
        SELECT pair, window_start, coalesce(stored.ticks, 0), coalesce(found.ticks, 0),
               coalesce(to_jsonb(stored) - 'late' = to_jsonb(found) - 'late', false)
        FROM (SELECT {COLUMNS} FROM crypto_windows
              WHERE consumer_group = %(group)s AND name = %(name)s) AS stored
        FULL JOIN ({truth}) AS found USING (pair, window_start)
        WHERE stored IS DISTINCT FROM found
        ORDER BY pair, window_start
    """  # noqa: S608  (constants)
    return [Difference(*row) for row in connection.execute(query.encode(), values)]


def _values(
    group: str, name: str, rows: list[tuple[str, datetime, datetime, Aggregate]], *, complete: bool
) -> dict[str, object]:
    parts = [part for *_, part in rows]
    return {
        "group": group,
        "name": name,
        "complete": complete,
        "pair": array(pair for pair, *_ in rows),
        "start": array(start for _, start, *_ in rows),
        "end": array(end for _, _, end, _ in rows),
        "open_at": array(part.opened[0] for part in parts),
        "open_partition": array(part.opened[1] for part in parts),
        "open_offset": array(part.opened[2] for part in parts),
        "close_at": array(part.closed[0] for part in parts),
        "close_partition": array(part.closed[1] for part in parts),
        "close_offset": array(part.closed[2] for part in parts),
    } | {column: array(getattr(part, column) for part in parts) for column in _AS_NAMED}


_AS_NAMED = (
    *("ticks", "open", "high", "low", "close", "highest_bid", "lowest_ask", "max_spread", "late"),
    *("spread_sum", "spread_bps_sum"),
)
"""Columns that are called as in `Aggregate`."""
