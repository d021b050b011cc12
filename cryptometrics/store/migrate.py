"""The schema's migrations: numbered SQL files, applied in order, once each, under a lock."""

from __future__ import annotations

import importlib.resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

LOCK = 0x63727970746F6D65
"""The advisory lock of whoever migrates: "cryptome" in ASCII."""

_MAKE_REGISTER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    name       text        PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


def migrate(connection: psycopg.Connection) -> list[str]:
    """Apply what is missing, all in one transaction; return the names of what was applied.

    Whoever comes at the same moment waits for the first, then finds nothing to do.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        connection.execute(_MAKE_REGISTER)
        missing = pending(connection)
        for name in missing:
            connection.execute(_migrations()[name].encode())
            connection.execute("INSERT INTO schema_migrations (name) VALUES (%s)", [name])
    return missing


def pending(connection: psycopg.Connection) -> list[str]:
    """Return the names of the migrations that this database has not seen yet, in order."""
    row = connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return list(_migrations())
    applied = {name for (name,) in connection.execute("SELECT name FROM schema_migrations")}
    return [name for name in _migrations() if name not in applied]


def _migrations() -> dict[str, str]:
    folder = importlib.resources.files(__package__).joinpath("migrations")
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name
    )
    return {file.name.removesuffix(".sql"): file.read_text(encoding="utf-8") for file in files}
