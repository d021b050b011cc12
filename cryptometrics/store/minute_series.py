"""Load the series of a long range from its minutes, without reading millions of ticks.

Minutes hold mid price, spread, highest bid and lowest ask, but not the bid and the ask over time. The running
extremes of a session follow from them.
"""

from __future__ import annotations

from bisect import bisect_right
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.market.windows import MINUTE
from cryptometrics.store.running_extremes import EXTREMES, extreme_before, running

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime, timedelta

    import psycopg

    from cryptometrics.market.venues import Market
    from cryptometrics.store.stored_sessions import SessionRow


class TickLimits(NamedTuple):
    """How many ticks may be read for a series; a larger one is loaded from minutes."""

    of_market: int = 1_000_000
    """Those of the market itself, which become points."""
    in_range: int | None = None
    """Those of all markets and groups: without an index by pair, every tick of the range is looked at."""


# Imported minutes belong to no session.
_RANGE = """
FROM crypto_windows
WHERE consumer_group = %(group)s AND name = '1m' AND venue = %(venue)s AND pair = %(pair)s
  AND window_start BETWEEN date_bin('1 minute', %(start)s, 'epoch') AND %(end)s AND origin IS NULL
"""
_TICKS = "SELECT coalesce(sum(ticks), 0)::bigint" + _RANGE

# Of all groups and markets. The ticks of a session are taken as spread evenly between its first and its last.
_ALL_TICKS = """
SELECT coalesce(sum(ticks * extract(epoch FROM least(last_at, %(end)s) - greatest(first_at, %(start)s))
                    / greatest(extract(epoch FROM last_at - first_at), 1)), 0)::bigint
FROM session_extremes WHERE first_at <= %(end)s AND last_at >= %(start)s
"""

_BUCKETS = (
    """
SELECT min(open_at), max(close_at), sum(ticks)::bigint, min(low), max(high),
    (max(ARRAY[extract(epoch FROM close_at), close_partition, close_offset, close]))[4],
    sum(spread_sum) / sum(ticks), max(max_spread), sum(spread_bps_sum) / sum(ticks),
    max(highest_bid), min(lowest_ask),
    sum(bid_size_sum) / nullif(sum(bid_size_sum + ask_size_sum), 0)
"""
    + _RANGE
    + """
GROUP BY date_bin(%(width)s, window_start, %(origin)s)
ORDER BY 1
"""
)

# The volume of a bar is unknown if the volume of any of its minutes is.
_VOLUME = (
    """
SELECT date_bin(%(width)s, window_start, %(origin)s),
    CASE WHEN count(volume) = count(*) THEN sum(volume) END
"""
    + _RANGE
    + """
GROUP BY 1
ORDER BY 1
"""
)

# Of the oldest session in the range, which alone can have begun before it.
_BEFORE = """
SELECT max(highest_bid), min(lowest_ask), max(max_spread) FROM crypto_windows
WHERE consumer_group = %(group)s AND name = '1m' AND venue = %(venue)s AND pair = %(pair)s
  AND window_start >= date_bin('1 minute', %(first)s, 'epoch')
  AND window_start < date_bin('1 minute', %(start)s, 'epoch')
"""

NOT_KNOWN = Decimal("NaN")
"""In a list of values: there is none."""


class VolumeBars(NamedTuple):
    """The volume of the tickers' trades in each bucket of whole minutes, in the base currency.

    Tickers may batch trades, so it is a lower bound. It counts all sessions of these minutes.
    """

    width: timedelta
    starts: list[datetime]
    values: list[Decimal]
    """NOT_KNOWN where a minute has no sum: an earlier version stored a part of it."""


Lists = tuple[list[Decimal], list[Decimal], list[Decimal]]
"""The lowest, the highest and the last value of each bucket."""


def exceeds(
    connection: psycopg.Connection,
    group: str,
    market: Market,
    start: datetime,
    end: datetime,
    limits: TickLimits,
) -> bool:
    """Return whether a range has more ticks than may be read, by the counts of minutes and sessions."""
    values = {"group": group, "start": start, "end": end} | market._asdict()
    if _count(connection, _TICKS, values) > limits.of_market:
        return True
    return limits.in_range is not None and _count(connection, _ALL_TICKS, values) > limits.in_range


def _count(connection: psycopg.Connection, query: str, values: dict[str, object]) -> int:
    row = connection.execute(query.encode(), values).fetchone()
    return row[0] if row else 0


def are_whole(sessions: Sequence[SessionRow], all_of_market: Collection[SessionRow]) -> bool:
    """Whether the minutes hold ticks of these sessions only, one after the other; minutes have no session."""
    begin, end = min(row.first_at for row in sessions), max(row.last_at for row in sessions)
    overlapping = [row for row in all_of_market if row.first_at <= end and row.last_at >= begin]
    ordered = sorted(overlapping, key=lambda row: row.first_at)
    return all(one.last_at < other.first_at for one, other in pairwise(ordered)) and len(overlapping) == len(
        sessions
    )


def load(
    connection: psycopg.Connection,
    group: str,
    market: Market,
    sessions: Sequence[SessionRow],
    start: datetime,
    end: datetime,
    width: timedelta,
    origin: datetime,
) -> tuple[timedelta, list[datetime], list[datetime], list[int], list[int], dict[str, Lists]]:
    """Return the width of the buckets, their first and last times, their ticks, sessions and metrics.

    width: the width for ticks; it is rounded up to whole minutes.
    """
    width = _whole_minutes(width)
    values = {"group": group, "start": start, "end": end, "width": width, "origin": origin} | market._asdict()
    rows = connection.execute(_BUCKETS, values).fetchall()
    first, last, ticks, low, high, close, mean, largest, bps, bid, ask, shares = map(
        list, zip(*rows, strict=True)
    )
    starts = sorted(row.first_at for row in sessions)
    session_of = [len(starts) - bisect_right(starts, time) for time in last]
    metrics: dict[str, Lists] = {
        "mid_price": (low, high, close),
        "spread": (mean, largest, mean),
        "spread_bps": (bps, bps, bps),
    }
    imbalance = [NOT_KNOWN if share is None else share for share in shares]
    metrics["imbalance"] = imbalance, imbalance, imbalance
    earlier = connection.execute(_BEFORE, values | {"first": starts[0]}).fetchone() or ()
    for metric, extremes, known in zip(EXTREMES, (bid, ask, largest), earlier, strict=True):
        before = [extreme_before(metric, row, start, [] if known is None else [known]) for row in sessions]
        reached = running(metric, extremes, session_of, sessions, before)
        metrics[metric] = reached, reached, reached
    return width, first, last, ticks, session_of, metrics


def load_volume(
    connection: psycopg.Connection,
    group: str,
    market: Market,
    start: datetime,
    end: datetime,
    width: timedelta,
    origin: datetime,
) -> VolumeBars:
    """Return the volume of a range; width: as for `load`."""
    width = _whole_minutes(width)
    values = {"group": group, "start": start, "end": end, "width": width, "origin": origin} | market._asdict()
    rows = connection.execute(_VOLUME, values).fetchall()
    volumes = [NOT_KNOWN if volume is None else volume for _, volume in rows]
    return VolumeBars(width, [begin for begin, _ in rows], volumes)


def _whole_minutes(width: timedelta) -> timedelta:
    return max(MINUTE, MINUTE * -(-width // MINUTE))
