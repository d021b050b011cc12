"""Export stored quotes as CSV or JSON lines, in flat memory.

PostgreSQL sorts and sends one slice of time after the other, and each is passed on as it arrives, so neither
side holds more than a slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Literal

from psycopg import sql

from cryptometrics.store.stored_sessions import no_ticks, pair_sessions

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    import psycopg

Format = Literal["csv", "jsonl"]
DAY = timedelta(days=1)
MIN_SLICES, MAX_SLICES = 24, 1440
"""Slices of a day; each takes one sort and one index scan."""
ROWS_PER_SLICE = 20_000
"""Approximate rows of one sort, if they are spread evenly over the day."""

_TEXTS = ("pair", "session", "consumer_group", "kind", "venue")
_PRICES = ("bid", "ask", "mid_price", "spread", "spread_bps")
_SIZES = ("bid_size", "ask_size")
_EXTREMES = ("session_highest_bid", "session_lowest_ask", "session_max_spread")
_NUMBERS = ("trade_id", "kafka_partition", "kafka_offset")
COLUMNS = ("quoted_at", *_TEXTS[:3], *_PRICES, *_EXTREMES, "kind", *_NUMBERS, "recorded_at", *_SIZES, "venue")
"""The columns of the CSV and the keys of the JSON, in order; they are columns of the view crypto_quotes."""

_DAYS = """
SELECT day, sum(rows)::bigint FROM metric_days
WHERE consumer_group = %(group)s AND day BETWEEN %(first)s AND %(last)s GROUP BY day ORDER BY day
"""
_SLICE = sql.SQL("""
COPY (
    SELECT {columns} FROM crypto_quotes
    WHERE quoted_at >= {start} AND quoted_at < {end}
      AND consumer_group = {group} AND venue = {venue} AND pair = ANY({pairs})
    ORDER BY crypto_quotes.quoted_at, kafka_partition, kafka_offset
) TO STDOUT WITH ({options})
""")
# With a quote and a delimiter that JSON cannot contain, CSV leaves the line as it is; the text format
# would double backslashes.
_OPTIONS = {
    "csv": sql.SQL("FORMAT csv"),
    "jsonl": sql.SQL(r"FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02'"),
}


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of the text to write."""

    data: bytes
    rows: int
    """Rows of the slice that this block completes; 0 within a slice."""
    until: datetime


def export(
    connection: psycopg.Connection,
    group: str,
    venue: str,
    pairs: Sequence[str],
    since: datetime | None,
    until: datetime | None,
    form: Format,
) -> Generator[Block]:
    """Yield the quotes of `pairs`, or of all, at a venue with since <= quoted_at < until, in order of time.

    In CSV, text that a spreadsheet would take for a formula is prefixed with an apostrophe. Quotes that are
    stored later for a time already exported are missed. Raises UserError if a pair has no ticks.
    """
    sessions = pair_sessions(connection, group, venue=venue, pairs=pairs)
    if missing := [pair for pair in pairs if pair not in {row.pair for row in sessions}]:
        raise no_ticks(connection, group, missing, None, venue=venue)
    chosen = sorted({row.pair for row in sessions})
    start = max(filter(None, (since, min(row.first_at for row in sessions))))
    # Include the newest stored quote, but none that is stored later.
    newest = max(row.last_at for row in sessions) + timedelta(microseconds=1)
    end = min(filter(None, (until, newest)))
    if form == "csv":
        yield Block((",".join(COLUMNS) + "\n").encode(), 0, start)
    for first, last in _slices(connection, group, start, end):
        query = _SLICE.format(
            columns=_columns(form),
            start=first,
            end=last,
            group=group,
            venue=venue,
            pairs=chosen,
            options=_OPTIONS[form],
        )
        with connection.cursor() as cursor:
            with cursor.copy(query) as copy:
                for data in copy:
                    yield Block(bytes(data), 0, first)
            yield Block(b"", cursor.rowcount, last)


def _slices(
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


def _columns(form: Format) -> sql.Composed:
    comma = sql.SQL(", ")
    if form == "csv":
        return comma.join(_cell(column) for column in COLUMNS)
    pairs = (sql.SQL("{}, {}").format(sql.Literal(column), _json(column)) for column in COLUMNS)
    return sql.SQL("json_build_object({})").format(comma.join(pairs))


def _cell(column: str) -> sql.Composed:
    name = sql.Identifier(column)
    if column.endswith("_at"):
        return _time(name)
    if column in _TEXTS:
        # The first characters of a formula in Excel, LibreOffice and Sheets (OWASP, CSV injection).
        return sql.SQL(r"CASE WHEN {0} ~ '^[=+\-@\t\r]' THEN '''' || {0} ELSE {0} END").format(name)
    return sql.SQL("{}").format(name)


def _json(column: str) -> sql.Composed:
    name = sql.Identifier(column)
    if column.endswith("_at"):
        return _time(name)
    if column in (*_PRICES, *_EXTREMES, *_SIZES):
        return sql.SQL("{}::text").format(name)  # exact, however its reader parses numbers
    return sql.SQL("{}").format(name)


def _time(name: sql.Identifier) -> sql.Composed:
    """Return an expression that formats a time as ISO 8601 in UTC."""
    return sql.SQL("""to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""").format(name)
