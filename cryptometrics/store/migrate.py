"""Migrate the schema: apply numbered SQL files in order, each once, under a lock."""

from __future__ import annotations

import importlib.resources
import re
from typing import TYPE_CHECKING

from cryptometrics.errors import UserError
from cryptometrics.store.running_workers import running_workers

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

LOCK = 0x63727970746F6D65
"""The advisory lock of a migration: "cryptome" in ASCII."""

RELATIONS = {
    "0001_metrics": (
        "consumer_offsets",
        "crypto_metrics",
        "crypto_metrics_before",
        "crypto_metrics_ids",
        "crypto_metrics_timestamp",
        "pair_state",
        "rejected_ticks",
        "session_extremes",
        "skipped_offsets",
    ),
    "0002_rejects": ("rejected_ticks_requeue_started",),
    "0003_prune": ("crypto_metrics_days", "metric_days", "pruned_days", "pruning_days"),
    "0004_gaps": ("feed_gaps", "feed_gaps_ends_at"),
    "0005_windows": (
        "crypto_windows",
        "crypto_windows_15m",
        "crypto_windows_1d",
        "crypto_windows_1h",
        "crypto_windows_4h",
        "crypto_windows_5m",
        "crypto_windows_open",
        "crypto_windows_too_late",
    ),
    "0006_alerts": (
        "alert_notifications",
        "alert_notifications_waiting",
        "alert_states",
        "alerts",
        "alerts_fired_at",
        "alerts_firing",
    ),
    "0007_views": (
        "crypto_latest_quotes",
        "crypto_progress",
        "crypto_quotes",
        "crypto_rejections",
        "crypto_sessions",
    ),
    "0008_roles": (),
    "0009_venues": ("window_progress",),
    "0010_sizes": (),
    "0011_completeness": ("crypto_markets", "crypto_windows_1m", "crypto_windows_imported"),
    "0012_risk": ("changed_minutes", "crypto_risk", "risk_progress"),
    "0013_portfolios": ("portfolio_versions", "portfolio_versions_effective_at"),
    "0014_latest_risk": ("crypto_latest_risk",),
    "0015_imported": (),
    "0016_portfolio_risk": (
        "crypto_latest_portfolio_risk",
        "portfolio_progress",
        "portfolio_risk",
        "portfolio_risk_as_of",
    ),
    "0017_acknowledgements": ("alert_acknowledgements", "alert_silences", "alert_silences_ends_at"),
    "0018_channels": (),
    "0019_group_deletions": ("group_deletions",),
    "0020_reject_reasons": ("rejected_ticks_reason",),
    "0021_verification_marks": ("verified_groups", "verified_offsets"),
    "0022_index_repair": (),
}
"""The tables, views, sequences and indexes that each migration creates; a test finds unlisted ones."""
FUNCTIONS = {
    "0001_metrics": (
        "crypto_metrics_add_day(date)",
        "crypto_metrics_first_day()",
        "crypto_metrics_summarize(date[])",
    ),
    "0002_rejects": (),
    "0003_prune": (
        "crypto_metrics_day_name(date)",
        "crypto_metrics_finish_pruning(date)",
        "crypto_metrics_note_pruned(date, date)",
    ),
    "0004_gaps": (),
    "0005_windows": ("crypto_spread_bps(numeric, numeric)",),
    "0006_alerts": (),
    "0007_views": (),
    "0008_roles": (),
    "0009_venues": (),
    "0010_sizes": (),
    "0011_completeness": (
        "crypto_is_simulated(text)",
        "crypto_minutes(text, text, text[], timestamp with time zone, timestamp with time zone)",
    ),
    "0012_risk": (),
    "0013_portfolios": (),
    "0014_latest_risk": (),
    "0015_imported": (),
    "0016_portfolio_risk": (),
    "0017_acknowledgements": (
        "crypto_acknowledge_alert(bigint, text, text)",
        "crypto_check_note(text, text, integer)",
        "crypto_end_silence(bigint, text)",
        "crypto_silence_alerts(text, text, timestamp with time zone, text, text)",
    ),
    "0018_channels": (),
    "0019_group_deletions": (),
    "0020_reject_reasons": (),
    "0021_verification_marks": (),
    "0022_index_repair": (),
}
"""The functions that each migration is the first to create."""
WITHOUT_WORKERS = frozenset({"0009_venues"})
"""Migrations that change what workers write, so that none may run meanwhile."""

_STEP = re.compile(r"^-- Step: (.+)$", re.MULTILINE)
"""A line in a migration before a step that may take long; its text is shown."""

_MAKE_REGISTER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    name       text        PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""

# Other migration tools also have a table of this name, with other columns.
_REGISTER = """
SELECT c.relnamespace = quote_ident(current_schema())::regnamespace AS here,
       c.relkind = 'r' AND 2 = (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid
                                AND a.attname IN ('name', 'applied_at') AND NOT a.attisdropped) AS ours
FROM pg_class c WHERE c.oid = to_regclass('schema_migrations')
"""

# Existing objects with a name that a migration needs. A table crypto_metrics is no conflict: it is renamed.
_TAKEN = """
SELECT relname::text FROM pg_class
WHERE relnamespace = %(schema)s::regnamespace AND relname = ANY (%(relations)s)
  AND NOT (relname = 'crypto_metrics' AND relkind IN ('r', 'p', 'v', 'm', 'f'))
UNION
SELECT 'crypto_metrics_original'
WHERE 'crypto_metrics' = ANY (%(relations)s)
  AND (SELECT count(*) = 2 FROM pg_class WHERE relnamespace = %(schema)s::regnamespace
       AND relname IN ('crypto_metrics', 'crypto_metrics_original'))
UNION
SELECT typname::text FROM pg_type
WHERE typnamespace = %(schema)s::regnamespace AND typname = ANY (%(relations)s) AND typrelid = 0
UNION
SELECT signature
FROM (SELECT proname || '(' || oidvectortypes(proargtypes) || ')' AS signature
      FROM pg_proc WHERE pronamespace = %(schema)s::regnamespace) AS present
WHERE signature = ANY (%(functions)s)
ORDER BY 1
"""


def migrate(
    connection: psycopg.Connection, progress: Callable[[str], None] = lambda _text: None
) -> list[str]:
    """Apply the pending migrations in one transaction, and return their names.

    A second caller waits for the first, and then finds nothing to do. Raises UserError, and changes nothing,
    if a foreign object has a name that a migration needs, or if a worker runs that has to be stopped first.

    progress: called before each step that may take long, when an existing schema is migrated.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        # In this schema only: objects in other schemas of the path are not ours, and must not be renamed.
        connection.execute("SELECT set_config('search_path', %s, true)", [schema_of(connection)])
        missing = pending(connection)
        if missing:
            connection.execute(_MAKE_REGISTER)
        for name in missing:
            if name in WITHOUT_WORKERS:
                _refuse_workers(connection)
            report = progress if next(iter(RELATIONS)) not in missing else None
            _apply(connection, name, _migrations()[name], report)
            connection.execute("INSERT INTO schema_migrations (name) VALUES (%s)", [name])
    return missing


def _apply(
    connection: psycopg.Connection, name: str, script: str, progress: Callable[[str], None] | None
) -> None:
    """Run a migration, step by step if it names some."""
    first, *steps = _STEP.split(script)
    connection.execute(first.encode())
    for text, statements in zip(steps[::2], steps[1::2], strict=True):
        if progress is not None:
            progress(f"{name}: {text}")
        connection.execute(statements.encode())


def _refuse_workers(connection: psycopg.Connection) -> None:
    """Raise UserError if a worker runs; until the transaction ends, none can claim a partition."""
    _refuse_running(connection)  # at once: the lock waits for the batch that a worker writes
    connection.execute("LOCK TABLE consumer_offsets IN SHARE ROW EXCLUSIVE MODE")
    _refuse_running(connection)


def _refuse_running(connection: psycopg.Connection) -> None:
    if workers := running_workers(connection):
        raise UserError(
            f"a worker is running ({', '.join(map(str, workers))}): stop `process`, run "
            "`cryptometrics init-db`, and start `process` again. Nothing was changed"
        )


def pending(connection: psycopg.Connection) -> list[str]:
    """Return the names of the migrations that are not applied yet, in order.

    Raises UserError if a foreign object has a name that one of them needs.
    """
    schema = schema_of(connection)
    here, ours = connection.execute(_REGISTER).fetchone() or (False, False)
    applied: set[str] = set()
    if ours:
        applied = {name for (name,) in connection.execute("SELECT name FROM schema_migrations")}
    missing = [name for name in _migrations() if name not in applied]
    values = {
        "schema": schema,
        "relations": [relation for name in missing for relation in RELATIONS.get(name, ())],
        "functions": [function for name in missing for function in FUNCTIONS.get(name, ())],
    }
    taken = [name for (name,) in connection.execute(_TAKEN, values)]
    if here and not ours:
        taken.append("schema_migrations")
    if taken:
        raise UserError(
            f"something else in the schema {schema} has names that cryptometrics needs: {', '.join(taken)}. "
            "Nothing was changed: give cryptometrics a database of its own, or a schema of its own with "
            "CREATE SCHEMA cryptometrics and DATABASE_URL=...?options=-csearch_path%3Dcryptometrics"
        )
    return missing


def version(connection: psycopg.Connection) -> str | None:
    """Return the name of the newest migration applied to the schema; None if there is none."""
    if connection.execute(_REGISTER).fetchone() != (True, True):
        return None
    found = connection.execute("SELECT max(name) FROM schema_migrations").fetchone()
    return None if found is None or found[0] is None else str(found[0])


def created_objects(connection: psycopg.Connection) -> tuple[list[str], list[str]]:
    """Return the names of our relations and the signatures of our functions in the schema.

    Without our register in this schema, none is ours, whatever its name.
    """
    missing = pending(connection)
    if connection.execute(_REGISTER).fetchone() != (True, True):
        return [], []
    applied = [name for name in _migrations() if name not in missing]
    return (
        ["schema_migrations", *(relation for name in applied for relation in RELATIONS.get(name, ()))],
        [function for name in applied for function in FUNCTIONS.get(name, ())],
    )


def schema_of(connection: psycopg.Connection) -> str:
    """Return the schema in which tables are created, quoted for SQL; raise UserError if there is none."""
    row = connection.execute(
        "SELECT quote_ident(current_schema()), current_setting('search_path')"
    ).fetchone()
    assert row is not None  # noqa: S101  (a SELECT without FROM has one row)
    if row[0] is None:
        raise UserError(
            f"no schema of the search path ({row[1]}) exists, or this user may not use it: create one with "
            "CREATE SCHEMA"
        )
    return str(row[0])


def _migrations() -> dict[str, str]:
    folder = importlib.resources.files(__package__).joinpath("migrations")
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name
    )
    return {file.name.removesuffix(".sql"): file.read_text(encoding="utf-8") for file in files}
