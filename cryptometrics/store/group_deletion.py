"""Delete a consumer group in steps that can be taken up again.

First the mark, together with the state that a writer continues from: from that commit on nothing is written
for the group, and readers and `verify` no longer find it. Then its quotes, a day at a time, and its rows of
all other tables, a limited number at a time. Last whatever is left, together with the mark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from psycopg import errors, sql

from cryptometrics.errors import UserError
from cryptometrics.store import follower_lock, group_mark
from cryptometrics.store.migrate import created_objects
from cryptometrics.store.running_workers import running_workers
from cryptometrics.text import listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

METRICS = "crypto_metrics"
MARK = "group_deletions"
STATE = (
    *("consumer_offsets", "pair_state", "portfolio_progress", "risk_progress", "session_extremes"),
    "window_progress",
)
"""What a writer continues from, and what readers find groups by; small, and deleted with the mark."""
KEPT = ("portfolio_versions",)
"""What people have stated themselves. A version is never changed, and a later one may name another group."""
ROWS_AT_ONCE = 50_000
"""Rows of one transaction: so many take about a second."""
LOCK_TIMEOUT = "1s"
"""For the locks of the mark: a claim waits twice as long before it ends the session in its way."""

# Of our own tables: those of other programs in the schema may have such a column, too.
_TABLES = """
SELECT c.relname::text
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relname = ANY (%s)
  AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND a.attname = 'consumer_group' AND NOT a.attisdropped
ORDER BY c.relname
"""

# The versions that price a portfolio now or later: none that is in force by now has superseded them.
_PRICED = """
SELECT DISTINCT v.portfolio FROM portfolio_versions v
WHERE v.consumer_group = %s AND v.definition IS NOT NULL AND NOT EXISTS (
    SELECT FROM portfolio_versions later
    WHERE later.portfolio = v.portfolio AND later.effective_at <= now()
      AND (later.effective_at, later.version) > (v.effective_at, v.version))
ORDER BY v.portfolio
"""

# A batch in hand holds these rows until it commits; afterwards its worker is fenced.
_LOCK_BOOKS = "SELECT FROM consumer_offsets WHERE consumer_group = %s ORDER BY kafka_partition FOR UPDATE"

_DAYS = "SELECT DISTINCT day FROM metric_days WHERE consumer_group = %s ORDER BY day"
_DELETE_QUOTES = """
DELETE FROM crypto_metrics
WHERE consumer_group = %(group)s AND timestamp >= %(day)s::date::timestamp AT TIME ZONE 'UTC'
  AND timestamp < (%(day)s::date + 1)::timestamp AT TIME ZONE 'UTC'
"""
_DELETE_DAY = "DELETE FROM metric_days WHERE consumer_group = %(group)s AND day = %(day)s"
_DELETE_SOME = sql.SQL("""
DELETE FROM {table}
WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE consumer_group = {group} LIMIT {limit}))
""")
_DELETE_ALL = sql.SQL("DELETE FROM {table} WHERE consumer_group = {group}")


class DeletedRows(NamedTuple):
    """What one step has deleted."""

    what: str
    """A day of quotes, such as 2026-01-31, or a table."""
    is_day: bool
    rows: int


def group_tables(connection: psycopg.Connection) -> list[str]:
    """Return our tables that have a consumer group, as the catalogue lists them."""
    relations, _ = created_objects(connection)
    return [name for (name,) in connection.execute(_TABLES, [relations])]


def refuse_in_use(connection: psycopg.Connection, group: str) -> None:
    """Raise UserError if a worker of the group runs, or if a portfolio is priced by its quotes.

    A deletion that has begun is not refused: no worker has a partition of its group.
    """
    if group_mark.is_marked(connection, group):
        return
    if workers := running_workers(connection, group):
        owners = listed(worker.owner for worker in workers)
        raise UserError(f"group {group} is at work ({owners}): stop its `process` first. Nothing was deleted")
    if portfolios := [name for (name,) in connection.execute(_PRICED, [group])]:
        raise UserError(
            f"group {group} prices the portfolio {listed(portfolios)}: remove it with `cryptometrics "
            "positions remove NAME` first. Nothing was deleted"
        )


def delete_group(connection: psycopg.Connection, group: str) -> Iterator[DeletedRows]:
    """Delete all that is stored for a group, and yield each step after its commit.

    connection: in autocommit. Until it is closed, no `risk --follow` of the group works.
    Raises UserError, and deletes nothing, if the group is in use. After any other failure the next call
    continues.
    """
    if not follower_lock.hold(connection, group):
        raise UserError(
            f"`risk --follow` of group {group} is running, or another `groups delete`: stop it first. "
            "Nothing was deleted"
        )
    tables = [name for name in group_tables(connection) if name not in (METRICS, MARK, *KEPT)]
    _begin(connection, group)
    for (day,) in connection.execute(_DAYS, [group]).fetchall():
        values = {"group": group, "day": day}
        with connection.transaction():
            # Planned for this day, so that no partition of another is locked.
            rows = connection.execute(_DELETE_QUOTES, values, prepare=False).rowcount
            connection.execute(_DELETE_DAY, values)
        yield DeletedRows(str(day), is_day=True, rows=rows)
    for table in tables:
        if rows := _delete_rows(connection, table, group):
            yield DeletedRows(table, is_day=False, rows=rows)
    _end(connection, group, tables)


def _begin(connection: psycopg.Connection, group: str) -> None:
    """Mark the group, and delete the state that its writers continue from, in one transaction."""
    refuse_in_use(connection, group)  # at once: the locks wait for the batch that a worker writes
    try:
        with connection.transaction():
            connection.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
            connection.execute(_LOCK_BOOKS, [group])
            refuse_in_use(connection, group)
            group_mark.set_mark(connection, group)
            for table in STATE:
                _delete_all(connection, table, group)
    except errors.LockNotAvailable:
        raise UserError(
            f"group {group} is at work: another session writes for it. Stop it first. Nothing was deleted"
        ) from None


def _delete_rows(connection: psycopg.Connection, table: str, group: str) -> int:
    """Delete the group's rows of a table in transactions of limited size, and return how many."""
    statement = _DELETE_SOME.format(
        table=sql.Identifier(table), group=sql.Placeholder("group"), limit=sql.Placeholder("limit")
    )
    deleted = 0
    while True:
        rows = connection.execute(statement, {"group": group, "limit": ROWS_AT_ONCE}).rowcount
        deleted += rows
        if rows < ROWS_AT_ONCE:
            return deleted


def _end(connection: psycopg.Connection, group: str, tables: Sequence[str]) -> None:
    """Remove the mark, and what somebody may have written beside it, in one transaction."""
    with connection.transaction():
        for table in tables:
            _delete_all(connection, table, group)
        group_mark.remove_mark(connection, group)


def _delete_all(connection: psycopg.Connection, table: str, group: str) -> None:
    statement = _DELETE_ALL.format(table=sql.Identifier(table), group=sql.Placeholder())
    connection.execute(statement, [group])
