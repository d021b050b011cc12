"""Load a market's metrics over time, reduced in PostgreSQL to as many points as a chart can show.

The range is divided into buckets of equal width, each with the lowest, highest and last value of each metric.
So a chart of a thousand rows still shows the spike of one tick in a million.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from psycopg import sql

from cryptometrics.store.chart_range import chart_range
from cryptometrics.store.labelled_minutes import doubtful_spans
from cryptometrics.store.minute_series import (
    NOT_KNOWN,
    TickLimits,
    VolumeBars,
    are_whole,
    exceeds,
    load,
    load_volume,
)
from cryptometrics.store.running_extremes import EXTREMES, extreme_before, running, session_starts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal

    import psycopg

    from cryptometrics.market.venues import Market
    from cryptometrics.store.risk_curves import RiskCurves
    from cryptometrics.store.stored_sessions import SessionRow

# In the quote currency, except spread_bps, in basis points of the mid price, and imbalance, a share. Only
# quotients are rounded, by PostgreSQL, to at least 16 digits.
EXPRESSIONS = {
    "bid": sql.SQL("bid"),
    "ask": sql.SQL("ask"),
    "mid_price": sql.SQL("mid_price"),
    "spread": sql.SQL("spread"),
    "spread_bps": sql.SQL("10000 * spread / mid_price"),
    "highest_bid": sql.SQL("bid"),
    "lowest_ask": sql.SQL("ask"),
    "max_spread": sql.SQL("spread"),
    "weighted_mid": sql.SQL("(bid * ask_size + ask * bid_size) / nullif(bid_size + ask_size, 0)"),
    "imbalance": sql.SQL("bid_size / nullif(bid_size + ask_size, 0)"),
}
"""What is read of a tick for each metric; an extreme follows from the quotes, see `running_extremes`."""

# In the order of the topic an extreme only grows, so the least extreme one stored in a range is that of the
# first tick there, and holds what came before it.
_STORED = {
    "highest_bid": sql.SQL("min(highest_bid)"),
    "lowest_ask": sql.SQL("max(lowest_ask)"),
    "max_spread": sql.SQL("min(max_spread)"),
}

# The time range enables partition pruning and the block-range index. Arrays compare element by element, so
# the greatest one holds the values of the newest tick: one pass, without a sort, on parallel workers.
_BUCKETS = sql.SQL("""
SELECT min(timestamp), max(timestamp), count(*), count(*) FILTER (WHERE bid = ask),
       array_position(%(sessions)s, session) - 1, ARRAY[{lows}], ARRAY[{highs}],
       (max(ARRAY[extract(epoch FROM timestamp), kafka_offset, {metrics}]))[3:], ARRAY[{stored}]::numeric[]
FROM crypto_metrics
WHERE timestamp BETWEEN %(start)s AND %(end)s
  AND consumer_group = %(group)s AND venue = %(venue)s AND pair = %(pair)s
  AND session = ANY(%(sessions)s)
GROUP BY date_bin(%(width)s, timestamp, %(origin)s), session
ORDER BY 1
""")

DEFAULT_LIMITS = TickLimits()
VOLUME = "volume"
"""The metric that only minutes have."""
_ORIGIN = datetime(2000, 1, 1, tzinfo=UTC)
"""Makes buckets start at round times."""

_WIDTHS = [
    *(timedelta(microseconds=n * 10**power) for power in range(6) for n in (1, 2, 5)),
    *(timedelta(seconds=n) for n in (1, 2, 5, 10, 15, 30)),
    *(timedelta(minutes=n) for n in (1, 2, 5, 10, 15, 30)),
    *(timedelta(hours=n) for n in (1, 2, 4, 6, 12)),
    *(timedelta(days=n) for n in (1, 2, 5, 10, 20, 50, 100)),
]


class BucketValues(NamedTuple):
    """The lowest, highest and last value of one metric in each bucket; NaN where there is none."""

    low: list[Decimal]
    high: list[Decimal]
    last: list[Decimal]

    @classmethod
    def of_extreme(cls, running: list[Decimal]) -> BucketValues:
        """Return the values of an extreme, which each bucket has once: as it is at its end."""
        return cls(running, running, running)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A market's ticks from `start` to `end`, in buckets of `width`; lists have one item per nonempty bucket.

    A bucket has ticks of one session. Prices and spreads are in the quote currency, `spread_bps` in basis
    points of the mid price. Extremes are those of the session up to the end of the bucket.
    """

    market: Market
    group: str
    sessions: list[SessionRow]
    """The sessions that overlap the range, newest first."""
    start: datetime
    end: datetime
    width: timedelta
    first_at: list[datetime]
    last_at: list[datetime]
    ticks: list[int]
    locked: list[int]
    """Number of locked ticks: bid = ask."""
    metrics: dict[str, BucketValues]
    of_minutes: bool = False
    """Whether it was loaded from minutes: without bid and ask, and with the mean spread of each bucket."""
    volume: VolumeBars | None = None
    """Loaded on request."""
    risk: RiskCurves | None = None
    """Loaded on request."""
    session_starts: Sequence[int] = ()
    """Indexes of the buckets that belong to another session than the one before."""
    doubtful: Sequence[tuple[datetime, datetime]] = ()
    """Spans of time in which the feed may have missed something: neither verified nor simulated."""


def load_series(
    connection: psycopg.Connection,
    group: str,
    market: Market,
    metrics: Sequence[str],
    *,
    session: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    buckets: int = 1200,
    minutes: bool = False,
    limits: TickLimits = DEFAULT_LIMITS,
) -> Series:
    """Return the metrics of a market in at most `buckets` + 1 points per session.

    With `minutes`, a range of more ticks than the limits allow is loaded from minutes, which hold mid price,
    spread and extremes. The range and the errors are those of `chart_range`.
    """
    _, sessions, all_sessions, start, end, silence = chart_range(
        connection, group, market, session=session, since=since, until=until
    )
    width = bucket_width(end - start, buckets)
    volume = None
    if VOLUME in metrics:
        volume = load_volume(connection, group, market, start, end, width, _ORIGIN)
        metrics = [metric for metric in metrics if metric != VOLUME] or ["mid_price"]
    if (
        minutes
        and are_whole(sessions, all_sessions)
        and exceeds(connection, group, market, start, end, limits)
    ):
        series = _of_minutes(connection, group, market, metrics, sessions, start, end, width)
        return replace(series, volume=volume)
    rows = connection.execute(
        _query(metrics),
        {
            **market._asdict(),
            "group": group,
            "sessions": [row.session for row in sessions],
            "start": start,
            "end": end,
            "width": width,
            "origin": _ORIGIN,
        },
    ).fetchall()
    if not rows:
        raise silence
    first_at, last_at, ticks, locked, session_of, *values, stored = map(list, zip(*rows, strict=True))
    columns = ([_known(column) for column in zip(*each, strict=True)] for each in values)
    found = {metric: BucketValues(*each) for metric, *each in zip(metrics, *columns, strict=True)}
    for metric, reached in zip(
        filter(EXTREMES.__contains__, metrics), zip(*stored, strict=True), strict=False
    ):
        before = [
            extreme_before(
                metric,
                row,
                start,
                (value for value, of in zip(reached, session_of, strict=True) if of == number),
            )
            for number, row in enumerate(sessions)
        ]
        quotes = found[metric].high if EXTREMES[metric].better is max else found[metric].low
        found[metric] = BucketValues.of_extreme(running(metric, quotes, session_of, sessions, before))
    return Series(
        market=market,
        group=group,
        sessions=sessions,
        start=start,
        end=end,
        width=width,
        first_at=first_at,
        last_at=last_at,
        ticks=ticks,
        locked=locked,
        volume=volume,
        session_starts=session_starts(session_of),
        doubtful=doubtful_spans(connection, group, market, start, end),
        metrics=found,
    )


def _of_minutes(
    connection: psycopg.Connection,
    group: str,
    market: Market,
    metrics: Sequence[str],
    sessions: list[SessionRow],
    start: datetime,
    end: datetime,
    width: timedelta,
) -> Series:
    width, first_at, last_at, ticks, session_of, known = load(
        connection, group, market, sessions, start, end, width, _ORIGIN
    )
    return Series(
        market=market,
        group=group,
        sessions=sessions,
        start=max(start, first_at[0]),
        end=min(end, last_at[-1]),
        width=width,
        first_at=first_at,
        last_at=last_at,
        ticks=ticks,
        locked=[0] * len(ticks),
        session_starts=session_starts(session_of),
        doubtful=doubtful_spans(connection, group, market, start, end),
        metrics={metric: BucketValues(*known[metric]) for metric in metrics if metric in known},
        of_minutes=True,
    )


def _known(values: Iterable[Decimal | None]) -> list[Decimal]:
    return [NOT_KNOWN if value is None else value for value in values]


def bucket_width(span: timedelta, buckets: int) -> timedelta:
    """Return the smallest round width with which `buckets` cover `span`."""
    return next((width for width in _WIDTHS if width * buckets >= span), span / buckets)


def _query(metrics: Sequence[str]) -> sql.Composed:
    expressions = [EXPRESSIONS[metric] for metric in metrics]
    comma = sql.SQL(", ")
    return _BUCKETS.format(
        lows=comma.join(sql.SQL("min({})").format(expression) for expression in expressions),
        highs=comma.join(sql.SQL("max({})").format(expression) for expression in expressions),
        metrics=comma.join(expressions),
        stored=comma.join(_STORED[metric] for metric in metrics if metric in _STORED),
    )
