"""How far the rows of each portfolio have come, and which of them must be computed again.

A follower that writes rows holds the lock of the versions, shared: so no version that is in force at a row's
minute can be stored beside it unseen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptometrics.market.windows import MINUTE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime, timedelta

    import psycopg

_HAS_WORK = """
SELECT EXISTS (
    SELECT FROM risk_progress r
    JOIN portfolio_versions v ON (v.consumer_group, v.venue) = (r.consumer_group, r.venue)
    LEFT JOIN portfolio_progress p
        ON (p.portfolio, p.consumer_group, p.venue) = (v.portfolio, v.consumer_group, v.venue)
    WHERE (r.consumer_group, r.venue) = (%(group)s, %(venue)s)
      AND CASE WHEN p.portfolio IS NULL THEN v.definition IS NOT NULL AND v.effective_at <= r.complete_until
               ELSE p.complete_until < r.complete_until OR p.again_from IS NOT NULL END
)
"""

# The first row is as of the first end of a minute at which a version is in force.
_BEGIN = """
INSERT INTO portfolio_progress (portfolio, consumer_group, venue, begun_at, complete_until)
SELECT portfolio, consumer_group, venue, begun_at, begun_at
FROM (
    SELECT v.portfolio, r.consumer_group, r.venue,
           greatest(date_bin('1 minute', min(v.effective_at) - interval '1 microsecond', 'epoch'),
                    r.begun_at, r.complete_until - %(catch_up)s::interval) AS begun_at
    FROM risk_progress r
    JOIN portfolio_versions v ON (v.consumer_group, v.venue) = (r.consumer_group, r.venue)
    WHERE (r.consumer_group, r.venue) = (%(group)s, %(venue)s)
      AND v.definition IS NOT NULL AND v.effective_at <= r.complete_until
    GROUP BY v.portfolio, r.consumer_group, r.venue
) AS new
ON CONFLICT DO NOTHING
"""

_PLACES = """
SELECT p.portfolio, p.begun_at, p.complete_until, p.again_from, p.again_until, p.kept_from, p.thinned_until
FROM portfolio_progress p
WHERE (p.consumer_group, p.venue) = (%(group)s, %(venue)s)
ORDER BY p.portfolio FOR UPDATE OF p
"""
_COMPLETE = "SELECT complete_until FROM risk_progress WHERE (consumer_group, venue) = (%s, %s)"

_MOVE = """
UPDATE portfolio_progress SET complete_until = %(until)s, updated_at = now()
WHERE portfolio = ANY(%(portfolios)s) AND (consumer_group, venue) = (%(group)s, %(venue)s)
"""
_MOVE_AGAIN = """
UPDATE portfolio_progress
SET again_from = CASE WHEN again_until > %(until)s THEN %(until)s END,
    again_until = CASE WHEN again_until > %(until)s THEN again_until END, updated_at = now()
WHERE portfolio = ANY(%(portfolios)s) AND (consumer_group, venue) = (%(group)s, %(venue)s)
"""

# The rows that use minutes of a pair: of their range and the day before it; those that its quotes mark, until
# its next tick; and those of the day whose first mark one of its quotes is.
_NOTE_MINUTES = """
UPDATE portfolio_progress p
SET again_from = least(p.again_from, stale.since), again_until = greatest(p.again_until, stale.until),
    updated_at = now()
FROM (
    SELECT used.portfolio, greatest(%(first)s::timestamptz, place.begun_at) AS since,
           least(place.complete_until, greatest(
               %(last)s::timestamptz + interval '1 minute 1 day' + used.range,
               coalesce(next.until, 'infinity'))) AS until
    FROM (
        SELECT portfolio, max((definition->'risk'->>'range_s')::bigint) * interval '1 second' AS range
        FROM portfolio_versions
        WHERE (consumer_group, venue) = (%(group)s, %(venue)s)
          AND EXISTS (SELECT FROM jsonb_each_text(definition->'pairs') AS prices WHERE value = %(pair)s)
        GROUP BY portfolio
    ) AS used
    JOIN portfolio_progress place
        ON (place.portfolio, place.consumer_group, place.venue) = (used.portfolio, %(group)s, %(venue)s)
    CROSS JOIN (
        SELECT date_trunc('day', min(window_start), 'UTC') + interval '1 day' AS until FROM crypto_windows
        WHERE (consumer_group, name, venue, pair) = (%(group)s, '1m', %(venue)s, %(pair)s)
          AND window_start > %(last)s AND origin IS NULL
    ) AS next
) AS stale
WHERE (p.portfolio, p.consumer_group, p.venue) = (stale.portfolio, %(group)s, %(venue)s)
  AND stale.since < stale.until
"""

# A version for the past may begin before the first row, but not before the figures of its venue.
_NOTE_VERSION = """
UPDATE portfolio_progress p
SET begun_at = least(p.begun_at, restated.since), again_from = least(p.again_from, restated.since),
    again_until = p.complete_until, updated_at = now()
FROM (
    SELECT consumer_group, venue,
           greatest(begun_at, date_bin('1 minute', %(effective_at)s - interval '1 microsecond', 'epoch'))
               AS since
    FROM risk_progress
) AS restated
WHERE p.portfolio = %(portfolio)s
  AND (p.consumer_group, p.venue) = (restated.consumer_group, restated.venue)
  AND restated.since < p.complete_until
"""
_MARKETS_TO_DO = """
SELECT consumer_group, venue FROM portfolio_progress WHERE portfolio = %s AND again_from IS NOT NULL
ORDER BY consumer_group, venue
"""


@dataclass(frozen=True, slots=True)
class PortfolioPlace:
    """How far the rows of a portfolio at one market have come, and what `prune` has dropped of them."""

    portfolio: str
    begun_at: datetime
    complete_until: datetime
    again_from: datetime | None
    """Rows as of later moments up to `again_until` are stale; None: none are."""
    again_until: datetime | None
    kept_from: datetime
    thinned_until: datetime

    def keeps(self, as_of: datetime) -> bool:
        """Return whether a row belongs into the table: it was begun, and `prune` has not dropped it."""
        if as_of <= self.begun_at or as_of < self.kept_from:
            return False
        return as_of >= self.thinned_until or not (as_of.minute or as_of.second)


@dataclass(frozen=True, slots=True)
class PortfolioJob:
    """Rows that can be computed together: as of the moments after `begin` and up to `end`."""

    places: Sequence[PortfolioPlace]
    begin: datetime
    end: datetime
    again: bool
    """Whether the rows are stale, and not missing."""

    @property
    def portfolios(self) -> list[str]:
        """The names of the portfolios."""
        return [place.portfolio for place in self.places]


def has_work(connection: psycopg.Connection, group: str, venue: str) -> bool:
    """Return whether rows of a venue's portfolios are missing or stale; asked several times a second."""
    row = connection.execute(_HAS_WORK, {"group": group, "venue": venue}).fetchone()
    return bool(row and row[0])


def begin(connection: psycopg.Connection, group: str, venue: str, catch_up: timedelta) -> None:
    """Store where the rows of new portfolios begin: where they are first in force, at most `catch_up` ago."""
    connection.execute(_BEGIN, {"group": group, "venue": venue, "catch_up": catch_up})


def lock_places(connection: psycopg.Connection, group: str, venue: str) -> list[PortfolioPlace]:
    """Return how far each portfolio of a venue has come, and keep others from changing it."""
    return [PortfolioPlace(*row) for row in connection.execute(_PLACES, {"group": group, "venue": venue})]


def complete_until(connection: psycopg.Connection, group: str, venue: str) -> datetime | None:
    """Return how far the figures of a venue have come: rows of portfolios follow them."""
    row = connection.execute(_COMPLETE, [group, venue]).fetchone()
    return row[0] if row else None


def next_job(places: Collection[PortfolioPlace], until: datetime | None) -> PortfolioJob | None:
    """Return what to compute first: missing rows of the portfolios that lack the fewest, then stale rows.

    until: how far the figures of the venue have come; None: only stale rows.
    """
    behind = [place for place in places if until is not None and place.complete_until < until]
    if behind and until is not None:
        newest = max(place.complete_until for place in behind)
        return PortfolioJob(
            [place for place in behind if place.complete_until == newest], newest, until, again=False
        )
    stale = [(place.again_from, place.again_until, place) for place in places if place.again_from]
    if not stale:
        return None
    first = min(since for since, _, _ in stale if since)
    chosen = [(end, place) for since, end, place in stale if since == first and end]
    return PortfolioJob([place for _, place in chosen], first, min(end for end, _ in chosen), again=True)


def move(connection: psycopg.Connection, group: str, venue: str, job: PortfolioJob) -> None:
    """Store that the rows of a job are written."""
    values = {"portfolios": job.portfolios, "group": group, "venue": venue, "until": job.end}
    connection.execute(_MOVE_AGAIN if job.again else _MOVE, values)


def note_minutes(
    connection: psycopg.Connection, group: str, venue: str, pair: str, first: datetime, last: datetime
) -> None:
    """Note that minutes of a pair have changed, from the one at `first` to the one at `last`."""
    values = {"group": group, "venue": venue, "pair": pair, "first": first, "last": last}
    connection.execute(_NOTE_MINUTES, values)


def note_version(connection: psycopg.Connection, portfolio: str, effective_at: datetime) -> None:
    """Note that a portfolio has a new version from a moment on, before the end of its rows."""
    connection.execute(_NOTE_VERSION, {"portfolio": portfolio, "effective_at": effective_at})


def markets_to_do(connection: psycopg.Connection, portfolio: str) -> list[tuple[str, str]]:
    """Return the groups and venues at which rows of a portfolio are stale."""
    return connection.execute(_MARKETS_TO_DO, [portfolio]).fetchall()


def moments(job: PortfolioJob) -> Sequence[datetime]:
    """Return the ends of minutes that a job has rows as of."""
    return [job.begin + count * MINUTE for count in range(1, (job.end - job.begin) // MINUTE + 1)]
