"""Store the minutes of a file as imported ones: all of them or none, and never over others.

An imported minute has prices and no ticks. One that is stored already with the same values stays as it is, so
the same file again changes nothing.
"""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from cryptometrics.errors import UserError
from cryptometrics.market.windows import MINUTE
from cryptometrics.risk.pair_minutes import MAX_MINUTES_BEFORE
from cryptometrics.store.array_text import arrays
from cryptometrics.store.group_mark import begin_work
from cryptometrics.text import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from cryptometrics.market.price_bars import PriceBar
    from cryptometrics.market.venues import Market

BATCH = 20_000
"""Minutes in one statement."""
USED = timedelta(days=1) + MAX_MINUTES_BEFORE * MINUTE
"""How far back the minutes lie that a row of `crypto_risk` is computed from."""

_BARS = """
unnest(%(start)s::timestamptz[], %(open)s::numeric[], %(high)s::numeric[], %(low)s::numeric[],
       %(close)s::numeric[], %(volume)s::numeric[]) AS n (start, open, high, low, close, volume)
"""
# Minutes without ticks: what only ticks can tell stays NULL.
_INSERT = f"""
INSERT INTO crypto_windows (consumer_group, name, venue, pair, window_start, window_end, ticks,
    open, high, low, close, late, volume, open_at, close_at, complete, origin)
SELECT %(group)s, '1m', %(venue)s, %(pair)s, start, start + interval '1 minute', 0,
    open, high, low, close, 0, volume, start, start + interval '59.999999 seconds', true, 'imported'
FROM {_BARS}
ORDER BY start
ON CONFLICT (consumer_group, name, venue, pair, window_start) DO NOTHING
"""  # noqa: S608  (constants)

# Once each minute of the file is stored, those that differ were there before.
_OTHERS = f"""
SELECT n.start, w.origin IS NULL
FROM {_BARS}
JOIN crypto_windows w ON (w.consumer_group, w.name, w.venue, w.pair, w.window_start)
                       = (%(group)s, '1m', %(venue)s, %(pair)s, n.start)
WHERE w.window_start BETWEEN %(first)s AND %(last)s
  AND (w.origin, w.open, w.high, w.low, w.close, w.volume)
      IS DISTINCT FROM ('imported', n.open, n.high, n.low, n.close, n.volume)
ORDER BY n.start
"""  # noqa: S608

# The follower waits, so that it neither computes with half of the minutes nor passes them by. Where it has
# not begun there is no row to lock, and the lock of the table keeps it from beginning.
_LOCK_PLACE = "SELECT FROM risk_progress WHERE (consumer_group, venue) = (%s, %s) FOR SHARE"
_LOCK_PLACES = "LOCK TABLE risk_progress IN SHARE MODE"

# `updated_at` is the start of the transaction that inserted a minute. Only minutes that some row uses are
# noted, and the newest, as an earlier first minute of a pair may have the follower begin the pair earlier.
_NOTE = """
WITH place AS (
    SELECT complete_until, greatest(begun_at, kept_from) - %(used)s::interval AS used_from
    FROM risk_progress WHERE (consumer_group, venue) = (%(group)s, %(venue)s)
), changed AS (
    SELECT window_start AS minute FROM crypto_windows, place
    WHERE (consumer_group, name, venue, pair) = (%(group)s, '1m', %(venue)s, %(pair)s)
      AND window_start BETWEEN %(first)s AND %(last)s AND window_start < complete_until
      AND origin = 'imported' AND updated_at = now()
)
INSERT INTO changed_minutes AS n (consumer_group, venue, pair, minute)
SELECT %(group)s, %(venue)s, %(pair)s, minute FROM changed, place
WHERE minute >= used_from OR minute = (SELECT max(minute) FROM changed)
ORDER BY minute
ON CONFLICT (consumer_group, venue, pair, minute) DO UPDATE SET changes = n.changes + 1, noted_at = now()
"""


class Imported(NamedTuple):
    """What an import has done."""

    stored: int
    """Minutes that are new."""
    unchanged: int
    """Minutes that an earlier import has stored with the same values."""


def store(
    connection: psycopg.Connection,
    group: str,
    market: Market,
    bars: Sequence[PriceBar],
    *,
    dry_run: bool = False,
    progress: Callable[[int], None] = lambda _done: None,
) -> Imported:
    """Store the minutes of a market in one transaction; bars: sorted by time, and at least one.

    dry_run: do all the same, and take it back at the end. progress: called with the number of minutes that
    are done. Raises UserError, and stores nothing, if a minute is stored already with other values, or if the
    group is being deleted.
    """
    parts = [bars[first : first + BATCH] for first in range(0, len(bars), BATCH)]
    new, others = 0, list[tuple["datetime", bool]]()
    with connection.transaction():
        begin_work(connection, group)
        if connection.execute(_LOCK_PLACE, [group, market.venue]).fetchone() is None:
            connection.execute(_LOCK_PLACES)
        for number, part in enumerate(parts):
            values = _values(group, market, part)
            new += connection.execute(_INSERT.encode(), values).rowcount
            others += connection.execute(_OTHERS.encode(), values).fetchall()
            progress(min(len(bars), (number + 1) * BATCH))
        if others:
            raise UserError(_refusal(market, len(bars), others))
        span = {"used": USED, "first": bars[0].start, "last": bars[-1].start}
        connection.execute(_NOTE, {"group": group, **market._asdict(), **span})
        if dry_run:
            raise psycopg.Rollback
    return Imported(new, len(bars) - new)


def _values(group: str, market: Market, bars: Sequence[PriceBar]) -> dict[str, object]:
    columns = dict(zip(("start", "open", "high", "low", "close", "volume"), arrays(bars), strict=True))
    return {
        "group": group,
        "first": bars[0].start,
        "last": bars[-1].start,
        **market._asdict(),
        **columns,
    }


def _refusal(market: Market, total: int, others: Sequence[tuple[datetime, bool]]) -> str:
    """Return which minutes are in the way, and how many: those of ticks first."""
    of_ticks = [start for start, has_ticks in others if has_ticks]
    of_imports = [start for start, has_ticks in others if not has_ticks]
    found, what = (
        (of_ticks, "are stored with ticks") if of_ticks else (of_imports, "were imported with other values")
    )
    return (
        f"{len(found):,} of {total:,} minutes of {market} {what}: {listed(_ranges(found))} (UTC). "
        "Nothing was imported: leave them out of the file"
    )


def _ranges(starts: Iterable[datetime]) -> list[str]:
    """Return minutes as text, consecutive ones as their first and last."""
    ranges: list[list[datetime]] = []
    for start in starts:
        if ranges and start - ranges[-1][1] == MINUTE:
            ranges[-1][1] = start
        else:
            ranges.append([start, start])
    return [
        f"{first.astimezone(UTC):%Y-%m-%d %H:%M}"
        + (f" to {last.astimezone(UTC):%Y-%m-%d %H:%M}" if last > first else "")
        for first, last in ranges
    ]
