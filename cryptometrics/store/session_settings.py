"""The settings of a database session on which our statements rely.

A server, a database, a role and the environment can each set another encoding, date style or limit. So each
session of ours begins with a plain statement, which poolers pass on, that sets these values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

FORMATS = {
    "client_encoding": "UTF8",  # COPY sends text as UTF-8
    "DateStyle": "ISO, MDY",  # the only style that psycopg reads
    "IntervalStyle": "postgres",  # likewise
    "TimeZone": "UTC",
    "standard_conforming_strings": "on",  # no escapes in literals, none in psycopg's bytea parameters
    "array_nulls": "on",  # NULL in the text of an array is null, not a word
    "bytea_output": "hex",
    "extra_float_digits": "1",  # the exact text of floats
    "quote_all_identifiers": "off",
    "default_transaction_isolation": "read committed",  # a batch's guard must see the commit of another owner
}
"""Always ours: with other values, results or stored rows would be wrong."""
LIMITS = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    "jit": "off",
}
"""Ours unless the connection's options set them: a migration, an export or a proof takes its time, and on
large tables the planner may spend longer compiling a query than running it."""

# pg_settings lists what this server can set, and the source of each value: "client" is the connection.
# The search path is fixed as it resolves now: a schema that is created later changes no table.
_PIN = """
SELECT count(pg_catalog.set_config(name, value, false))
FROM (
    SELECT s.name, ours.value
    FROM (VALUES {values}) AS ours (name, value, is_limit) JOIN pg_catalog.pg_settings s USING (name)
    WHERE NOT (is_limit AND s.source = 'client')
    UNION ALL
    SELECT 'search_path', pg_catalog.string_agg(pg_catalog.quote_ident(schema), ', ' ORDER BY place)
    FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY AS path (schema, place)
    HAVING count(*) > 0
) AS pinned
WHERE {process} IN (0, pg_catalog.pg_backend_pid())
"""
_VALUES = ", ".join(f"('{name}', '{value}', {name in LIMITS})" for name, value in (FORMATS | LIMITS).items())


def pin(connection: psycopg.Connection, *, process: int = 0) -> bool:
    """Set our settings for the rest of the session, in one round trip; return whether they were set.

    connection: in autocommit, so that no rollback takes them back.
    process: set them only if this is the id of the session's process; 0 for any.
    """
    # As bytes: until our encoding is set, psycopg may not know the session's.
    row = connection.execute(_PIN.format(values=_VALUES, process=process).encode()).fetchone()
    return row is not None and row[0] > 0
