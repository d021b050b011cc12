"""Dropping whole days of old metrics, while workers write: nothing is scanned, nothing waits for it.

A day goes in three steps, each of which the next call, or a late tick that needs the day again, can take up
where it was left: it is marked; its partition is detached, from which moment no statement sees it; the table
is dropped and its counts move from `metric_days` to `pruned_days`, in one transaction.
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
"""For locks that only late ticks of the day itself could wait for; a vacuum gives way after one second."""
TRUNCATE_LOCK_TIMEOUT = "100ms"
"""For the one lock that a reader or a tick of before the first day has to queue behind."""
LONG_USE = "5 seconds"
"""A transaction that has used the table for longer is no batch, but a long query: it is waited for first."""


class InUseError(Exception):
    """A long query is at the table, and would be waited for with the day already half taken away."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What can be dropped: a day or, with `before`, everything before that day."""

    day: date
    before: bool
    rows: int
    bytes: int
    """With its indexes."""

    def __str__(self) -> str:
        return f"before {self.day}" if self.before else str(self.day)


# Until the session ends; one that has just ended may hold it for a moment yet.
_ALONE = "SELECT pg_advisory_lock(hashtext('crypto_metrics_prune'))"

# Whose mark was set and nothing else was done, and which is not to be dropped any more.
_FORGET_MARKS = """
DELETE FROM pruning_days
WHERE day >= %(cutoff)s AND day IN (SELECT day FROM crypto_metrics_days WHERE attached)
"""

# Also the days, whatever their age, that were being dropped when something came between.
_DAYS = """
SELECT day, false, coalesce(rows, 0)::bigint,
       coalesce(pg_total_relation_size(coalesce(relation, to_regclass(crypto_metrics_day_name(day)))), 0)
FROM crypto_metrics_days
FULL JOIN (SELECT day, true AS begun FROM pruning_days) AS marked USING (day)
LEFT JOIN (SELECT day, sum(rows) AS rows FROM metric_days GROUP BY day) AS counted USING (day)
WHERE attached AND day < %(cutoff)s OR attached IS NOT TRUE AND begun
ORDER BY day
"""
# It takes no more rows than those from before its bound, so it may go when all of that is old. The partition
# itself stays: a tick that found none would be refused.
_BEFORE = """
SELECT first_day, true, (SELECT coalesce(sum(rows), 0) FROM metric_days WHERE day < first_day)::bigint,
       pg_total_relation_size('crypto_metrics_before')
FROM (SELECT (crypto_metrics_first_day() AT TIME ZONE 'UTC')::date AS first_day) AS bound
WHERE first_day <= %(cutoff)s AND pg_relation_size('crypto_metrics_before') > 0
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
    """Return the day (UTC) in which what is kept begins: every day before lies wholly before `now - keep`.

    Raises OverflowError where that is before the year 1.
    """
    return (now - keep).date()


def prunable(connection: psycopg.Connection, cutoff: date) -> list[Piece]:
    """Return what lies wholly before the day `cutoff`, the oldest first, from the counts: no row is read."""
    found = [
        row for query in (_BEFORE, _DAYS) for row in connection.execute(query, {"cutoff": cutoff}).fetchall()
    ]
    return [Piece(*row) for row in found]


def prune(
    connection: psycopg.Connection,
    cutoff: date,
    *,
    wait: float,
    notice: Callable[[BaseException, float], None] | None = None,
) -> Iterator[Piece]:
    """Drop what lies wholly before the day `cutoff`, and yield each piece when it is gone.

    connection: in autocommit, for a DETACH that blocks nobody runs in no transaction.
    wait: seconds in which attempts at a piece may begin.
    Raises UserError while another prune runs, CryptometricsError when a piece stays in use for too long:
    then the next call goes on with it.
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
                f"{piece} stayed in use for {wait:g} s ({one_line(error)}): run this again, "
                "and it goes on from here"
            ) from None
        yield piece


def _drop(connection: psycopg.Connection, piece: Piece) -> None:
    if piece.before:
        _empty_before(connection, piece.day)
        return
    if connection.execute(_IS_ATTACHED, [piece.day]).rowcount:
        _see_no_long_use(connection)
        connection.execute(_MARK, [piece.day])
        name = sql.Identifier(f"crypto_metrics_{piece.day:%Y%m%d}")
        connection.execute(_DETACH.format(name))
    connection.execute(_FINISH, [piece.day])


def _see_no_long_use(connection: psycopg.Connection) -> None:
    """Raise InUseError where DETACH would have to wait for long; a late tick would then wait for both."""
    used = connection.execute(_IN_USE, [LONG_USE]).fetchone()
    if used is not None:
        raise InUseError(f"process {used[0]} of PostgreSQL has used crypto_metrics for {used[1]}")


def _empty_before(connection: psycopg.Connection, first_day: date) -> None:
    """Empty the partition of all that is older than the others; its lock makes the counts final."""
    with connection.transaction():
        connection.execute("SELECT set_config('lock_timeout', %s, true)", [TRUNCATE_LOCK_TIMEOUT])
        connection.execute("TRUNCATE crypto_metrics_before")
        connection.execute("SELECT crypto_metrics_note_pruned('-infinity', %s::date - 1)", [first_day])
