"""Drop whole days of old metrics without a scan, and without blocking the workers.

A day is dropped in three steps: it is marked; its partition is detached, so that no statement sees it; the
table is dropped, and its counts move from `metric_days` to `pruned_days` in one transaction. After an
interruption, the next call continues, or a late tick that needs the day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import errors, sql

from cryptometrics.errors import CryptometricsError, UserError
from cryptometrics.retry import retrying
from cryptometrics.store.database_errors import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date, datetime, timedelta

    import psycopg

LOCK_TIMEOUT = "2s"
"""For locks that block only late ticks of that day; a vacuum gives up its lock after one second."""
TRUNCATE_LOCK_TIMEOUT = "100ms"
"""For the one lock that blocks readers and ticks from before the first day."""
LONG_USE = "5 seconds"
"""A transaction that uses the table for longer is a long query, not a batch: wait for it first."""


class InUseError(Exception):
    """A long query uses the table: DETACH would wait for it halfway."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Data that can be dropped: a day or, with `before`, everything before that day."""

    day: date
    before: bool
    rows: int
    bytes: int
    """Size, including indexes."""

    def __str__(self) -> str:
        return f"before {self.day}" if self.before else str(self.day)


# Held until the session ends; one that has just ended may hold it for another moment.
_ALONE = "SELECT pg_advisory_lock(hashtext('crypto_metrics_prune'))"

# Days that were marked only, and are no longer to be dropped.
_FORGET_MARKS = """
DELETE FROM pruning_days
WHERE day >= %(cutoff)s AND day IN (SELECT day FROM crypto_metrics_days WHERE attached)
"""

# Includes days of any age whose dropping was interrupted.
_DAYS = """
SELECT day, false, coalesce(rows, 0)::bigint,
       coalesce(pg_total_relation_size(coalesce(relation, to_regclass(crypto_metrics_day_name(day)))), 0)
FROM crypto_metrics_days
FULL JOIN (SELECT day, true AS begun FROM pruning_days) AS marked USING (day)
LEFT JOIN (SELECT day, sum(rows) AS rows FROM metric_days GROUP BY day) AS counted USING (day)
WHERE attached AND day < %(cutoff)s OR attached IS NOT TRUE AND begun
ORDER BY day
"""
# The partition of all days before a bound can be emptied when the bound is old. It must stay, because a tick
# without a partition would be refused.
_BEFORE = """
SELECT first_day, true, (SELECT coalesce(sum(rows), 0) FROM metric_days WHERE day < first_day)::bigint,
       pg_total_relation_size('crypto_metrics_before')
FROM (SELECT (crypto_metrics_first_day() AT TIME ZONE 'UTC')::date AS first_day) AS bound
WHERE first_day <= %(cutoff)s AND pg_relation_size('crypto_metrics_before') > 0
"""

_REMAINING = """
SELECT coalesce(sum(rows), 0)::bigint, (crypto_metrics_first_day() AT TIME ZONE 'UTC')::date
FROM metric_days WHERE day < %(cutoff)s
"""

_MARK = "INSERT INTO pruning_days (day) VALUES (%s) ON CONFLICT DO NOTHING"
_IS_ATTACHED = "SELECT FROM crypto_metrics_days WHERE day = %s AND attached"
_DETACH = sql.SQL("ALTER TABLE crypto_metrics DETACH PARTITION {} CONCURRENTLY")
_FINISH = "SELECT crypto_metrics_finish_pruning(%s)"
_IN_USE = """
SELECT pid, now() - xact_start FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'relation' AND relation = 'crypto_metrics'::regclass
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND xact_start < now() - %s::interval
ORDER BY xact_start LIMIT 1
"""


def first_kept_day(now: datetime, keep: timedelta) -> date:
    """Return the first day (UTC) to keep: all earlier days are entirely before `now - keep`.

    Raises OverflowError if that is before the year 1.
    """
    return (now - keep).date()


def prunable(connection: psycopg.Connection, cutoff: date) -> list[Piece]:
    """Return the pieces entirely before the day `cutoff`, oldest first; reads counts only."""
    found = [
        row for query in (_BEFORE, _DAYS) for row in connection.execute(query, {"cutoff": cutoff}).fetchall()
    ]
    return [Piece(*row) for row in found]


def remaining(connection: psycopg.Connection, cutoff: date) -> tuple[int, date | None]:
    """Return how many rows are older than `cutoff`, and the first day that has a table partition of its own.

    Days before that one share a partition, which is emptied only as a whole: while one of them is to be kept,
    so are the older ones.
    """
    row = connection.execute(_REMAINING, {"cutoff": cutoff}).fetchone()
    return row if row is not None else (0, None)


def prune(
    connection: psycopg.Connection,
    cutoff: date,
    *,
    wait: float,
    notice: Callable[[BaseException, float], None] | None = None,
) -> Iterator[Piece]:
    """Drop everything entirely before the day `cutoff`, and yield each piece after it was dropped.

    connection: in autocommit, because DETACH CONCURRENTLY runs outside of a transaction.
    wait: seconds to retry a piece that is in use.
    Raises UserError if another prune is running, CryptometricsError if a piece stays in use; the next call
    continues with it.
    """
    connection.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
    try:
        connection.execute(_ALONE)
    except errors.LockNotAvailable:
        raise UserError(
            "another `cryptometrics prune` is running on this database: wait for it to end"
        ) from None
    connection.execute(_FORGET_MARKS, {"cutoff": cutoff})
    busy = (errors.LockNotAvailable, errors.ObjectNotInPrerequisiteState, InUseError)
    for piece in prunable(connection, cutoff):
        try:
            retrying(busy, timeout=wait, notice=notice)(_drop, connection, piece)
        except busy as error:
            raise CryptometricsError(
                f"{piece} stayed in use for {wait:g} s ({one_line(error)}): run this again to continue"
            ) from None
        yield piece


def _drop(connection: psycopg.Connection, piece: Piece) -> None:
    if piece.before:
        _empty_before(connection, piece.day)
        return
    if connection.execute(_IS_ATTACHED, [piece.day]).rowcount:
        _check_long_use(connection)
        connection.execute(_MARK, [piece.day])
        name = sql.Identifier(f"crypto_metrics_{piece.day:%Y%m%d}")
        connection.execute(_DETACH.format(name))
    connection.execute(_FINISH, [piece.day])


def _check_long_use(connection: psycopg.Connection) -> None:
    """Raise InUseError if DETACH would wait for a long query: late ticks would wait for both."""
    used = connection.execute(_IN_USE, [LONG_USE]).fetchone()
    if used is not None:
        raise InUseError(f"process {used[0]} of PostgreSQL has used crypto_metrics for {used[1]}")


def _empty_before(connection: psycopg.Connection, first_day: date) -> None:
    """Empty the partition of all days before the first one; its lock makes the counts final."""
    with connection.transaction():
        connection.execute("SELECT set_config('lock_timeout', %s, true)", [TRUNCATE_LOCK_TIMEOUT])
        connection.execute("TRUNCATE crypto_metrics_before")
        connection.execute("SELECT crypto_metrics_note_pruned('-infinity', %s::date - 1)", [first_day])
