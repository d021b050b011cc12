"""Read what a PostgreSQL server says about itself, its settings and the login in use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from cryptometrics.store.roles import ROLES

if TYPE_CHECKING:
    import psycopg

_FACTS = """
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::integer AS version_number,
       pg_is_in_recovery() AS is_standby,
       current_setting('fsync') = 'on' AS fsync,
       current_setting('full_page_writes') = 'on' AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('max_connections')::integer AS max_connections,
       current_setting('superuser_reserved_connections')::integer AS reserved_connections,
       (SELECT coalesce(sum(numbackends), 0) FROM pg_stat_database)::integer AS used_connections,
       current_setting('server_encoding') AS encoding,
       pg_backend_pid() AS process,
       session_user::text AS login,
       current_setting('is_superuser') = 'on' AS is_superuser,
       coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS encrypted,
       inet_server_addr() IS NOT NULL AND inet_server_addr() <> inet_client_addr() AS remote,
       ARRAY(SELECT rolname::text FROM pg_roles WHERE rolname = ANY (%(roles)s)) AS roles,
       CASE WHEN to_regclass('crypto_metrics') IS NULL THEN NULL
            ELSE has_table_privilege('crypto_metrics', 'SELECT') END AS can_read,
       CASE WHEN to_regclass('crypto_metrics') IS NULL THEN NULL
            ELSE has_table_privilege('crypto_metrics', 'INSERT') END AS can_write
"""


@dataclass(frozen=True)
class ServerFacts:
    """What the server says, as this login sees it."""

    version: str
    version_number: int
    """The major version times 10,000, and the minor one."""
    is_standby: bool
    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    max_connections: int
    reserved_connections: int
    used_connections: int
    encoding: str
    process: int
    """Id of the session's process: a pooler names another one at the login."""
    login: str
    is_superuser: bool
    encrypted: bool
    remote: bool
    """Whether the connection leaves this machine."""
    roles: list[str]
    """Those of `roles.ROLES` that exist."""
    can_read: bool | None
    """Whether the login may read the metrics; None without a table."""
    can_write: bool | None


def read_facts(connection: psycopg.Connection) -> ServerFacts:
    """Return what the server says about itself."""
    with connection.cursor(row_factory=class_row(ServerFacts)) as cursor:
        row = cursor.execute(_FACTS, {"roles": list(ROLES)}).fetchone()
    assert row is not None  # noqa: S101  (a SELECT without FROM has one row)
    return row


def clock_skew(connection: psycopg.Connection) -> float:
    """Return how many seconds the server's clock is ahead of this machine's, give or take a round trip."""
    before = datetime.now(UTC)
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    after = datetime.now(UTC)
    assert row is not None  # noqa: S101
    skew: float = (row[0] - before - (after - before) / 2).total_seconds()
    return skew
