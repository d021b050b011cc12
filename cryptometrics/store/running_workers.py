"""Find the workers that hold partitions and whose database session is alive."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import psycopg

# Within a transaction, the server answers from the list of sessions that it read first.
_FORGET_SESSIONS = "SELECT pg_stat_clear_snapshot()"

# Without the right to read other users' activity the server hides when a session began; then the process id
# and the database must do.
_WORKERS = """
SELECT DISTINCT o.consumer_group, o.owner
FROM consumer_offsets o JOIN pg_stat_activity a ON a.pid = o.backend_pid
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
  AND coalesce(a.backend_start = o.backend_start, true)
  AND (%(group)s::text IS NULL OR o.consumer_group = %(group)s)
ORDER BY 1, 2
"""


class RunningWorker(NamedTuple):
    """The owner of at least one partition."""

    group: str
    owner: str

    def __str__(self) -> str:
        return f"{self.owner} of group {self.group}"


def running_workers(connection: psycopg.Connection, group: str | None = None) -> list[RunningWorker]:
    """Return the workers that run now, of all groups or of one."""
    connection.execute(_FORGET_SESSIONS)
    return [RunningWorker(*row) for row in connection.execute(_WORKERS, {"group": group})]
