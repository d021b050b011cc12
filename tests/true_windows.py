"""Recompute windows by SQL from the stored rows, slowly and without the package, and compare windows."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    import psycopg

COLUMNS = (
    "venue, pair, window_start, window_end, ticks, open, high, low, close, highest_bid, lowest_ask, "
    "avg_spread, max_spread, avg_spread_bps, late, spread_sum, spread_bps_sum, open_at, "
    "open_partition, open_offset, close_at, close_partition, close_offset, sized_ticks, bid_size_sum, "
    "ask_size_sum, avg_bid_size, avg_ask_size"
)
"""Every column of `crypto_windows` that follows from rows; those of trades need the topic."""


def true_windows(before_sizes: str = "false") -> str:
    """Return the query of the windows that follow from stored ticks alone.

    A window begins every `slide`, and a tick counts in each [start, start + size) that contains it. The
    parameters are `group`, `size` and `slide`. Arrays compare element by element, so the least one is the
    first tick of a window, and the greatest one the last.

    before_sizes: whether a tick was stored without sizes, so that the sums of sizes are unknown.
    """
    return f"""
SELECT venue, pair, start AS window_start, start + %(size)s::interval AS window_end, ticks,
    opened[4] AS open, high, low, closed[4] AS close, highest_bid, lowest_ask,
    round((spread_sum + 0.000000000000000000) / ticks, 18) AS avg_spread, max_spread,
    round((spread_bps_sum + 0.000000000000000000) / ticks, 8) AS avg_spread_bps, late,
    spread_sum, spread_bps_sum,
    timestamptz 'epoch' + opened[1]::bigint * interval '1 microsecond' AS open_at,
    opened[2]::int AS open_partition, opened[3]::bigint AS open_offset,
    timestamptz 'epoch' + closed[1]::bigint * interval '1 microsecond' AS close_at,
    closed[2]::int AS close_partition, closed[3]::bigint AS close_offset,
    sized_ticks, bid_size_sum, ask_size_sum,
    round((bid_size_sum + 0.000000000000000000) / nullif(sized_ticks, 0), 18) AS avg_bid_size,
    round((ask_size_sum + 0.000000000000000000) / nullif(sized_ticks, 0), 18) AS avg_ask_size
FROM (
    SELECT venue, pair, start, count(*) AS ticks,
        min(ARRAY[extract(epoch FROM timestamp) * 1000000, kafka_partition, kafka_offset, mid_price])
            AS opened,
        max(ARRAY[extract(epoch FROM timestamp) * 1000000, kafka_partition, kafka_offset, mid_price])
            AS closed,
        max(mid_price) AS high, min(mid_price) AS low, max(bid) AS highest_bid, min(ask) AS lowest_ask,
        max(spread) AS max_spread, sum(spread) AS spread_sum,
        sum(div(4000000000000 * (ask - bid) + (bid + ask), 2 * (bid + ask)) * 0.00000001) AS spread_bps_sum,
        count(*) FILTER (WHERE trade_id < highest) AS late,
        CASE WHEN NOT bool_or({before_sizes}) THEN count(bid_size + ask_size) END AS sized_ticks,
        CASE WHEN NOT bool_or({before_sizes})
             THEN coalesce(sum(bid_size) FILTER (WHERE ask_size IS NOT NULL), 0) END AS bid_size_sum,
        CASE WHEN NOT bool_or({before_sizes})
             THEN coalesce(sum(ask_size) FILTER (WHERE bid_size IS NOT NULL), 0) END AS ask_size_sum
    FROM (
        SELECT *, date_bin(%(slide)s::interval, timestamp, 'epoch') AS newest,
            max(trade_id) OVER (PARTITION BY venue, pair ORDER BY kafka_partition, kafka_offset
                                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS highest
        FROM crypto_metrics WHERE consumer_group = %(group)s
    ) AS ticks, generate_series(newest, newest - %(size)s::interval, -%(slide)s::interval) AS start
    WHERE start + %(size)s::interval > timestamp
    GROUP BY venue, pair, start
) AS windows
"""


TRUE_WINDOWS = true_windows()

_DIFFERING_MINUTES = """
SELECT count(*) FROM (
    SELECT 1 FROM crypto_windows AS w WHERE name IN (%s, '1m')
    GROUP BY to_jsonb(w) - '{name,complete,updated_at}'::text[] HAVING count(*) <> 2
) AS differing
"""


class WindowDifference(NamedTuple):
    """A stored window that differs from the one that follows from its ticks."""

    venue: str
    pair: str
    start: datetime
    stored: int
    """Ticks of the stored window; 0 if there is none."""
    true: int
    """Ticks of the recomputed window; 0 if there is none."""
    only_late: bool
    """Whether only the count of late ticks differs."""


def differing_windows(
    connection: psycopg.Connection,
    group: str,
    name: str,
    size: timedelta,
    slide: timedelta | None = None,
    *,
    truth: str = TRUE_WINDOWS,
    parameters: Mapping[str, object] = MappingProxyType({}),
) -> list[WindowDifference]:
    """Return each stored window that differs from the query `truth`, which may have more parameters.

    Nothing here proves an imported minute, so those are left out. One that has ticks is reported as missing.
    """
    values = {**parameters, "group": group, "name": name, "size": size, "slide": slide or size}
    query = f"""
        SELECT venue, pair, window_start, coalesce(stored.ticks, 0), coalesce(truth.ticks, 0),
               coalesce(to_jsonb(stored) - 'late' = to_jsonb(truth) - 'late', false)
        FROM (SELECT {COLUMNS} FROM crypto_windows
              WHERE consumer_group = %(group)s AND name = %(name)s AND origin IS NULL) AS stored
        FULL JOIN ({truth}) AS truth USING (venue, pair, window_start)
        WHERE stored IS DISTINCT FROM truth
        ORDER BY venue, pair, window_start
    """
    return [WindowDifference(*row) for row in connection.execute(query.encode(), values)]


def differing_minutes(connection: psycopg.Connection, name: str) -> int:
    """Return how many windows of this name and minutes of `process` have no equal in every column."""
    row = connection.execute(_DIFFERING_MINUTES, [name]).fetchone()
    assert row is not None
    count: int = row[0]
    return count
