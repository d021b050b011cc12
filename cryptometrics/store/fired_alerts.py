"""Read the alerts of one market that a chart marks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

    from cryptometrics.market.venues import Market

MAX_MARKERS = 200
"""More would hide the chart."""

_FIRED = """
SELECT id, rule, severity, message, fired_at, resolved_at FROM alerts
WHERE (consumer_group, venue, pair) = (%(group)s, %(venue)s, %(pair)s)
  AND fired_at BETWEEN %(since)s AND %(until)s
ORDER BY fired_at DESC, id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class FiredAlert:
    """When an alert began and ended, and what it says."""

    id: int
    rule: str
    severity: str
    message: str
    fired_at: datetime
    resolved_at: datetime | None


def fired_between(
    connection: psycopg.Connection, group: str, market: Market, since: datetime, until: datetime
) -> list[FiredAlert]:
    """Return the newest alerts of a market that fired in a range, newest first."""
    values = {"group": group, "since": since, "until": until, "limit": MAX_MARKERS} | market._asdict()
    with connection.cursor(row_factory=class_row(FiredAlert)) as cursor:
        return cursor.execute(_FIRED, values).fetchall()
