"""Write windows: `process` merges parts of minutes, `aggregate` overwrites whole windows.

A batch adds its part of a minute to the stored one, exactly once, in the transaction of its ticks. A Beam
pipeline knows the whole window, so writing it again changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.market.windows import MINUTE
from cryptometrics.store.array_text import array

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    import psycopg

    from cryptometrics.market.venues import Market
    from cryptometrics.market.windows import Aggregate
    from cryptometrics.store.prepared_statements import Executes

MINUTES = "1m"
"""The name of the windows that `process` keeps."""

# Sorted, so that two writers of the same windows cannot deadlock.
_INSERT = """
INSERT INTO crypto_windows AS w
    (consumer_group, name, venue, pair, window_start, window_end, ticks, open, high, low, close,
     highest_bid, lowest_ask, max_spread, late, spread_sum, spread_bps_sum,
     sized_ticks, bid_size_sum, ask_size_sum, trades, volume, notional, buy_volume,
     open_at, open_partition, open_offset,
     close_at, close_partition, close_offset, complete)
SELECT %(group)s, %(name)s, n.*, %(complete)s
FROM unnest(%(venue)s::text[], %(pair)s::text[], %(start)s::timestamptz[], %(end)s::timestamptz[],
    %(ticks)s::bigint[],
    %(open)s::numeric[], %(high)s::numeric[], %(low)s::numeric[], %(close)s::numeric[],
    %(highest_bid)s::numeric[], %(lowest_ask)s::numeric[], %(max_spread)s::numeric[], %(late)s::bigint[],
    %(spread_sum)s::numeric[], %(spread_bps_sum)s::numeric[],
    %(sized_ticks)s::bigint[], %(bid_size_sum)s::numeric[], %(ask_size_sum)s::numeric[], %(trades)s::bigint[],
    %(volume)s::numeric[], %(notional)s::numeric[], %(buy_volume)s::numeric[],
    %(open_at)s::timestamptz[], %(open_partition)s::int[], %(open_offset)s::bigint[],
    %(close_at)s::timestamptz[], %(close_partition)s::int[], %(close_offset)s::bigint[])
    AS n (venue, pair, start)
ORDER BY venue, pair, start
ON CONFLICT (consumer_group, name, venue, pair, window_start) DO UPDATE SET
"""

_OPENS = """w.origin IS NOT NULL
         OR (excluded.open_at, excluded.open_partition, excluded.open_offset, excluded.open)
         < (w.open_at, w.open_partition, w.open_offset, w.open)"""
_CLOSES = """w.origin IS NOT NULL
         OR (excluded.close_at, excluded.close_partition, excluded.close_offset, excluded.close)
         > (w.close_at, w.close_partition, w.close_offset, w.close)"""
_SUMMED = (
    *("late", "spread_sum", "spread_bps_sum", "sized_ticks", "bid_size_sum", "ask_size_sum"),
    *("trades", "volume", "notional", "buy_volume"),
)
_SUMS = ", ".join(
    f"{name} = CASE WHEN w.origin IS NULL THEN w.{name} + excluded.{name} ELSE excluded.{name} END"
    for name in _SUMMED
)

# `market.windows.merge` in SQL. A stored NULL stays NULL: what is unknown of a part is unknown of the window.
# Ticks replace an imported minute. Of others, `complete` is never reset; `updated_at` shows later changes.
_MERGE = (
    _INSERT
    + f"""
    ticks = w.ticks + excluded.ticks,
    (open, open_at, open_partition, open_offset) = (SELECT
        CASE WHEN opens THEN excluded.open ELSE w.open END,
        CASE WHEN opens THEN excluded.open_at ELSE w.open_at END,
        CASE WHEN opens THEN excluded.open_partition ELSE w.open_partition END,
        CASE WHEN opens THEN excluded.open_offset ELSE w.open_offset END
        FROM (VALUES ({_OPENS})) AS news (opens)),
    (close, close_at, close_partition, close_offset) = (SELECT
        CASE WHEN closes THEN excluded.close ELSE w.close END,
        CASE WHEN closes THEN excluded.close_at ELSE w.close_at END,
        CASE WHEN closes THEN excluded.close_partition ELSE w.close_partition END,
        CASE WHEN closes THEN excluded.close_offset ELSE w.close_offset END
        FROM (VALUES ({_CLOSES})) AS news (closes)),
    high = CASE WHEN w.origin IS NULL THEN greatest(w.high, excluded.high) ELSE excluded.high END,
    low = CASE WHEN w.origin IS NULL THEN least(w.low, excluded.low) ELSE excluded.low END,
    highest_bid = greatest(w.highest_bid, excluded.highest_bid),
    lowest_ask = least(w.lowest_ask, excluded.lowest_ask),
    max_spread = greatest(w.max_spread, excluded.max_spread),
    {_SUMS},
    complete = w.complete AND w.origin IS NULL, origin = NULL, updated_at = now()
"""  # noqa: S608  (constants)
)

# Unchanged windows are not written, so that `updated_at` is the time of the last change.
_OVERWRITE = (
    _INSERT
    + """
    window_end = excluded.window_end, ticks = excluded.ticks, open = excluded.open, high = excluded.high,
    low = excluded.low, close = excluded.close, highest_bid = excluded.highest_bid,
    lowest_ask = excluded.lowest_ask, max_spread = excluded.max_spread, late = excluded.late,
    spread_sum = excluded.spread_sum, spread_bps_sum = excluded.spread_bps_sum,
    sized_ticks = excluded.sized_ticks, bid_size_sum = excluded.bid_size_sum,
    ask_size_sum = excluded.ask_size_sum, trades = excluded.trades, volume = excluded.volume,
    notional = excluded.notional, buy_volume = excluded.buy_volume, open_at = excluded.open_at,
    open_partition = excluded.open_partition, open_offset = excluded.open_offset,
    close_at = excluded.close_at, close_partition = excluded.close_partition,
    close_offset = excluded.close_offset, complete = excluded.complete, updated_at = now()
WHERE (w.window_end, w.ticks, w.open, w.high, w.low, w.close, w.highest_bid, w.lowest_ask, w.max_spread,
       w.late, w.spread_sum, w.spread_bps_sum, w.sized_ticks, w.bid_size_sum, w.ask_size_sum, w.trades,
       w.volume, w.notional, w.buy_volume, w.open_at, w.open_partition, w.open_offset, w.close_at,
       w.close_partition, w.close_offset, w.complete)
    IS DISTINCT FROM (excluded.window_end, excluded.ticks, excluded.open, excluded.high, excluded.low,
       excluded.close, excluded.highest_bid, excluded.lowest_ask, excluded.max_spread, excluded.late,
       excluded.spread_sum, excluded.spread_bps_sum, excluded.sized_ticks,
       excluded.bid_size_sum, excluded.ask_size_sum, excluded.trades, excluded.volume, excluded.notional,
       excluded.buy_volume, excluded.open_at, excluded.open_partition,
       excluded.open_offset, excluded.close_at, excluded.close_partition, excluded.close_offset,
       excluded.complete)
    AND (excluded.ticks >= w.ticks OR NOT %(keep_larger)s)
"""
)

_TOO_LATE = """
INSERT INTO crypto_windows_too_late (consumer_group, name, venue, pair, window_start, ticks)
SELECT %s, %s, n.*
FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::bigint[]) AS n (venue, pair, start)
ORDER BY venue, pair, start
ON CONFLICT (consumer_group, name, venue, pair, window_start) DO UPDATE SET ticks = excluded.ticks
"""


def merge(cursor: Executes, group: str, windows: dict[tuple[Market, datetime], Aggregate]) -> None:
    """Add a batch's part of each (market, minute) to the stored one, within the batch's transaction."""
    rows = [(market, start, start + MINUTE, part) for (market, start), part in windows.items()]
    cursor.execute(_MERGE, _values(group, MINUTES, rows, complete=False))


def overwrite(
    cursor: psycopg.Cursor,
    group: str,
    name: str,
    rows: Iterable[tuple[Market, datetime, datetime, Aggregate]],
    *,
    complete: bool,
    keep_larger: bool = False,
) -> None:
    """Write whole windows, (market, start, end, aggregate), except those that are stored already.

    keep_larger: also keep stored windows with more ticks: retention may have left only a part to read.
    """
    values = _values(group, name, list(rows), complete=complete)
    cursor.execute(_OVERWRITE, values | {"keep_larger": keep_larger})


def write_too_late(
    cursor: psycopg.Cursor, group: str, name: str, counts: Mapping[tuple[Market, datetime], int]
) -> None:
    """Write how many ticks have come too late for each (market, window) so far."""
    rows = [(*market, start, ticks) for (market, start), ticks in counts.items()]
    cursor.execute(_TOO_LATE, [group, name, *map(list, zip(*rows, strict=True))])


def _values(
    group: str, name: str, rows: list[tuple[Market, datetime, datetime, Aggregate]], *, complete: bool
) -> dict[str, object]:
    parts = [part for *_, part in rows]
    return {
        "group": group,
        "name": name,
        "complete": complete,
        "venue": array(market.venue for market, *_ in rows),
        "pair": array(market.pair for market, *_ in rows),
        "start": array(start for _, start, *_ in rows),
        "end": array(end for _, _, end, _ in rows),
        "open_at": array(part.opened[0] for part in parts),
        "open_partition": array(part.opened[1] for part in parts),
        "open_offset": array(part.opened[2] for part in parts),
        "close_at": array(part.closed[0] for part in parts),
        "close_partition": array(part.closed[1] for part in parts),
        "close_offset": array(part.closed[2] for part in parts),
    } | {
        **{column: array(getattr(part, column) for part in parts) for column in _AS_NAMED},
        **{
            column: array(None if part.trades is None else getattr(part.trades, column) for part in parts)
            for column in _OF_TRADES
        },
    }


_AS_NAMED = (
    *("ticks", "open", "high", "low", "close", "highest_bid", "lowest_ask", "max_spread", "late"),
    *("spread_sum", "spread_bps_sum", "sized_ticks", "bid_size_sum", "ask_size_sum"),
)
"""Columns with the name of their field in `Aggregate`."""
_OF_TRADES = ("trades", "volume", "notional", "buy_volume")
"""Columns with the name of their field in `TradeSums`."""
