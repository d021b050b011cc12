"""Look up the newest risk figures of each market, as `risk --follow` has stored them.

Nothing is computed here: a market without stored figures has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.market.venues import Market

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import psycopg

    from cryptometrics.store.stored_sessions import SessionRow

# A range that ended a day before the quote has not one minute in common with the day of the quote.
_NEWEST = """
SELECT shown.venue, shown.pair, newest.as_of, newest.volatility, newest.drawdown, newest.value_at_risk,
       newest.coverage, newest.gap_minutes
FROM unnest(%(venues)s::text[], %(pairs)s::text[], %(last_at)s::timestamptz[], %(until)s::timestamptz[])
    AS shown (venue, pair, last_at, until)
CROSS JOIN LATERAL (
    SELECT r.as_of, r.volatility, r.drawdown, r.value_at_risk, r.coverage, r.gap_minutes FROM crypto_risk r
    WHERE (r.consumer_group, r.venue, r.pair, r.range) = (%(group)s, shown.venue, shown.pair, '24h')
      AND r.as_of > shown.last_at - interval '24 hours'
      AND r.as_of <= coalesce(shown.until, 'infinity')
    ORDER BY r.as_of DESC LIMIT 1
) AS newest
"""

_OF_GROUP = """
SELECT venue, pair, as_of, volatility, drawdown, value_at_risk, coverage, gap_minutes FROM crypto_latest_risk
WHERE consumer_group = %(group)s AND range = '24h' AND (%(venue)s::text IS NULL OR venue = %(venue)s)
"""

# Sessions may overlap: a named one has the time of days. Only one that begins later ends an older one.
_NEXT_SESSIONS = """
SELECT shown.venue, shown.pair,
       (SELECT min(s.first_at) FROM session_extremes s
        WHERE (s.consumer_group, s.venue, s.pair) = (%(group)s, shown.venue, shown.pair)
          AND s.first_at > shown.last_at)
FROM unnest(%(venues)s::text[], %(pairs)s::text[], %(last_at)s::timestamptz[]) AS shown (venue, pair, last_at)
"""


class LatestRisk(NamedTuple):
    """Figures of one market over 24 hours; ratios, None where they cannot be known."""

    as_of: datetime
    """The end of the 24 hours."""
    volatility: float | None
    """Realized, annualised."""
    drawdown: float | None
    """How far the newest close is below the highest mid price; positive."""
    value_at_risk: float | None
    """Loss over one hour that is exceeded with a probability of 1 %."""
    coverage: float
    """Share of the minutes that have a price, or are known to be empty."""
    gap_minutes: int
    """Minutes that a gap of the feed overlaps."""


def latest_risk(
    connection: psycopg.Connection, group: str, rows: Sequence[SessionRow]
) -> dict[Market, LatestRisk]:
    """Return the newest figures of each market, as far as there are any.

    rows: the newest session of each market.
    """
    return _look_up(connection, group, rows, {})


def risk_of_sessions(
    connection: psycopg.Connection, group: str, rows: Sequence[SessionRow]
) -> dict[Market, LatestRisk]:
    """Return the newest figures of each market before its next session begins.

    rows: one session of each market, not always its newest: an old one must not show today's risk.
    """
    found = connection.execute(_NEXT_SESSIONS, _markets(group, rows))
    return _look_up(connection, group, rows, {Market(venue, pair): until for venue, pair, until in found})


def risk_of_group(
    connection: psycopg.Connection, group: str, venue: str | None = None
) -> dict[Market, LatestRisk]:
    """Return the newest figures of each market of a group, or of one of its venues."""
    rows = connection.execute(_OF_GROUP, {"group": group, "venue": venue})
    return {Market(at, pair): LatestRisk(*figures) for at, pair, *figures in rows}


def _look_up(
    connection: psycopg.Connection,
    group: str,
    rows: Sequence[SessionRow],
    until: dict[Market, datetime | None],
) -> dict[Market, LatestRisk]:
    values = _markets(group, rows) | {"until": [until.get(row.market) for row in rows]}
    return {
        Market(venue, pair): LatestRisk(*figures)
        for venue, pair, *figures in connection.execute(_NEWEST, values)
    }


def _markets(group: str, rows: Sequence[SessionRow]) -> dict[str, object]:
    return {
        "group": group,
        "venues": [row.venue for row in rows],
        "pairs": [row.pair for row in rows],
        "last_at": [row.last_at for row in rows],
    }
