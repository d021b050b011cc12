"""Create three roles with least privilege: owner, writer and reader.

`cryptometrics_owner` creates and drops tables (`init-db`, `prune`), `cryptometrics_writer` runs `process`,
`cryptometrics_reader` reads (`plot`, `session`, `verify`, Grafana), and acknowledges and silences alerts.
None of them is a superuser, and the writer can neither alter a table nor delete or change metrics.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from psycopg import errors, sql

from cryptometrics.errors import UserError
from cryptometrics.store.migrate import LOCK, created_objects, migrate, schema_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

OWNER, WRITER, READER = ROLES = ("cryptometrics_owner", "cryptometrics_writer", "cryptometrics_reader")

_ADD, _KEEP = "SELECT, INSERT", "SELECT, INSERT, UPDATE"
WRITER_RIGHTS = {
    "alert_acknowledgements": "SELECT",
    "alert_notifications": _KEEP,
    "alert_silences": "SELECT",
    "alert_states": "SELECT, INSERT, UPDATE, DELETE",
    "alerts": _KEEP,
    "changed_minutes": "SELECT, INSERT, UPDATE, DELETE",
    "consumer_offsets": _KEEP,
    "crypto_metrics": _ADD,
    "crypto_risk": _KEEP,
    "crypto_windows": _KEEP,
    "crypto_windows_too_late": _KEEP,
    "feed_gaps": _KEEP,
    "group_deletions": "SELECT",
    "metric_days": _KEEP,
    "pair_state": _KEEP,
    "portfolio_progress": _KEEP,
    "portfolio_risk": "SELECT, INSERT, UPDATE, DELETE",
    "portfolio_versions": _ADD,
    "pruned_days": "SELECT, UPDATE (topic)",
    "pruning_days": "SELECT",
    "rejected_ticks": "SELECT, INSERT, UPDATE (topic, requeue_started_at, requeued_at)",
    "schema_migrations": "SELECT",
    "risk_progress": _KEEP,
    "session_extremes": _KEEP,
    "skipped_offsets": "SELECT, INSERT, UPDATE (topic)",
    "verified_groups": "SELECT, INSERT, UPDATE, DELETE",
    "verified_offsets": "SELECT, INSERT, UPDATE, DELETE",
    "window_progress": _KEEP,
}
"""The writer's privileges on each table. Tables that do not exist yet are skipped; a test finds tables
that are missing here. `topic` changes when a topic is recreated."""
WRITER_FUNCTIONS = ("crypto_metrics_add_day(date)", "crypto_metrics_summarize(date[])")
WRITER_SEQUENCES = ("crypto_metrics_ids",)
READER_FUNCTIONS = (
    "crypto_acknowledge_alert(bigint, text, text)",
    "crypto_end_silence(bigint, text)",
    "crypto_silence_alerts(text, text, timestamp with time zone, text, text)",
)
"""What readers may change: they acknowledge and silence alerts. The writer may call these, too."""

# Only objects that our migrations have created: foreign ones may have similar names.
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

# Transfers objects by name: all that the migrations created, with partitions, and nothing else.
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
    """Whether the connected user has the owner's privileges, and so may grant them."""


def grants_script(connection: psycopg.Connection) -> str:
    """Return the SQL that an administrator of this database runs; it may be run again.

    It has no passwords: set them separately, so that no shell history keeps them.
    """
    return "\n".join(
        [
            "-- The three roles of cryptometrics, with their privileges in this database.",
            "-- Run by a role with CREATEROLE that owns the database, or by an administrator; then set",
            r"-- passwords with \password ROLE in psql, or grant the roles to your own logins:",
            f"--   GRANT {READER} TO somebody;",
            "-- Optionally, as a superuser, let `prune` detect long queries of other users:",
            f"--   GRANT pg_read_all_stats TO {OWNER};",
            *_role_statements(connection),
            *_place_statements(connection),
            *_ownership_statements(connection),
            *_table_statements(connection, _present(connection)),
        ]
    )


def create_roles(connection: psycopg.Connection) -> list[str]:
    """Create the missing roles and grant all three their privileges; return the names of the new ones.

    Raises UserError if the connected user may not do that.
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
            f"this user may not create roles or grant privileges ({error.diag.message_primary}): let an "
            "administrator run what `cryptometrics init-db --print-grants` prints"
        ) from None
    return added


def migrate_and_grant(
    connection: psycopg.Connection, progress: Callable[[str], None] = lambda _text: None
) -> list[str]:
    """Apply pending migrations and grant privileges in one transaction; return what was applied.

    progress: as in `migrate`.
    """
    with connection.transaction():
        applied = migrate(connection, progress)
        grant(connection)
    return applied


def grant(connection: psycopg.Connection) -> bool:
    """Grant the roles their privileges on all objects that this user owns; return False without the roles.

    Each `init-db` repeats this, so that new tables are covered and missing privileges restored. Objects of
    other owners keep their privileges.
    """
    if _missing(connection):
        return False
    with connection.transaction():
        # PostgreSQL refuses concurrent changes of the same catalogue rows.
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        _give(connection, [each for each in _present(connection) if each.may_grant])
    return True


def _give(connection: psycopg.Connection, objects: list[_Object]) -> None:
    for statement in _table_statements(connection, objects):
        connection.execute(statement.encode())


def _hand_over(connection: psycopg.Connection) -> None:
    """Transfer all objects to the owner role, if allowed: nobody should call functions of a superuser."""
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
        # Otherwise others could plant objects that functions of the owner would run.
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
    while quote in body:  # the schema's name may contain it
        quote = f"$_{quote[1:]}"
    return [f"DO {quote}{body}{quote};"]


def _table_statements(connection: psycopg.Connection, objects: list[_Object]) -> list[str]:
    schema = schema_of(connection)
    statements = []
    for kind, name, *_ in objects:
        # A function's signature is from our own list, and not an identifier.
        place = f"{schema}.{name if kind == 'FUNCTION' else sql.Identifier(name).as_string(connection)}"
        if kind in ("TABLE", "VIEW"):
            statements.append(f"GRANT SELECT ON {place} TO {OWNER}, {WRITER}, {READER};")
        if kind == "TABLE":
            statements.append(f"GRANT {WRITER_RIGHTS[name]} ON {place} TO {WRITER};")
        if kind == "SEQUENCE" and name in WRITER_SEQUENCES:
            statements.append(f"GRANT USAGE ON SEQUENCE {place} TO {WRITER};")
        if kind == "FUNCTION" and name in WRITER_FUNCTIONS:
            statements.append(f"GRANT EXECUTE ON FUNCTION {place} TO {WRITER};")
        if kind == "FUNCTION" and name in READER_FUNCTIONS:
            statements.append(f"GRANT EXECUTE ON FUNCTION {place} TO {WRITER}, {READER};")
    return statements


def _present(connection: psycopg.Connection) -> list[_Object]:
    relations, functions = created_objects(connection)
    values = {"schema": schema_of(connection), "relations": relations, "functions": functions}
    return [_Object(*row) for row in connection.execute(_PRESENT, values)]


def _database(connection: psycopg.Connection) -> str:
    row = connection.execute("SELECT current_database()").fetchone()
    assert row is not None  # noqa: S101  (a SELECT without FROM has one row)
    return str(row[0])
