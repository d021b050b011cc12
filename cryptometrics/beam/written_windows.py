"""Look up which windows a job has written: the rows that have changed since it began."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from cryptometrics.beam.launch import COUNTERS

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

    from cryptometrics.beam.job import Job

_COUNTS = """
SELECT coalesce(sum(ticks), 0)::bigint, count(*),
       (SELECT coalesce(sum(ticks), 0)::bigint FROM crypto_windows_too_late
        WHERE consumer_group = %(group)s AND name = %(name)s)
FROM crypto_windows WHERE consumer_group = %(group)s AND name = %(name)s AND updated_at >= %(begun)s
"""

_BY_MARKET = """
SELECT venue, pair, count(*) AS count, count(*) FILTER (WHERE complete) AS complete,
       min(window_start) AS first_start, max(window_end) AS last_end
FROM crypto_windows WHERE consumer_group = %(group)s AND name = %(name)s AND updated_at >= %(begun)s
GROUP BY venue, pair ORDER BY pair, venue
"""


@dataclass(frozen=True, slots=True)
class WrittenWindows:
    """The windows of a pair at a venue that a job wrote; unchanged ones do not count."""

    venue: str
    pair: str
    count: int
    complete: int
    first_start: datetime
    last_end: datetime


def database_time(connection: psycopg.Connection) -> datetime:
    """Return the time by the database's clock, which also dates the changes of rows."""
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None  # noqa: S101  (a SELECT without FROM has one row)
    now: datetime = row[0]
    return now


def written_counts(connection: psycopg.Connection, job: Job, begun: datetime) -> dict[str, int]:
    """Return the counters of a job that follows the topic, by its windows; begun: by the database's clock."""
    found = connection.execute(_COUNTS, _values(job, begun)).fetchone()
    return dict.fromkeys(COUNTERS, 0) | dict(zip(("ticks", "rows", "too_late"), found or (), strict=True))


def written_windows(connection: psycopg.Connection, job: Job, begun: datetime) -> list[WrittenWindows]:
    """Return what a job has written since it began, by the database's clock; sorted by pair and venue."""
    with connection.cursor(row_factory=class_row(WrittenWindows)) as cursor:
        return cursor.execute(_BY_MARKET, _values(job, begun)).fetchall()


def _values(job: Job, begun: datetime) -> dict[str, object]:
    return {"group": job.group, "name": job.name, "begun": begun}
