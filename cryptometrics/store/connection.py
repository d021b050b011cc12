"""Connections to PostgreSQL, and what its refusals mean to a person."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import conninfo, errors

from cryptometrics import tls_probe
from cryptometrics.errors import CryptometricsError, ServiceUnavailableError, UserError
from cryptometrics.retry import retrying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptometrics.config import Settings

CONNECT_TIMEOUT_S = 5
"""Seconds for one attempt to connect."""


def connect(
    settings: Settings,
    *,
    autocommit: bool = True,
    timeout: float | None = None,
    notice: Callable[[BaseException, float], None] | None = None,
) -> psycopg.Connection:
    """Return a connection whose times are UTC, waiting for the server `settings.wait` seconds (or `timeout`).

    Raises ServiceUnavailableError when it does not answer in time, UserError when it refuses for good:
    wrong password, unknown database, no such host setting.
    """
    uri = _valid(settings.postgres())
    limit = settings.wait if timeout is None else timeout

    def attempt() -> psycopg.Connection:
        try:
            return connect_once(uri, autocommit=autocommit)
        except psycopg.OperationalError as error:
            if problem := _encryption_problem(uri, str(error)):
                raise UserError(f"no connection to PostgreSQL at {place(uri)}: {problem}") from None
            if _is_final(error):
                raise UserError(f"PostgreSQL at {place(uri)} refuses: {one_line(error)}") from None
            raise

    try:
        return retrying(psycopg.OperationalError, timeout=limit, notice=notice)(attempt)
    except psycopg.OperationalError as error:
        hint = (
            "start it with `cryptometrics up`"
            if settings.uses_local_postgres
            else "check DB_HOST and DB_PORT, or DATABASE_URL"
        )
        raise ServiceUnavailableError(
            f"PostgreSQL at {place(uri)} did not answer for {limit:g} s ({one_line(error)}): {hint}"
        ) from None


def connect_once(uri: str, *, autocommit: bool = True) -> psycopg.Connection:
    """Return a connection or raise psycopg's error at once."""
    options: dict[str, Any] = conninfo.conninfo_to_dict(uri)
    options.setdefault("connect_timeout", CONNECT_TIMEOUT_S)
    options.setdefault("application_name", "cryptometrics")
    # A peer that is gone without a word is noticed within half a minute.
    options |= {
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
    }
    options["options"] = f"{options.get('options', '')} -c timezone=UTC".strip()
    return psycopg.connect(**options, autocommit=autocommit)


def _valid(uri: str) -> str:
    """Return the connection string as it is, or raise UserError, which repeats nothing of it.

    libpq quotes what it does not understand, and a password that is not percent-encoded ends up in any part.
    """
    try:
        parts = conninfo.conninfo_to_dict(uri)
    except psycopg.ProgrammingError:
        parts = {"port": "unreadable"}
    # A folder of sockets is a host, too, and its name may have an @ in it.
    hosts = [host for host in str(parts.get("host", "")).split(",") if not host.startswith("/")]
    torn = any("@" in part[1:] for part in (*hosts, str(parts.get("dbname", ""))))
    if torn or not re.fullmatch(r"[0-9,]*", str(parts.get("port", ""))):
        raise UserError(
            "DATABASE_URL is not valid: it has the form postgresql://user:password@host:5432/database, "
            "where signs such as @ : / % in the password are percent-encoded (@ is %40)"
        )
    return uri


def place(uri: str) -> str:
    """Return host, port and database of a connection string, and nothing secret."""
    parts = conninfo.conninfo_to_dict(uri)
    database = parts.get("dbname") or parts.get("user", "")
    return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{database}"


def one_line(error: BaseException) -> str:
    """Return what the driver says without its preface, hints and further attempts."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return error.diag.message_primary
    lines = str(error).strip().splitlines() or [type(error).__name__]
    said = [line for line in lines if " failed: " in line] or lines
    return said[-1].rpartition(" failed: ")[2].strip()


def explained(error: psycopg.Error) -> CryptometricsError | None:
    """Return what a failed statement means to a user, or None where it is a bug of ours."""
    if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn | errors.UndefinedFunction):
        return UserError(
            f"the schema is not made or behind ({error.diag.message_primary}): run `cryptometrics init-db`"
        )
    if isinstance(error, errors.InsufficientPrivilege):
        return UserError(f"PostgreSQL does not allow it: {error.diag.message_primary}")
    if isinstance(error, errors.DiskFull | errors.ReadOnlySqlTransaction):
        return ServiceUnavailableError(f"PostgreSQL cannot write now: {error.diag.message_primary}")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return ServiceUnavailableError(f"the connection to PostgreSQL broke: {one_line(error)}")
    return None


@contextlib.contextmanager
def explaining() -> Iterator[None]:
    """Turn a failed statement into the one line that a user can act on; bugs of ours pass unchanged."""
    try:
        yield
    except psycopg.Error as error:
        meaning = explained(error)
        if meaning is None:
            raise
        raise meaning from None


def is_transient(error: BaseException | None) -> bool:
    """Whether the same may succeed later: the server went away, is full, read-only, busy, or cut us off."""
    if isinstance(error, psycopg.InterfaceError) or _lacks_partition(error):
        return True
    if isinstance(error, errors.IdleInTransactionSessionTimeout):  # which psycopg calls an internal error
        return True
    if not isinstance(error, psycopg.OperationalError | errors.ReadOnlySqlTransaction):
        return False
    # 08 connection, 25 read-only, 40 deadlock, 53 resources, 55 lock, 57 shutdown and time-outs, 58 disk
    return error.sqlstate is None or error.sqlstate[:2] in {"08", "25", "40", "53", "55", "57", "58"}


def is_refusal(error: BaseException | None) -> bool:
    """Whether PostgreSQL does not take a value (SQLSTATE class 22 or 23): repeating it cannot help."""
    if not isinstance(error, psycopg.Error) or _lacks_partition(error):
        return False
    return (error.sqlstate or "")[:2] in {"22", "23"}


def _lacks_partition(error: BaseException | None) -> bool:
    """Whether a row found no partition: its day was pruned a moment ago, and can be made again.

    PostgreSQL calls it a violated check, as of a value that is wrong, but one that has no name.
    """
    return isinstance(error, errors.CheckViolation) and not error.diag.constraint_name


def _encryption_problem(uri: str, said: str) -> str | None:
    """Return what keeps both sides from speaking as they want to, None where it is something else."""
    if "server does not support SSL" in said:
        return "the server offers no encryption, and DB_SSLMODE asks for it"
    if "no pg_hba.conf entry" in said and "no encryption" in said and "SSL encryption" not in said:
        return "the server refuses this without encryption: set DB_SSLMODE to verify-full"
    for words in ("could not read root certificate file", "could not load private key", "private key file"):
        if words in said:
            return said[said.index(words) :].partition("\n")[0]
    if "certificate verify failed" not in said and "does not match host name" not in said:
        return None
    parts = conninfo.conninfo_to_dict(uri)
    host, port = str(parts.get("host", "localhost")), str(parts.get("port", 5432))
    rootcert = parts.get("sslrootcert") or os.path.expanduser("~/.postgresql/root.crt")  # noqa: PTH111  (raises nothing)
    authorities = None if rootcert == "system" else str(rootcert)
    checks_name = parts.get("sslmode") == "verify-full" or authorities is None
    found = tls_probe.postgres_problem(
        host.partition(",")[0], int(port.partition(",")[0]), authorities, check_name=checks_name
    )
    return found or one_line(psycopg.OperationalError(said))


def _is_final(error: psycopg.OperationalError) -> bool:
    """Whether the server is there and refuses, so that waiting cannot help."""
    if error.sqlstate:
        return error.sqlstate[:2] in {"28", "3D"}
    # A failure to connect carries no SQLSTATE; libpq passes the server's words on.
    text = str(error)
    return any(
        words in text
        for words in (
            "authentication failed",
            "no pg_hba.conf entry",
            "does not exist",
            "no password supplied",
            "could not translate host name",
        )
    )
