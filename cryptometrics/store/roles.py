"""Three roles with no more rights than their work needs: who owns, who writes, who reads.

`cryptometrics_owner` makes and drops tables (`init-db`, `prune`), `cryptometrics_writer` runs `process`,
`cryptometrics_reader` looks (`plot`, `session`, `verify`, Grafana). None of them is a superuser, and the
writer can neither change a table nor take a row of the metrics away.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from psycopg import errors, sql

from cryptometrics.errors import UserError
from cryptometrics.store.migrate import LOCK

if TYPE_CHECKING:
    import psycopg

OWNER, WRITER, READER = ROLES = ("cryptometrics_owner", "cryptometrics_writer", "cryptometrics_reader")

_ADD, _KEEP = "SELECT, INSERT", "SELECT, INSERT, UPDATE"
WRITER_RIGHTS = {
    "alert_notifications": _KEEP,
    "alert_states": "SELECT, INSERT, UPDATE, DELETE",
    "alerts": _KEEP,
    "consumer_offsets": _KEEP,
    "crypto_metrics": _ADD,
    "crypto_windows": _KEEP,
    "crypto_windows_too_late": _KEEP,
    "feed_gaps": _KEEP,
    "metric_days": _KEEP,
    "pair_state": _KEEP,
    "pruned_days": "SELECT, UPDATE (topic)",
    "pruning_days": "SELECT",
    "rejected_ticks": "SELECT, INSERT, UPDATE (topic, requeue_started_at, requeued_at)",
    "schema_migrations": "SELECT",
    "session_extremes": _KEEP,
    "skipped_offsets": "SELECT, INSERT, UPDATE (topic)",
}
"""What the writer may do with each table. A table that is not there yet is passed over, one that is in the
schema and not in here is a mistake, which a test finds. `topic` changes when a topic is made again."""
WRITER_FUNCTIONS = ("crypto_metrics_add_day(date)", "crypto_metrics_summarize(date[])")
WRITER_SEQUENCES = ("crypto_metrics_ids",)

_PRESENT = """
SELECT c.relname, c.relkind IN ('v', 'm') AS is_view, pg_get_userbyid(c.relowner) AS owner
FROM pg_class c
WHERE c.relnamespace = current_schema()::regnamespace AND NOT c.relispartition
  AND (c.relkind IN ('r', 'p') AND c.relname = ANY (%(tables)s)
       OR c.relkind IN ('v', 'm') AND c.relname ~ '^(crypto_|session_|feed_|alert)')
ORDER BY c.relname
"""

_MISSING = """
SELECT name FROM unnest(%s::text[]) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) ORDER BY array_position(%s::text[], name)
"""

# Ownership goes over by name: all that the migrations made, partitions and functions, and nothing else.
_HAND_OVER = sql.SQL("""
DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        SELECT format('ALTER TABLE %s OWNER TO {owner}', c.oid::regclass)
        FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
        WHERE c.relnamespace = {schema}::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
          AND (c.relname = ANY ({names}) OR i.inhparent = '{qualified}.crypto_metrics'::regclass)
        UNION ALL
        SELECT format('ALTER SEQUENCE %s OWNER TO {owner}', c.oid::regclass)
        FROM pg_class c
        WHERE c.relnamespace = {schema}::regnamespace AND c.relkind = 'S' AND c.relname = ANY ({sequences})
        UNION ALL
        SELECT format('ALTER FUNCTION %s OWNER TO {owner}', p.oid::regprocedure)
        FROM pg_proc p
        WHERE p.pronamespace = {schema}::regnamespace AND p.proname ~ '^(crypto_|session_|feed_|alert)'
    LOOP
        EXECUTE command;
    END LOOP;
END
$$;
""")


def grants_script(connection: psycopg.Connection) -> str:
    """Return the SQL that an administrator of this database runs, once or again: it may be repeated.

    Passwords are not in it: they are set apart, where no history keeps them.
    """
    return "\n".join(
        [
            f"-- The three roles of cryptometrics, for the database {_database(connection)}.",
            "-- Run by a role with CREATEROLE that owns the database, or by an administrator; then set",
            r"-- passwords with \password ROLE in psql, or give the roles to your own logins:",
            f"--   GRANT {READER} TO somebody;",
            "-- A superuser may add this, with which `prune` sees long queries of others before it waits",
            f"-- for them:  GRANT pg_read_all_stats TO {OWNER};",
            *_role_statements(connection),
            *_place_statements(connection),
            *_ownership_statements(connection),
            *_table_statements(connection),
        ]
    )


def make(connection: psycopg.Connection) -> list[str]:
    """Make the roles that are missing and give all three their rights; return the names of those made.

    Raises UserError where the user of the connection may not do that.
    """
    try:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            made = _missing(connection)
            for statement in (
                *_role_statements(connection),
                *_place_statements(connection),
            ):
                connection.execute(statement.encode())
            _hand_over(connection)
            grant(connection)
    except (errors.InsufficientPrivilege, errors.InvalidGrantOperation) as error:
        raise UserError(
            f"this user may not make roles or give rights ({error.diag.message_primary}): let an "
            "administrator run what `cryptometrics init-db --print-grants` prints"
        ) from None
    return made


def grant(connection: psycopg.Connection) -> bool:
    """Give the roles their rights on all tables that there are; return False where the roles are not made.

    Repeated after each migration, so that a new table is covered. Needs no more than to own the tables.
    """
    if _missing(connection):
        return False
    for statement in _table_statements(connection):
        connection.execute(statement.encode())
    return True


def _hand_over(connection: psycopg.Connection) -> None:
    """Let the owner's role own what there is, if we may: nobody should call functions of a superuser."""
    with contextlib.suppress(errors.InsufficientPrivilege), connection.transaction():
        for statement in _ownership_statements(connection):
            connection.execute(statement.encode())


def _missing(connection: psycopg.Connection) -> list[str]:
    return [name for (name,) in connection.execute(_MISSING, [list(ROLES), list(ROLES)])]


def _role_statements(connection: psycopg.Connection) -> list[str]:
    return [f"CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;" for role in _missing(connection)]


def _place_statements(connection: psycopg.Connection) -> list[str]:
    schema = _schema(connection)
    database = sql.Identifier(_database(connection)).as_string(connection)
    return [
        f"GRANT CONNECT ON DATABASE {database} TO {', '.join(ROLES)};",
        # What others can put into the schema, functions of the owner could be made to run.
        f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC;",
        f"GRANT USAGE ON SCHEMA {schema} TO {', '.join(ROLES)};",
        f"GRANT CREATE ON SCHEMA {schema} TO {OWNER};",
    ]


def _ownership_statements(connection: psycopg.Connection) -> list[str]:
    present = _present(connection)
    if all(owner == OWNER for *_, owner in present):
        return []
    schema = _schema(connection)
    names = [name for name, *_ in present]
    return [
        _HAND_OVER.format(
            owner=sql.SQL(OWNER),
            schema=sql.Literal(schema),
            qualified=sql.SQL(schema),
            names=sql.Literal(names),
            sequences=sql.Literal(list(WRITER_SEQUENCES)),
        )
        .as_string(connection)
        .strip()
    ]


def _table_statements(connection: psycopg.Connection) -> list[str]:
    present = _present(connection)
    if not present:
        return []
    schema = _schema(connection)
    statements = [f"GRANT SELECT ON {schema}.{name} TO {OWNER}, {WRITER}, {READER};" for name, *_ in present]
    for name, is_view, _ in present:
        if not is_view:
            statements.append(f"GRANT {WRITER_RIGHTS[name]} ON {schema}.{name} TO {WRITER};")
    statements += [f"GRANT USAGE ON SEQUENCE {schema}.{name} TO {WRITER};" for name in WRITER_SEQUENCES]
    statements += [f"GRANT EXECUTE ON FUNCTION {schema}.{name} TO {WRITER};" for name in WRITER_FUNCTIONS]
    return statements


def _present(connection: psycopg.Connection) -> list[tuple[str, bool, str]]:
    return connection.execute(_PRESENT, {"tables": list(WRITER_RIGHTS)}).fetchall()


def _schema(connection: psycopg.Connection) -> str:
    row = connection.execute("SELECT quote_ident(current_schema())").fetchone()
    assert row is not None  # noqa: S101  (a SELECT without FROM has one row)
    return str(row[0])


def _database(connection: psycopg.Connection) -> str:
    row = connection.execute("SELECT current_database()").fetchone()
    assert row is not None  # noqa: S101
    return str(row[0])
