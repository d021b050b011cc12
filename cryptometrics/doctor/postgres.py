"""Checks of PostgreSQL: whether it answers, its schema and roles, and the settings that can lose rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.doctor.diagnosis import ok, warning, wrong
from cryptometrics.errors import CryptometricsError
from cryptometrics.store import migrate
from cryptometrics.store.connection import connect
from cryptometrics.store.connection_options import public_uri
from cryptometrics.store.database_errors import explaining
from cryptometrics.store.roles import ROLES
from cryptometrics.store.server_facts import clock_skew, read_facts

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from cryptometrics.config import Settings
    from cryptometrics.doctor.diagnosis import Diagnosis
    from cryptometrics.store.server_facts import ServerFacts

MIN_MAJOR = 14
MAX_SKEW_S = 1.0
"""Alerts and the age of a tick compare times of both machines."""
WRONG_SKEW_S = 60.0
"""Longer than a minute: rows and minutes get times in the wrong one."""
FEW_CONNECTIONS = 10
"""A worker needs two connections, and each reader one."""


def check_postgres(settings: Settings) -> Iterator[Diagnosis]:
    """Check PostgreSQL as these settings reach it."""
    try:
        with connect(settings) as connection, explaining():
            uri = public_uri(settings.postgres())
            facts, skew = read_facts(connection), clock_skew(connection)
            yield ok("postgres", f"{uri} answers")
            yield from check_facts(facts, local=settings.uses_local_postgres)
            yield pooler(facts, connection.info.backend_pid)
            yield clock(skew)
            yield schema(connection)
    except CryptometricsError as error:
        yield wrong(
            "postgres", str(error), "start PostgreSQL or correct its settings, then run `doctor` again"
        )


def check_facts(facts: ServerFacts, *, local: bool) -> Iterator[Diagnosis]:
    """Check what the server says; local: it is the one that `up` runs, for one user."""
    yield version(facts)
    yield durability(facts)
    yield synchronous_commit(facts)
    yield connections(facts)
    yield encoding(facts)
    yield encryption(facts)
    yield roles(facts, local=local)
    yield rights(facts)


def version(facts: ServerFacts) -> Diagnosis:
    """Check the server's version, and that it accepts writes."""
    found = f"PostgreSQL {facts.version}"
    if facts.version_number < MIN_MAJOR * 10_000:
        return wrong("postgres version", found, f"use PostgreSQL {MIN_MAJOR} or newer")
    if facts.is_standby:
        found = f"{found}, a standby: it can be read only"
        return warning("postgres version", found, "connect commands that write to the primary")
    return ok("postgres version", found)


def durability(facts: ServerFacts) -> Diagnosis:
    """Check that a crash of the machine cannot destroy the database."""
    off = [name for name in ("fsync", "full_page_writes") if not getattr(facts, name)]
    if off:
        found = f"{' and '.join(off)} off: a crash of the machine can destroy the database"
        fix = "; ".join(f"ALTER SYSTEM SET {name} = on" for name in off)
        return wrong("fsync", found, f"{fix}; SELECT pg_reload_conf()")
    return ok("fsync", "fsync and full_page_writes are on")


def synchronous_commit(facts: ServerFacts) -> Diagnosis:
    """Check that a commit is on the disk before the server reports it."""
    found = f"synchronous_commit={facts.synchronous_commit}"
    if facts.synchronous_commit == "off":
        return warning(
            "synchronous_commit",
            f"{found}: after a crash, the last commits are done again from Kafka, and alerts may come twice",
            "ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf()",
        )
    return ok("synchronous_commit", found)


def connections(facts: ServerFacts) -> Diagnosis:
    """Check that more workers and readers can connect."""
    free = facts.max_connections - facts.reserved_connections - facts.used_connections
    found = f"{facts.used_connections:,} of {facts.max_connections:,} connections are used"
    if free < FEW_CONNECTIONS:
        return warning("max_connections", found, "raise max_connections and restart PostgreSQL")
    return ok("max_connections", found)


def encoding(facts: ServerFacts) -> Diagnosis:
    """Check that the database can store every name."""
    if facts.encoding == "UTF8":
        return ok("encoding", facts.encoding)
    return warning(
        "encoding",
        f"{facts.encoding}: not every name of a group or session can be stored",
        "create a database with ENCODING 'UTF8' TEMPLATE template0",
    )


def encryption(facts: ServerFacts) -> Diagnosis:
    """Check that nothing travels a network in plain text."""
    if facts.encrypted:
        return ok("postgres tls", "encrypted")
    if not facts.remote:
        return ok("postgres tls", "not encrypted: the server is on this machine")
    return warning("postgres tls", "not encrypted, to another machine", "set DB_SSLMODE to verify-full")


def roles(facts: ServerFacts, *, local: bool) -> Diagnosis:
    """Check that the three roles exist and that the login is no superuser."""
    missing = [role for role in ROLES if role not in facts.roles]
    found = f"login {facts.login}{', a superuser' if facts.is_superuser else ''}"
    if local:
        return ok("roles", f"{found}, of the local PostgreSQL")
    if missing:
        return warning("roles", f"{found}; missing: {', '.join(missing)}", "cryptometrics init-db --grants")
    if facts.is_superuser:
        fix = f"run `process` as {ROLES[1]}, and what only reads as {ROLES[2]}"
        return warning("roles", f"{found}: it may do more than needed", fix)
    return ok("roles", f"{found}; all three roles exist")


def rights(facts: ServerFacts) -> Diagnosis:
    """Check what the login may do with the metrics."""
    if facts.can_read is None:
        return wrong("rights", "there are no tables", "cryptometrics init-db")
    if not facts.can_read:
        fix = f"GRANT {ROLES[2]} TO the login, or `cryptometrics init-db --print-grants`"
        return wrong("rights", f"{facts.login} may not read the metrics", fix)
    return ok(
        "rights", f"{facts.login} may read{' and write' if facts.can_write else ', not write,'} metrics"
    )


def pooler(facts: ServerFacts, announced: int) -> Diagnosis:
    """Check for a pooler; `connect` refuses one in transaction mode. announced: process id from the login."""
    if facts.process == announced:
        return ok("pooler", "none: the connection leads to the server itself")
    return ok("pooler", "a pooler in session mode, which works")


def clock(skew: float) -> Diagnosis:
    """Check the clock of the server against this machine's; skew: seconds that the server's is ahead."""
    found = f"{abs(skew):,.3f} s {'ahead of' if skew >= 0 else 'behind'} this machine"
    fix = "synchronize both clocks (NTP: chrony or systemd-timesyncd)"
    if abs(skew) > WRONG_SKEW_S:
        return wrong("clock of postgres", found, fix)
    return (
        warning("clock of postgres", found, fix) if abs(skew) > MAX_SKEW_S else ok("clock of postgres", found)
    )


def schema(connection: psycopg.Connection) -> Diagnosis:
    """Check that all migrations are applied."""
    behind = migrate.pending(connection)
    if behind:
        return wrong("schema", f"not applied: {', '.join(behind)}", "cryptometrics init-db")
    return ok("schema", "up to date")
