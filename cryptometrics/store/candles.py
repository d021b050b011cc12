"""Load the candles of a market from its minutes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from psycopg.rows import class_row

from cryptometrics.errors import UserError
from cryptometrics.store.chart_range import chart_range
from cryptometrics.store.labelled_minutes import doubtful_spans

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    import psycopg

    from cryptometrics.market.venues import Market

SIZES = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
}
"""The sizes of candles, named like the views of the same windows."""
MAX_DEFAULT_CANDLES = 150
"""If no size is named, the shortest one with at most this many candles is used."""
MAX_CANDLES = 1_500
"""More candles would be too thin to tell apart."""

# As in the views, but with a range that uses the primary key of the minutes.
_CANDLES = """
SELECT date_bin(%(size)s, window_start, 'epoch') AS start,
    date_bin(%(size)s, window_start, 'epoch') + %(size)s AS "end", sum(ticks)::bigint AS ticks,
    (min(ARRAY[extract(epoch FROM open_at), open_partition, open_offset, open]))[4] AS open,
    max(high) AS high, min(low) AS low,
    (max(ARRAY[extract(epoch FROM close_at), close_partition, close_offset, close]))[4] AS close,
    sum(spread_sum) / sum(ticks) AS avg_spread, max(max_spread) AS max_spread,
    CASE WHEN count(volume) = count(*) THEN sum(volume) END AS volume,
    bool_and(complete) AND date_bin(%(size)s, window_start, 'epoch') + %(size)s <= now() AS complete,
    min(open_at) AS open_at, max(close_at) AS close_at
FROM crypto_windows
WHERE consumer_group = %(group)s AND name = '1m' AND venue = %(venue)s AND pair = %(pair)s
  AND window_start >= date_bin(%(size)s, %(since)s, 'epoch')
  AND window_start < date_bin(%(size)s, %(until)s, 'epoch') + %(size)s
GROUP BY 1 ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Candle:
    """One candle; prices are mid prices in the quote currency."""

    start: datetime
    end: datetime
    """Exclusive end of its window."""
    ticks: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    avg_spread: Decimal | None
    max_spread: Decimal | None
    """Of the ticks; None if all its minutes are imported."""
    volume: Decimal | None
    """Of the trades, in the base currency; a lower bound. None if a minute has no sum."""
    complete: bool
    open_at: datetime
    close_at: datetime
    """Times of the first and the last tick."""

    @property
    def length(self) -> timedelta:
        """Length of its window."""
        return self.end - self.start


class Candles(NamedTuple):
    """The candles of a market, oldest first; windows without ticks have none."""

    market: Market
    group: str
    name: str
    size: timedelta
    """Length of each; the shortest if they differ, and the time between two starts if they overlap."""
    candles: list[Candle]
    doubtful: Sequence[tuple[datetime, datetime]] = ()
    """As in `tick_series.Series`."""
    kind: str = "candles"
    """What the title calls them."""

    @property
    def overlap(self) -> bool:
        """Whether a window begins before the one before it ends."""
        return any(after.start < before.end for before, after in itertools.pairwise(self.candles))


def load_candles(
    connection: psycopg.Connection,
    group: str,
    market: Market,
    size: str | None,
    *,
    session: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Candles:
    """Return the candles of a market in a range, each of its whole window.

    size: one of SIZES, or None for the one that suits the range. The range and the errors are those of
    `chart_range`. Raises UserError, too, if the candles are too many to be seen.
    """
    found = chart_range(connection, group, market, session=session, since=since, until=until)
    begin, end = found.start, found.end
    name = size or _shortest_size(end - begin, MAX_DEFAULT_CANDLES) or "1d"
    if (count := (end - begin) // SIZES[name]) > MAX_CANDLES:
        longer = _shortest_size(end - begin, MAX_CANDLES)
        raise UserError(
            f"{count:,} candles of {name} are too many to be seen: "
            + (f"use {longer}, or a shorter range" if longer else "use a shorter range")
        )
    values = {"size": SIZES[name], "group": group, "since": begin, "until": end} | market._asdict()
    with connection.cursor(row_factory=class_row(Candle)) as cursor:
        candles = cursor.execute(_CANDLES, values).fetchall()
    if not candles:
        raise found.silence
    first, last = candles[0].start, candles[-1].start + SIZES[name]
    doubtful = doubtful_spans(connection, group, market, first, last)
    return Candles(market, group, name, SIZES[name], candles, doubtful)


def _shortest_size(span: timedelta, count: int) -> str | None:
    """Return the name of the shortest size that covers a span with at most `count` candles."""
    return next((name for name, size in SIZES.items() if span / size <= count), None)
