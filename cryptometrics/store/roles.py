"""Three roles with no more rights than their work needs: who owns, who writes, who reads.

`cryptometrics_owner` makes and drops tables (`init-db`, `prune`), `cryptometrics_writer` runs `process`,
`cryptometrics_reader` looks (`plot`, `session`, `verify`, Grafana). None of them is a superuser, and the
writer can neither change a table nor take a row of the metrics away.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from psycopg import errors, sql

from cryptometrics.errors import UserError
from cryptometrics.store.migrate import LOCK, made, migrate, schema_of

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

# Only names that are in our own lists, and made by our migrations: others may have names like ours.
_PRESENT = """
SELECT CASE WHEN c.relkind IN ('v', 'm') THEN 'VIEW' WHEN c.relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
       c.relname::text AS name, pg_get_userbyid(c.relowner), pg_has_role(c.relowner, 'USAGE')
FROM pg_class c
WHERE c.relnamespace = %(schema)s::regnamespace AND c.relname = ANY (%(relations)s)
  AND c.relkind IN ('r', 'p', 'v', 'm', 'S') AND NOT c.relispartition
UNION ALL
SELECT 'FUNCTION', signature, pg_get_userbyid(proowner), pg_has_role(proowner, 'USAGE')
FROM pg_proc, concat(proname, '(', oidvectortypes(proargtypes), ')') AS signature
WHERE pronamespace = %(schema)s::regnamespace AND signature = ANY (%(functions)s)
ORDER BY name
"""

_MISSING = """
SELECT name FROM unnest(%s::text[]) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) ORDER BY array_position(%s::text[], name)
"""

# Ownership goes over by name: all that the migrations made, partitions and functions, and nothing else.
_HAND_OVER = sql.SQL("""
DECLARE
    command text;
BEGIN
    FOR command IN
        SELECT format('ALTER TABLE %s OWNER TO {owner}', c.oid::regclass)
        FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
        WHERE c.relnamespace = {schema}::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
          AND (c.relname = ANY ({relations}) OR i.inhparent = {metrics}::regclass)
        UNION ALL
        SELECT format('ALTER SEQUENCE %s OWNER TO {owner}', c.oid::regclass)
        FROM pg_class c
        WHERE c.relnamespace = {schema}::regnamespace AND c.relkind = 'S' AND c.relname = ANY ({sequences})
        UNION ALL
        SELECT format('ALTER FUNCTION %s OWNER TO {owner}', p.oid::regprocedure)
        FROM pg_proc p
        WHERE p.pronamespace = {schema}::regnamespace
          AND p.proname || '(' || oidvectortypes(p.proargtypes) || ')' = ANY ({functions})
    LOOP
        EXECUTE command;
    END LOOP;
END
""")


class _Object(NamedTuple):
    kind: str
    name: str
    owner: str
    may_grant: bool
    """Whether the user of the connection has the owner's rights, and so may give some of them."""


def grants_script(connection: psycopg.Connection) -> str:
    """Return the SQL that an administrator of this database runs, once or again: it may be repeated.

    Passwords are not in it: they are set apart, where no history keeps them.
    """
    return "\n".join(
        [
            "-- The three roles of cryptometrics, with their rights in this one database.",
            "-- Run by a role with CREATEROLE that owns the database, or by an administrator; then set",
            r"-- passwords with \password ROLE in psql, or give the roles to your own logins:",
            f"--   GRANT {READER} TO somebody;",
            "-- A superuser may add this, with which `prune` sees long queries of others before it waits",
            f"-- for them:  GRANT pg_read_all_stats TO {OWNER};",
            *_role_statements(connection),
            *_place_statements(connection),
            *_ownership_statements(connection),
            *_table_statements(connection, _present(connection)),
        ]
    )


def make(connection: psycopg.Connection) -> list[str]:
    """Make the roles that are missing and give all three their rights; return the names of those made.

    Raises UserError where the user of the connection may not do that.
    """
    try:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            added = _missing(connection)
            for statement in (
                *_role_statements(connection),
                *_place_statements(connection),
            ):
                connection.execute(statement.encode())
            _hand_over(connection)
            _give(connection, _present(connection))
    except (errors.InsufficientPrivilege, errors.InvalidGrantOperation) as error:
        raise UserError(
            f"this user may not make roles or give rights ({error.diag.message_primary}): let an "
            "administrator run what `cryptometrics init-db --print-grants` prints"
        ) from None
    return added


def migrate_and_grant(connection: psycopg.Connection) -> list[str]:
    """Apply what is missing and give the rights on it, in one transaction; return what was applied."""
    with connection.transaction():
        applied = migrate(connection)
        grant(connection)
    return applied


def grant(connection: psycopg.Connection) -> bool:
    """Give the roles their rights on all that this user owns; return False where the roles are not made.

    Repeated by each `init-db`, so that a new table is covered, and rights that are missing come back. What
    somebody else owns keeps the rights that it has.
    """
    if _missing(connection):
        return False
    with connection.transaction():
        # Two at once would change the same rows of the catalogue, which PostgreSQL refuses.
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        _give(connection, [each for each in _present(connection) if each.may_grant])
    return True


def _give(connection: psycopg.Connection, objects: list[_Object]) -> None:
    for statement in _table_statements(connection, objects):
        connection.execute(statement.encode())


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
    schema = schema_of(connection)
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
    if all(each.owner == OWNER for each in present):
        return []
    schema = schema_of(connection)
    body = _HAND_OVER.format(
        owner=sql.SQL(OWNER),
        schema=sql.Literal(schema),
        metrics=sql.Literal(f"{schema}.crypto_metrics"),
        relations=sql.Literal([each.name for each in present if each.kind in ("TABLE", "VIEW")]),
        sequences=sql.Literal([each.name for each in present if each.kind == "SEQUENCE"]),
        functions=sql.Literal([each.name for each in present if each.kind == "FUNCTION"]),
    ).as_string(connection)
    quote = "$$"
    while quote in body:  # the schema's name may have it
        quote = f"$_{quote[1:]}"
    return [f"DO {quote}{body}{quote};"]


def _table_statements(connection: psycopg.Connection, objects: list[_Object]) -> list[str]:
    schema = schema_of(connection)
    statements = []
    for kind, name, *_ in objects:
        # A function's signature is one of our own list, and no identifier.
        place = f"{schema}.{name if kind == 'FUNCTION' else sql.Identifier(name).as_string(connection)}"
        if kind in ("TABLE", "VIEW"):
            statements.append(f"GRANT SELECT ON {place} TO {OWNER}, {WRITER}, {READER};")
        if kind == "TABLE":
            statements.append(f"GRANT {WRITER_RIGHTS[name]} ON {place} TO {WRITER};")
        if kind == "SEQUENCE" and name in WRITER_SEQUENCES:
            statements.append(f"GRANT USAGE ON SEQUENCE {place} TO {WRITER};")
        if kind == "FUNCTION" and name in WRITER_FUNCTIONS:
            statements.append(f"GRANT EXECUTE ON FUNCTION {place} TO {WRITER};")
    return statements


def _present(connection: psycopg.Connection) -> list[_Object]:
    relations, functions = made(connection)
    values = {"schema": schema_of(connection), "relations": relations, "functions": functions}
    return [_Object(*row) for row in connection.execute(_PRESENT, values)]


def _database(connection: psycopg.Connection) -> str:
    row = connection.execute("SELECT current_database()").fetchone()
    assert row is not None  # noqa: S101  (a SELECT without FROM has one row)
    return str(row[0])
