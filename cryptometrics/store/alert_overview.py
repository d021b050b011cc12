"""Read alerts as people look at them: those that fire, then those that have ended, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    import psycopg

MAX_FIRING = 500
"""More would be no overview."""

_COLUMNS = """
SELECT a.id, a.venue, a.pair, a.rule, a.kind, a.severity, a.level, a.value, a.message, a.fired_at,
       a.resolved_at, a.resolved_message, a.silence_id IS NOT NULL AS silenced,
       k.acknowledged_by, k.acknowledged_at, k.why AS acknowledged_why
FROM alerts a LEFT JOIN alert_acknowledgements k ON k.alert_id = a.id
WHERE a.consumer_group = %(group)s AND (%(venue)s::text IS NULL OR a.venue IN (%(venue)s, ''))
"""
_FIRING = f"""
{_COLUMNS} AND a.resolved_at IS NULL ORDER BY a.fired_at DESC, a.id DESC LIMIT %(limit)s
"""
_RESOLVED = f"""
{_COLUMNS} AND a.resolved_at IS NOT NULL AND (%(before)s::bigint IS NULL OR a.id < %(before)s)
ORDER BY a.id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class AlertOverview:
    """An alert, and what people have said about it."""

    id: int
    venue: str
    """Empty for a rule about rejected ticks."""
    pair: str
    rule: str
    kind: str
    severity: str
    level: Decimal
    value: Decimal | None
    message: str
    fired_at: datetime
    resolved_at: datetime | None
    resolved_message: str | None
    silenced: bool
    """Whether it is not sent because of a silence."""
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    acknowledged_why: str | None


def firing_alerts(connection: psycopg.Connection, group: str, venue: str | None) -> list[AlertOverview]:
    """Return the alerts of a group, or of one venue, that fire now, newest first."""
    with connection.cursor(row_factory=class_row(AlertOverview)) as cursor:
        values = {"group": group, "venue": venue, "limit": MAX_FIRING}
        return cursor.execute(_FIRING.encode(), values).fetchall()


def resolved_alerts(
    connection: psycopg.Connection, group: str, venue: str | None, limit: int, before: int | None
) -> list[AlertOverview]:
    """Return the newest alerts that have ended; before: only those with lower ids, for the next page."""
    with connection.cursor(row_factory=class_row(AlertOverview)) as cursor:
        values = {"group": group, "venue": venue, "limit": limit, "before": before}
        return cursor.execute(_RESOLVED.encode(), values).fetchall()
