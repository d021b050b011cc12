"""Read the minutes of pairs, empty ones too, as columns of numbers, each minute with its label.

The label says what is known about a minute's completeness. The view `crypto_windows_1m` (migration
`0011_completeness.sql`) defines it; a change there must reach `_COUNTS` and `_DOUBTFUL`. Columns are
floats, for statistics: exact numbers are in the view.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.market.venues import Market, is_simulated

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    import psycopg
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]


class Label(enum.IntEnum):
    """What is known about the completeness of a minute, the worst first; names are those of the database.

    A coarser window has the least label of its minutes.
    """

    GAP = 0
    """A gap record overlaps it, widened by 2 s on both sides."""
    UNVERIFIED = 1
    """The feed may have missed something."""
    IMPORTED = 2
    """Its prices were imported."""
    SIMULATED = 3
    """Its prices were made by `simulate`."""
    VERIFIED = 4
    """The feed proves that it missed nothing that it sends, and was heard after the minute."""


NAMES = [label.name.lower() for label in Label]
"""Labels as the database has them, by their number."""

_PRICES = ("open", "high", "low", "close")
_SUMS = (
    *("spread_bps_sum", "sized_ticks", "bid_size_sum", "ask_size_sum"),
    *("trades", "volume", "notional", "buy_volume"),
)
# Columns come as bytes, which numpy reads as they are: as Python objects they took three times as long.
_MINUTES = """
SELECT pair,
    string_agg(int8send(extract(epoch FROM window_start)::bigint), ''::bytea ORDER BY window_start),
    string_agg(int8send(ticks), ''::bytea ORDER BY window_start),
    string_agg(int4send(array_position(%(names)s::text[], completeness) - 1), ''::bytea
               ORDER BY window_start),
    {columns}
FROM crypto_minutes(%(group)s::text, %(venue)s::text, %(pairs)s::text[],
                    %(since)s::timestamptz, %(until)s::timestamptz)
GROUP BY pair ORDER BY pair
"""
_COLUMN = "string_agg(float8send(coalesce({name}::float8, 'NaN')), ''::bytea ORDER BY window_start)"

_LENGTH = (
    "(SELECT coalesce(sum(extract(epoch FROM upper(r) - lower(r))), 0)::bigint / 60 FROM unnest({}) AS r)"
)
# As the view labels them, but without a row for each minute: a year has half a million.
_COUNTS = f"""
SELECT m.venue, m.pair, {_LENGTH.format("known")} AS minutes, {_LENGTH.format("known * m.gaps")} AS gap,
       {_LENGTH.format("known * m.proven - m.gaps")} AS proven, imported, imported_proven
FROM crypto_markets m
CROSS JOIN LATERAL (
    SELECT greatest(m.first_minute,
        date_bin('1 minute', %(since)s::timestamptz + interval '59.999999 seconds', 'epoch')) AS since
) AS range
CROSS JOIN LATERAL (
    SELECT tstzmultirange(tstzrange(since, m.complete_until)) AS known WHERE since < m.complete_until
) AS _
CROSS JOIN LATERAL (
    SELECT count(*) AS imported, count(*) FILTER (WHERE w.window_start <@ m.proven) AS imported_proven
    FROM crypto_windows w
    WHERE (w.consumer_group, w.name, w.venue, w.pair) = (m.consumer_group, '1m', m.venue, m.pair)
      AND w.origin = 'imported' AND w.window_start >= since AND w.window_start <@ (known - m.gaps)
) AS imports
WHERE m.consumer_group = %(group)s AND (%(venue)s::text IS NULL OR m.venue = %(venue)s)
  AND (%(pairs)s::text[] IS NULL OR m.pair = ANY(%(pairs)s::text[]))
ORDER BY m.venue, m.pair
"""  # noqa: S608  (the expressions are constants)


_DOUBTFUL = """
SELECT lower(span), upper(span)
FROM crypto_markets m
CROSS JOIN LATERAL (
    SELECT range_agg(tstzrange(w.window_start, w.window_end)) AS imported FROM crypto_windows w
    WHERE (w.consumer_group, w.name, w.venue, w.pair) = (m.consumer_group, '1m', m.venue, m.pair)
      AND w.origin = 'imported' AND w.window_end > %(since)s AND w.window_start < %(until)s
) AS imports
CROSS JOIN LATERAL (
    SELECT tstzmultirange(tstzrange(m.first_minute, greatest(m.first_minute, m.complete_until)))
         * tstzmultirange(tstzrange(%(since)s, %(until)s)) AS known
) AS _
CROSS JOIN LATERAL unnest(
    CASE WHEN crypto_is_simulated(m.venue) THEN known * m.gaps
         ELSE known - (m.proven - m.gaps - coalesce(imported, '{}')) END
) AS span
WHERE (m.consumer_group, m.venue, m.pair) = (%(group)s, %(venue)s, %(pair)s)
ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class LabelledMinutes:
    """Consecutive complete minutes of one pair, oldest first; a value that is not known is NaN.

    Prices are mid prices, sizes are in the base currency, `notional` is in the quote currency.
    """

    time: NDArray[np.datetime64]
    """Starts of the minutes, UTC."""
    ticks: Counts
    """0 for an empty minute, whose other values are NaN."""
    label: NDArray[np.int8]
    """Values of `Label`."""
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    spread_bps_sum: Floats
    """Sum over the ticks of the spread in basis points of the mid price."""
    sized_ticks: Floats
    """Ticks with a size on both sides; the two sums are of these."""
    bid_size_sum: Floats
    ask_size_sum: Floats
    trades: Floats
    """Tickers with a trade; `volume`, `notional` and `buy_volume` are sums over these."""
    volume: Floats
    notional: Floats
    buy_volume: Floats

    def __len__(self) -> int:
        """Return the number of minutes."""
        return len(self.time)


def read_minutes(
    connection: psycopg.Connection,
    group: str,
    venue: str,
    pairs: Collection[str],
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    prices_only: bool = False,
) -> dict[str, LabelledMinutes]:
    """Return the complete minutes of each pair that begin from `since` on and before `until`.

    A pair without a minute in the range is not in the result. No minute is before the pair's first tick.
    prices_only: the sums are not read, which saves a third of the time, and are NaN.
    """
    read = _PRICES if prices_only else _PRICES + _SUMS
    values = {
        "group": group,
        "venue": venue,
        "pairs": list(pairs),
        "since": since,
        "until": until,
        "names": NAMES,
    }
    query = _MINUTES.format(columns=", ".join(_COLUMN.format(name=name) for name in read))
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(query.encode(), values).fetchall()
    return {
        pair: LabelledMinutes(
            np.frombuffer(starts, ">i8").astype(np.int64).astype("datetime64[s]"),
            np.frombuffer(ticks, ">i8").astype(np.int64),
            np.frombuffer(labels, ">i4").astype(np.int8),
            *(np.frombuffer(column, ">f8").astype(np.float64) for column in columns),
            *([np.full(len(ticks) // 8, np.nan)] * (len(_SUMS) if prices_only else 0)),
        )
        for pair, starts, ticks, labels, *columns in rows
    }


def count_labels(
    connection: psycopg.Connection,
    group: str,
    pairs: Collection[str] = (),
    since: datetime | None = None,
    *,
    venue: str | None = None,
) -> dict[Market, dict[str, int]]:
    """Return the number of complete minutes with each label, of each venue and pair; all labels are keys."""
    values = {"group": group, "venue": venue, "pairs": list(pairs) or None, "since": since}
    counts = {}
    for at, pair, minutes, gap, proven, imported, imported_proven in connection.execute(
        _COUNTS.encode(), values
    ):
        rest = minutes - gap - imported
        simulated = rest if is_simulated(at) else 0
        verified = 0 if is_simulated(at) else proven - imported_proven
        numbers = verified, simulated, imported, rest - simulated - verified, gap
        counts[Market(at, pair)] = dict(zip(reversed(NAMES), numbers, strict=True))
    return counts


def doubtful_spans(
    connection: psycopg.Connection, group: str, market: Market, since: datetime, until: datetime
) -> list[tuple[datetime, datetime]]:
    """Return the spans of a range whose complete minutes are neither verified nor simulated, oldest first."""
    values = {"group": group, "since": since, "until": until} | market._asdict()
    return connection.execute(_DOUBTFUL, values).fetchall()
