"""Compute the rows of `crypto_risk` from the minutes again, and compare them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from cryptometrics.verify.findings import FindingKind
from cryptometrics.verify.risk_figures import RANGES, USED, Figures, Minutes

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from cryptometrics.verify.findings import Findings
    from cryptometrics.verify.offset_books import GroupBooks

RELATIVE = 1e-9
"""How far two floats may be apart, relative to the larger one."""
MINUTE = timedelta(minutes=1)

_PLACES = """
SELECT p.venue, p.begun_at, p.complete_until,
       CASE WHEN max(m.heard_until) > p.heard_until THEN p.heard_until END, p.kept_from, p.thinned_until
FROM risk_progress p LEFT JOIN crypto_markets m USING (consumer_group, venue)
WHERE p.consumer_group = %s
GROUP BY p.consumer_group, p.venue ORDER BY p.venue
"""
_PAIRS = """
SELECT pair FROM crypto_windows WHERE (consumer_group, name, venue) = (%(group)s, '1m', %(venue)s)
UNION SELECT pair FROM crypto_risk WHERE (consumer_group, venue) = (%(group)s, %(venue)s)
ORDER BY pair
"""
_MINUTES = """
SELECT window_start, open::float8, high::float8, low::float8, close::float8, ticks,
       completeness IN ('verified', 'simulated'), completeness = 'gap'
FROM crypto_minutes(%(group)s, %(venue)s, ARRAY[%(pair)s], %(since)s, %(until)s)
ORDER BY window_start
"""
_FIRST = """
SELECT min(window_start) FROM crypto_windows
WHERE (consumer_group, name, venue, pair) = (%(group)s, '1m', %(venue)s, %(pair)s)
"""
_ROWS = """
SELECT as_of, minutes, minutes_with_ticks, coverage, gap_minutes, volatility, volatility_ewma,
       value_at_risk, expected_shortfall, drawdown, max_drawdown
FROM crypto_risk WHERE (consumer_group, venue, pair, range) = (%(group)s, %(venue)s, %(pair)s, %(range)s)
"""
_NOTES = """
SELECT minute FROM changed_minutes WHERE (consumer_group, venue, pair) = (%(group)s, %(venue)s, %(pair)s)
ORDER BY minute
"""


def check_risk(connection: psycopg.Connection, books: GroupBooks, findings: Findings) -> None:
    """Compare each row of `crypto_risk` with its minutes, and look for rows that are missing.

    A row that used a minute with a pending note is stale, and so is one of minutes after which the feed has
    been heard only since then: `risk --follow` computes them again.
    """
    for place in connection.execute(_PLACES, [books.group]).fetchall():
        venue = _Venue(connection, books.group, *place)
        for (pair,) in connection.execute(_PAIRS, {"group": books.group, "venue": venue.name}).fetchall():
            for as_of, range_name, problem in venue.problems(pair):
                row = f"{venue.name} {pair} {range_name} as of {as_of.astimezone(UTC):%Y-%m-%d %H:%M}"
                findings.add_text(FindingKind.RISK, f"{row}: {problem}")


def notes_on_stale_risk(connection: psycopg.Connection, group: str) -> list[str]:
    """Return a note if rows of `crypto_risk` wait to be computed again."""
    row = connection.execute(
        "SELECT count(*) FROM changed_minutes WHERE consumer_group = %s", [group]
    ).fetchone()
    count = row[0] if row else 0
    if not count:
        return []
    return [
        f"{count:,} minutes have changed since crypto_risk was computed: `risk --follow` corrects its rows"
    ]


class _Venue:
    """The rows of one venue, and how far they should go."""

    def __init__(
        self,
        connection: psycopg.Connection,
        group: str,
        name: str,
        begun_at: datetime,
        complete_until: datetime,
        heard_until: datetime | None,
        *kept: datetime,
    ) -> None:
        self._connection, self._group, self.name = connection, group, name
        self._begun_at, self._until, self._heard_until = begun_at, complete_until, heard_until
        self._kept_from, self._thinned_until = kept

    def problems(self, pair: str) -> Iterator[tuple[datetime, str, str]]:
        """Yield the time, the range and the problem of each row that is wrong, missing or too many."""
        values = {"group": self._group, "venue": self.name, "pair": pair}
        (first,) = self._connection.execute(_FIRST, values).fetchone() or (None,)
        begin = self._until if first is None else max(first, self._begun_at)
        # The first minutes that the first row may use.
        base = begin if first is None else max(first, begin - USED * MINUTE)
        minutes = self._minutes(values | {"since": base, "until": self._until})
        stale = _Stale([minute for (minute,) in self._connection.execute(_NOTES, values)], self._heard_until)
        for name, length in RANGES.items():
            stored = {as_of: row for as_of, *row in self._connection.execute(_ROWS, values | {"range": name})}
            as_of = begin + MINUTE
            while as_of <= self._until:
                row = stored.pop(as_of, None)
                if row is None:
                    if self._keeps(name, as_of) and as_of not in stale:
                        yield as_of, name, "there is no row"
                elif (
                    problem := _difference(row, minutes.figures((as_of - base) // MINUTE, length))
                ) and as_of not in stale:
                    yield as_of, name, problem
                as_of += MINUTE
            for as_of in sorted(stored):
                yield as_of, name, "the row is of no complete minute"

    def _keeps(self, range_name: str, as_of: datetime) -> bool:
        if as_of < self._kept_from:
            return False
        return range_name != "24h" or as_of >= self._thinned_until or not as_of.minute

    def _minutes(self, values: dict[str, Any]) -> Minutes:
        rows = self._connection.execute(_MINUTES, values).fetchall()
        columns = list(zip(*rows, strict=True)) or [()] * 8
        prices = np.array(columns[1:5], dtype=np.float64)
        return Minutes(
            prices, np.array(columns[5], dtype=np.int64), *(np.array(c, dtype=bool) for c in columns[6:])
        )


class _Stale:
    """The moments whose rows used a minute that has changed since, or not heard until later."""

    def __init__(self, changed: list[datetime], heard_until: datetime | None) -> None:
        self._changed = np.array([minute.timestamp() for minute in changed])
        self._heard_until = heard_until

    def __contains__(self, as_of: datetime) -> bool:
        if self._heard_until is not None and as_of > self._heard_until:
            return True
        until = as_of.timestamp()
        used = np.searchsorted(self._changed, [until - USED * 60, until])
        return bool(used[0] < used[1])


def _difference(stored: list[Any], true: Figures) -> str | None:
    """Return the first column that differs from the truth, None if none does."""
    for column, value, other in zip(Figures._fields, stored, true, strict=True):
        if value is None or other is None:
            if value is not other:
                return f"{column} is {_text(value)}, not {_text(other)}"
        elif not math.isclose(value, other, rel_tol=RELATIVE, abs_tol=1e-15):
            return f"{column} is {value:.12g}, not {other:.12g}"
    return None


def _text(value: float | None) -> str:
    return "null" if value is None else f"{value:.12g}"
