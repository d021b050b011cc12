"""A session that only reads: with the rights of the reader role where possible, and read-only in any case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from cryptometrics.store.connection import connect, connect_once
from cryptometrics.store.roles import READER

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from cryptometrics.config import Settings

# Roles belong to the whole server: one that another database uses may have no rights in this one. A member
# that may not SET ROLE (PostgreSQL 16) keeps its own rights.
_MAY_BECOME_READER = """
SELECT pg_catalog.pg_has_role(oid, CASE WHEN pg_catalog.current_setting('server_version_num')::int >= 160000
                                        THEN 'SET' ELSE 'MEMBER' END)
   AND pg_catalog.has_schema_privilege(oid, pg_catalog.current_schema(), 'USAGE')
   AND pg_catalog.has_table_privilege(oid, pg_catalog.to_regclass('consumer_offsets'), 'SELECT')
FROM pg_catalog.pg_roles WHERE rolname = %s
"""
_READ_ONLY = "SELECT pg_catalog.set_config('default_transaction_read_only', 'on', false)"
_STATEMENT_TIMEOUT = "SELECT pg_catalog.set_config('statement_timeout', %s, false)"


def connect_reader(
    settings: Settings,
    *,
    statement_timeout_s: float,
    notice: Callable[[BaseException, float], None] | None = None,
) -> psycopg.Connection:
    """Connect as `connection.connect` does, and restrict the session."""
    return _restrict(connect(settings, notice=notice), statement_timeout_s)


def connect_reader_once(settings: Settings, *, statement_timeout_s: float) -> psycopg.Connection:
    """Connect without a retry, and restrict the session."""
    return _restrict(connect_once(settings.postgres()), statement_timeout_s)


def _restrict(connection: psycopg.Connection, statement_timeout_s: float) -> psycopg.Connection:
    try:
        row = connection.execute(_MAY_BECOME_READER, [READER]).fetchone()
        if row is not None and row[0]:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(READER)))
        connection.execute(_READ_ONLY)
        connection.execute(_STATEMENT_TIMEOUT, [f"{statement_timeout_s * 1000:.0f}ms"])
    except BaseException:
        connection.close()
        raise
    return connection
