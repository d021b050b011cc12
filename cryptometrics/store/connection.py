"""Connect to PostgreSQL, and read from one snapshot."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psycopg
from psycopg import IsolationLevel

from cryptometrics.errors import ServiceUnavailableError, UserError
from cryptometrics.retry import retrying
from cryptometrics.store import session_settings
from cryptometrics.store.connection_options import checked, place
from cryptometrics.store.database_errors import NotConnectedError, one_line
from cryptometrics.store.pooler import loses_sessions
from cryptometrics.store.primary import connect_primary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptometrics.config import Settings

_session_poolers: set[str] = set()
"""Connection strings that lead to a pooler in session mode, as this process has found out."""


def connect(
    settings: Settings,
    *,
    autocommit: bool = True,
    timeout: float | None = None,
    notice: Callable[[BaseException, float], None] | None = None,
) -> psycopg.Connection:
    """Connect, retrying for `settings.wait` seconds (or `timeout`); the session has our settings.

    Raises ServiceUnavailableError when no connection comes about in time, and UserError when a retry cannot
    help: wrong password, unknown database, wrong certificate.
    """
    uri = checked(settings.postgres())
    limit = settings.wait if timeout is None else timeout

    def attempt() -> psycopg.Connection:
        try:
            return connect_once(uri, autocommit=autocommit)
        except NotConnectedError:
            raise
        except psycopg.OperationalError as error:
            from cryptometrics.store.connect_failure import explain  # it probes logins and encryption

            raise explain(uri, error) from None

    try:
        return retrying(NotConnectedError, timeout=limit, notice=notice)(attempt)
    except NotConnectedError as error:
        if error.answered:
            problem = f"no connection to PostgreSQL at {place(uri)} for {limit:g} s: {error}"
        else:
            hint = (
                "start it with `cryptometrics up`"
                if settings.uses_local_postgres
                else "check DB_HOST and DB_PORT, or DATABASE_URL"
            )
            problem = f"PostgreSQL at {place(uri)} did not answer for {limit:g} s ({error}): {hint}"
        raise ServiceUnavailableError(problem) from None


def connect_once(uri: str, *, autocommit: bool = True) -> psycopg.Connection:
    """Connect once, and give the session our settings.

    Raises psycopg's error without a retry, and UserError if the session cannot have these settings.
    """
    try:
        connection = connect_primary(uri)
    except psycopg.ProgrammingError as error:
        raise UserError(f"the settings of PostgreSQL are not valid: {error}") from None
    try:
        # A pooler answers a login itself; then the process it names is not that of the session.
        if not session_settings.pin(connection, process=connection.info.backend_pid):
            _require_lasting_session(connection, uri)
            session_settings.pin(connection)
        connection.autocommit = autocommit
    except (psycopg.NotSupportedError, psycopg.DataError) as error:
        connection.close()
        raise UserError(
            f"PostgreSQL at {place(uri)} does not let us set up a session: {one_line(error)}"
        ) from None
    except BaseException:
        connection.close()
        raise
    return connection


def _require_lasting_session(connection: psycopg.Connection, uri: str) -> None:
    """Raise UserError if a pooler gives each transaction another session."""
    if uri in _session_poolers:
        return
    if loses_sessions(connection, lambda: connect_primary(uri)):
        raise UserError(
            f"PostgreSQL at {place(uri)} is behind a pooler in transaction mode, where no session lasts: "
            "use a pool in session mode (pool_mode = session), or PostgreSQL's own port"
        )
    _session_poolers.add(uri)


@contextlib.contextmanager
def snapshot(connection: psycopg.Connection) -> Iterator[None]:
    """Run all reads inside on one snapshot of the database; `connection` must be idle."""
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    with connection.transaction():
        yield
