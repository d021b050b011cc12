"""Look up when the feed of each venue was last heard, by what is stored: its newest tick and gap record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

# Several groups may store the same feed: the newest row counts.
_FEEDS = """
WITH markets AS (
    SELECT consumer_group, venue, pair, max(last_at) AS last_at FROM session_extremes
    GROUP BY consumer_group, venue, pair
), gaps AS (
    SELECT DISTINCT ON (venue) venue, kind, ends_at
    FROM markets CROSS JOIN LATERAL (
        SELECT kind, ends_at FROM feed_gaps
        WHERE (consumer_group, venue, pair) = (markets.consumer_group, markets.venue, markets.pair)
        ORDER BY ends_at DESC LIMIT 1
    ) AS newest
    ORDER BY venue, ends_at DESC
)
SELECT venue, max(last_at) AS newest_tick, min(kind) AS newest_gap, min(ends_at) AS newest_gap_at
FROM markets LEFT JOIN gaps USING (venue)
GROUP BY venue ORDER BY venue
"""


@dataclass(frozen=True, slots=True)
class FeedActivity:
    """The feed of a venue, as far as it is stored."""

    venue: str
    newest_tick: datetime
    """Event time."""
    newest_gap: str | None
    """Kind of the newest gap record: `start` and `end` of the feed are among them. None without one."""
    newest_gap_at: datetime | None
    """When the feed was heard again; for an `end`, when it was last heard."""


def feed_activity(connection: psycopg.Connection) -> list[FeedActivity]:
    """Return the feed of each venue, by name."""
    with connection.cursor(row_factory=class_row(FeedActivity)) as cursor:
        return cursor.execute(_FEEDS).fetchall()
