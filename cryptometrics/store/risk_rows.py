"""Write the figures of `risk --follow`, with the place that it has come to, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.market.windows import MINUTE
from cryptometrics.store.array_text import array, arrays

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta

    import psycopg

    from cryptometrics.risk.figures import CoreFigures

# As the view crypto_markets has it, at a fraction of its cost: this is asked several times a second.
_VENUES = """
SELECT venue, date_bin('1 minute', complete_until, 'epoch'),
       EXISTS (SELECT FROM changed_minutes c
               WHERE (c.consumer_group, c.venue) = (%(group)s, venues.venue))
FROM (
    SELECT DISTINCT ON (venue) venue, min(complete_until) AS complete_until
    FROM window_progress
    WHERE consumer_group = %(group)s AND (%(venue)s::text IS NULL OR venue = %(venue)s)
    GROUP BY venue, topic ORDER BY venue, max(updated_at) DESC, topic
) AS venues
"""

_PAIRS = "SELECT pair FROM crypto_markets WHERE (consumer_group, venue) = (%s, %s) ORDER BY pair"
_MARKETS = """
SELECT min(first_minute), coalesce(max(heard_until), 'epoch') FROM crypto_markets
WHERE (consumer_group, venue) = (%s, %s)
"""

# Locked for the transaction: a first batch of a partition waits for it (see `changed_minutes`).
_PLACE = """
SELECT begun_at, complete_until, heard_until, kept_from, thinned_until FROM risk_progress
WHERE (consumer_group, venue) = (%s, %s) FOR UPDATE
"""
# Every batch reads this table before it commits. So the lock waits for those that found no place in it and
# noted nothing, and later ones find the place. It must not hold those up for long: a suspended worker keeps
# its lock.
_EXCLUDE_BATCHES = "SET LOCAL lock_timeout = '500ms'; LOCK TABLE risk_progress IN ACCESS EXCLUSIVE MODE"
_BEGIN = """
INSERT INTO risk_progress (consumer_group, venue, begun_at, complete_until, heard_until)
VALUES (%s, %s, %s, %s, %s)
"""
_MOVE = """
UPDATE risk_progress SET complete_until = %s, heard_until = %s, updated_at = now()
WHERE (consumer_group, venue) = (%s, %s)
"""
# Nobody had heard of the feed since these minutes when they were used. By now it has shown itself.
_NOTE_HEARD = """
INSERT INTO changed_minutes AS n (consumer_group, venue, pair, minute)
SELECT consumer_group, venue, pair, window_start
FROM crypto_minutes(%(group)s, %(venue)s, NULL, %(since)s, %(until)s)
WHERE ticks = 0 AND completeness = 'verified'
ORDER BY pair, window_start
ON CONFLICT (consumer_group, venue, pair, minute) DO UPDATE SET changes = n.changes + 1, noted_at = now()
"""

_WRITE = """
INSERT INTO crypto_risk AS r
    (consumer_group, venue, pair, range, as_of, minutes, minutes_with_ticks, coverage, gap_minutes,
     volatility, volatility_ewma, value_at_risk, expected_shortfall, drawdown, max_drawdown)
SELECT %s, %s, * FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::int[], %s::int[], %s::float8[],
    %s::int[], %s::float8[], %s::float8[], %s::float8[], %s::float8[], %s::float8[], %s::float8[])
ON CONFLICT (consumer_group, venue, pair, range, as_of) DO UPDATE SET
    minutes = excluded.minutes, minutes_with_ticks = excluded.minutes_with_ticks,
    coverage = excluded.coverage, gap_minutes = excluded.gap_minutes, volatility = excluded.volatility,
    volatility_ewma = excluded.volatility_ewma, value_at_risk = excluded.value_at_risk,
    expected_shortfall = excluded.expected_shortfall, drawdown = excluded.drawdown,
    max_drawdown = excluded.max_drawdown, computed_at = now()
"""

_NOTED = """
SELECT pair, minute, changes FROM changed_minutes
WHERE (consumer_group, venue) = (%s, %s)
  AND pair = (SELECT pair FROM changed_minutes WHERE (consumer_group, venue) = (%s, %s)
              ORDER BY minute LIMIT 1)
ORDER BY minute LIMIT %s
"""
# A note that was written again since it was read stays.
_REMOVE = """
DELETE FROM changed_minutes c
USING unnest(%s::timestamptz[], %s::bigint[]) AS done (minute, changes)
WHERE (c.consumer_group, c.venue, c.pair) = (%s, %s, %s)
  AND (c.minute, c.changes) = (done.minute, done.changes)
"""
_FIRST_ROW = "SELECT min(as_of) FROM crypto_risk WHERE (consumer_group, venue, pair) = (%s, %s, %s)"


class VenueState(NamedTuple):
    """How far a venue's minutes are complete, and whether some of them have changed since."""

    venue: str
    complete_until: datetime
    has_changes: bool


@dataclass(frozen=True, slots=True)
class Place:
    """How far the figures of a venue have come, and what `prune` has dropped of them."""

    begun_at: datetime
    complete_until: datetime
    heard_until: datetime
    """The newest sign of the venue's feed when the last figures were computed."""
    kept_from: datetime
    thinned_until: datetime

    def keeps(self, range_name: str, as_of: datetime) -> bool:
        """Return whether a row belongs into the table: it was begun, and `prune` has not dropped it."""
        if as_of <= self.begun_at or as_of < self.kept_from:
            return False
        return range_name != "24h" or as_of >= self.thinned_until or not (as_of.minute or as_of.second)


class FigureRow(NamedTuple):
    """The figures of a pair over a range, as of a moment."""

    pair: str
    range: str
    as_of: datetime
    figures: CoreFigures


@dataclass(frozen=True, slots=True)
class NotedMinutes:
    """Minutes of one pair that have changed since they were used: (start, number of changes)."""

    pair: str
    minutes: Sequence[tuple[datetime, int]]


def venues(connection: psycopg.Connection, group: str, venue: str | None) -> list[VenueState]:
    """Return the venues of a group, or the one named, with how far their minutes are complete.

    A venue is complete as far as its partitions all are.
    """
    rows = connection.execute(_VENUES, {"group": group, "venue": venue})
    return [VenueState(*row) for row in rows]


def lock_place(connection: psycopg.Connection, group: str, venue: str) -> Place | None:
    """Return how far a venue's figures have come, and keep others from changing it; None before the start."""
    row = connection.execute(_PLACE, [group, venue]).fetchone()
    return None if row is None else Place(*row)


def pairs(connection: psycopg.Connection, group: str, venue: str) -> list[str]:
    """Return the pairs of a venue that have minutes."""
    return [pair for (pair,) in connection.execute(_PAIRS, [group, venue])]


def begin(
    connection: psycopg.Connection, group: str, venue: str, complete_until: datetime, catch_up: timedelta
) -> None:
    """Store where the figures of a venue begin: at its oldest minute, at most `catch_up` before the newest.

    Does nothing if the venue has no complete minute yet. To be committed before any figure is computed.
    Raises psycopg.errors.LockNotAvailable if a batch takes long.
    """
    connection.execute(_EXCLUDE_BATCHES)
    oldest, heard_until = _market_times(connection, group, venue)
    if oldest is None or oldest >= complete_until:
        return
    first = max(oldest, complete_until - catch_up)
    connection.execute(_BEGIN, [group, venue, first, first, heard_until])


def move(
    connection: psycopg.Connection, group: str, venue: str, place: Place, complete_until: datetime
) -> None:
    """Store how far the figures have come, from `place` on.

    A minute without ticks becomes verified once its feed was heard after it. While a venue is silent, minutes
    complete before that is known; this notes them, so that their rows are computed again.
    """
    _, heard_until = _market_times(connection, group, venue)
    if place.heard_until < min(heard_until, place.complete_until):
        connection.execute(
            _NOTE_HEARD,
            {
                "group": group,
                "venue": venue,
                "since": place.heard_until - MINUTE,
                "until": place.complete_until,
            },
        )
    connection.execute(_MOVE, [complete_until, heard_until, group, venue])


def _market_times(connection: psycopg.Connection, group: str, venue: str) -> tuple[datetime | None, datetime]:
    """Return when a venue's oldest minute begins, and when its feed last showed itself."""
    row = connection.execute(_MARKETS, [group, venue]).fetchone()
    assert row is not None  # noqa: S101  (an aggregate has one row)
    return row


def write(connection: psycopg.Connection, group: str, venue: str, rows: Iterable[FigureRow]) -> None:
    """Write rows, or write them again."""
    columns = arrays(_columns(row) for row in rows)
    if columns:
        connection.execute(_WRITE, [group, venue, *columns])


def noted(connection: psycopg.Connection, group: str, venue: str, limit: int) -> NotedMinutes | None:
    """Return the oldest changed minutes of the pair that has the oldest of all, None if there are none."""
    rows = connection.execute(_NOTED, [group, venue, group, venue, limit]).fetchall()
    if not rows:
        return None
    return NotedMinutes(rows[0][0], [(minute, changes) for _, minute, changes in rows])


def remove_notes(connection: psycopg.Connection, group: str, venue: str, done: NotedMinutes) -> None:
    """Remove the notes of minutes whose rows were computed again."""
    minutes = array(minute for minute, _ in done.minutes)
    changes = array(count for _, count in done.minutes)
    connection.execute(_REMOVE, [minutes, changes, group, venue, done.pair])


def first_row(connection: psycopg.Connection, group: str, venue: str, pair: str) -> datetime | None:
    """Return the moment of a pair's oldest row, None without one."""
    row = connection.execute(_FIRST_ROW, [group, venue, pair]).fetchone()
    return row[0] if row else None


def _columns(row: FigureRow) -> tuple[str | int | float | datetime | None, ...]:
    figures = row.figures
    return (
        row.pair, row.range, row.as_of, figures.minutes, figures.minutes_with_ticks, figures.coverage,
        figures.gap_minutes, figures.volatility, figures.volatility_ewma, figures.value_at_risk,
        figures.expected_shortfall, figures.drawdown, figures.max_drawdown,
    )  # fmt: skip
