"""Diagnose why an encrypted connection to PostgreSQL failed."""

from __future__ import annotations

import os

import psycopg
from psycopg import conninfo

from cryptometrics import tls_probe
from cryptometrics.store.database_errors import one_line


def encryption_problem(uri: str, message: str) -> str | None:
    """Return what is wrong with the encryption, given libpq's message; None if the cause is elsewhere."""
    if "server does not support SSL" in message:
        return "the server offers no encryption, but DB_SSLMODE requires it"
    if "no pg_hba.conf entry" in message and "no encryption" in message and "SSL encryption" not in message:
        return "the server requires encryption: set DB_SSLMODE to verify-full"
    for prefix in ("could not read root certificate file", "could not load private key", "private key file"):
        if prefix in message:
            return message[message.index(prefix) :].partition("\n")[0]
    if "certificate verify failed" not in message and "does not match host name" not in message:
        return None
    parts = conninfo.conninfo_to_dict(uri)
    host, port = str(parts.get("host", "localhost")), str(parts.get("port", 5432))
    rootcert = parts.get("sslrootcert") or os.path.expanduser("~/.postgresql/root.crt")  # noqa: PTH111  (raises nothing)
    authorities = None if rootcert == "system" else str(rootcert)
    checks_name = parts.get("sslmode") == "verify-full" or authorities is None
    problem = tls_probe.postgres_problem(
        host.partition(",")[0], int(port.partition(",")[0]), authorities, check_name=checks_name
    )
    return problem or one_line(psycopg.OperationalError(message))
