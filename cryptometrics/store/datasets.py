"""The stored data that people take away: each dataset's relation, the columns that order it, and its rows.

A reader selects a part of one dataset. The rows of quotes come in slices of time, so that neither PostgreSQL
nor the reader ever holds more than a slice; all others are small enough for one query.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple

import psycopg
from psycopg import sql

from cryptometrics.store.stored_sessions import no_ticks, pair_sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Name = Literal["quotes", "candles", "sessions", "risk", "portfolio", "alerts", "gaps"]

DAY = timedelta(days=1)
MIN_SLICES, MAX_SLICES = 24, 1440
"""Slices of a day; each takes one sort and one index scan."""
ROWS_PER_SLICE = 20_000
"""Approximate rows of one sort, if they are spread evenly over the day."""
QUOTE_COLUMNS = (
    *("quoted_at", "pair", "session", "consumer_group"),
    *("bid", "ask", "mid_price", "spread", "spread_bps"),
    *("session_highest_bid", "session_lowest_ask", "session_max_spread"),
    *("kind", "trade_id", "kafka_partition", "kafka_offset", "recorded_at", "bid_size", "ask_size", "venue"),
)
"""The columns of quotes, in order; they are columns of the view crypto_quotes."""


class Dataset(NamedTuple):
    """A table or a view whose rows have a group, a venue and a time."""

    relation: str
    time: str
    """The column that a range of time is about."""
    order: tuple[str, ...]
    one_venue: bool = False
    """Whether the rows are one series of prices, in which venues never mix."""
    minutes: bool = False
    """Whether it follows from minutes, which may be imported and then have no ticks."""
    names: str = "pair"
    """The column that selects some of the rows by name."""


DATASETS: dict[Name, Dataset] = {
    "quotes": Dataset(
        "crypto_quotes", "quoted_at", ("quoted_at", "kafka_partition", "kafka_offset"), one_venue=True
    ),
    "candles": Dataset(
        "crypto_windows_1m", "window_start", ("window_start", "pair"), one_venue=True, minutes=True
    ),
    "sessions": Dataset("crypto_sessions", "last_at", ("venue", "pair", "first_at", "session")),
    "risk": Dataset("crypto_risk", "as_of", ("as_of", "venue", "pair", "range"), minutes=True),
    "portfolio": Dataset(
        "portfolio_risk", "as_of", ("as_of", "portfolio", "version"), minutes=True, names="portfolio"
    ),
    "alerts": Dataset("alerts", "fired_at", ("fired_at", "id")),
    "gaps": Dataset("feed_gaps", "ends_at", ("ends_at", "kafka_partition", "kafka_offset")),
}


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows of a dataset to read: since <= time < until."""

    what: Name
    group: str
    venue: str | None = None
    names: Sequence[str] = ()
    """Pairs, or portfolios; empty for all."""
    since: datetime | None = None
    until: datetime | None = None
    interval: str = "1m"
    """The size of candles: the name of one of `candles.SIZES`."""


class Column(NamedTuple):
    """A column, with PostgreSQL's name of its type."""

    name: str
    type: str


class Slice(NamedTuple):
    """A query of all columns of the rows in a part of the selection; parts follow each other in order."""

    query: sql.Composed
    until: datetime | None
    """The end of the part; None for the only one."""


_DAYS = """
SELECT day, sum(rows)::bigint FROM metric_days
WHERE consumer_group = %(group)s AND day BETWEEN %(first)s AND %(last)s GROUP BY day ORDER BY day
"""
_ROWS = sql.SQL("SELECT {columns} FROM {relation} AS source WHERE {condition} ORDER BY {order}")
# A range of minutes is found faster by the function than by the view.
_MINUTES = sql.SQL("crypto_minutes({group}, {venue}, {pairs}, {since}, {until})")


def columns_of(connection: psycopg.Connection, selection: Selection) -> list[Column]:
    """Return the columns of the dataset, in order."""
    wanted = QUOTE_COLUMNS if selection.what == "quotes" else ()
    names = sql.SQL(", ").join(map(sql.Identifier, wanted)) if wanted else sql.SQL("*")
    query = sql.SQL("SELECT {} FROM {} LIMIT 0").format(names, sql.Identifier(_relation(selection)))
    found = connection.execute(query).description or ()
    return [Column(each.name, _type_of(each.type_code)) for each in found]


def _type_of(oid: int) -> str:
    """Return the name of a type, with brackets for an array; text for one that is not known."""
    kind = psycopg.adapters.types.get(oid)
    if kind is None:
        return "text"
    return f"{kind.name}[]" if kind.array_oid == oid else kind.name


def slices(
    connection: psycopg.Connection,
    selection: Selection,
    columns: Sequence[Column],
    express: Callable[[Sequence[Column]], sql.Composed],
) -> Iterator[Slice]:
    """Yield the queries whose rows are the selection, in order.

    express: returns the expressions of the output; columns are named by `source`. Quotes that are stored
    later for a time already read are missed. Raises UserError if a pair of quotes has no ticks.
    """
    expressions = express(columns)
    if selection.what != "quotes":
        yield Slice(_query(selection, selection.names, selection.since, selection.until, expressions), None)
        return
    pairs, start, end = _extent(connection, selection)
    for first, last in _slices_of_days(connection, selection.group, start, end):
        yield Slice(_query(selection, pairs, first, last, expressions), last)


def _query(
    selection: Selection,
    names: Sequence[str],
    since: datetime | None,
    until: datetime | None,
    expressions: sql.Composed,
) -> sql.Composed:
    dataset = DATASETS[selection.what]
    moment = sql.Identifier("source", dataset.time)
    conditions = [sql.SQL("source.consumer_group = {}").format(selection.group)]
    relation: sql.Composable = sql.Identifier(_relation(selection))
    if selection.what == "candles" and selection.interval == "1m":
        relation = _MINUTES.format(
            group=selection.group,
            venue=selection.venue,
            pairs=list(names) or None,
            since=since,
            until=until,
        )
    if selection.venue is not None:
        conditions.append(sql.SQL("source.venue = {}").format(selection.venue))
    if names:
        conditions.append(
            sql.SQL("{} = ANY({})").format(sql.Identifier("source", dataset.names), list(names))
        )
    if since is not None:
        conditions.append(sql.SQL("{} >= {}").format(moment, since))
    if until is not None:
        conditions.append(sql.SQL("{} < {}").format(moment, until))
    return _ROWS.format(
        columns=expressions,
        relation=relation,
        condition=sql.SQL(" AND ").join(conditions),
        order=sql.SQL(", ").join(sql.Identifier("source", column) for column in dataset.order),
    )


def _relation(selection: Selection) -> str:
    if selection.what == "candles":
        return f"crypto_windows_{selection.interval}"
    return DATASETS[selection.what].relation


def _extent(connection: psycopg.Connection, selection: Selection) -> tuple[list[str], datetime, datetime]:
    """Return the pairs with quotes, and the range of time to read."""
    group, venue, pairs = selection.group, selection.venue, selection.names
    sessions = pair_sessions(connection, group, venue=venue, pairs=pairs)
    if missing := [pair for pair in pairs if pair not in {row.pair for row in sessions}]:
        raise no_ticks(connection, group, missing, None, venue=venue)
    start = max(filter(None, (selection.since, min(row.first_at for row in sessions))))
    # Include the newest stored quote, but none that is stored later.
    newest = max(row.last_at for row in sessions) + timedelta(microseconds=1)
    end = min(filter(None, (selection.until, newest)))
    return sorted({row.pair for row in sessions}), start, end


def _slices_of_days(
    connection: psycopg.Connection, group: str, start: datetime, end: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """Yield the slices between two times on the days that have rows."""
    days = connection.execute(_DAYS, {"group": group, "first": start.date(), "last": end.date()}).fetchall()
    for day, rows in days:
        midnight = datetime.combine(day, time(), UTC)
        parts = min(max(rows // ROWS_PER_SLICE, MIN_SLICES), MAX_SLICES)
        for number in range(parts):
            first = max(midnight + number * DAY / parts, start)
            last = min(midnight + (number + 1) * DAY / parts, end)
            if first < last:
                yield first, last
