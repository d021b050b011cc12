"""Decide what a failed connection means: whether a server answered, and whether a retry can help.

libpq reports a failure in words only, and the server's words are in the server's language. So the login is
repeated by the protocol, which has codes.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics import tls_probe
from cryptometrics.errors import UserError
from cryptometrics.store.client_encryption import FileProblemError, encryption, unverified
from cryptometrics.store.connection_options import place, resolve
from cryptometrics.store.database_errors import NotConnectedError, one_line
from cryptometrics.store.server_login import Login, NoEncryptionError, NotPostgresError, Outcome, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg
    from psycopg.pq.abc import PGconn

_PERMANENT_CLASSES = {"0A", "22", "28", "3D", "42"}
"""SQLSTATE classes of a wrong login, database, right or start-up option."""
_MODES = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}
"""libpq's values of sslmode."""
_PROTOCOL_VIOLATION = "08P01"
"""PgBouncer's code for almost every refusal."""


class _Cause(NamedTuple):
    """Why a connection failed."""

    reason: str | None
    """None: libpq's message says more."""
    answered: bool = True
    """Whether a server answered."""
    permanent: bool = False
    """Whether a retry cannot help."""


def explain(uri: str, error: psycopg.OperationalError) -> NotConnectedError | UserError:
    """Return the error to raise for a failed connection: UserError if a retry cannot help."""
    cause = _Repetition(resolve(uri), error.pgconn).cause()
    reason = cause.reason or one_line(error)
    if cause.permanent:
        return UserError(f"no connection to PostgreSQL at {place(uri)}: {reason}")
    return NotConnectedError(reason, answered=cause.answered)


class _Repetition:
    """The login that libpq tried last, once more."""

    def __init__(self, options: Mapping[str, str], failed: PGconn | None) -> None:
        """options: as libpq resolves them. failed: its connection, None if it did not get that far."""
        self._options = options
        self._mode = options.get("sslmode", "prefer")
        self._lacks_password = failed is not None and failed.needs_password
        if failed is not None:
            host, address, port = failed.host.decode(), failed.hostaddr.decode(), failed.port.decode()
        else:
            host, address, port = (
                options.get(name, "").partition(",")[0] for name in ("host", "hostaddr", "port")
            )
        names = {"user": "user", "dbname": "database", "options": "options"}
        self._login = Login(
            host=host or address,
            address=address or host,
            port=int(port or 5432),
            parameters={name: options[option] for option, name in names.items() if options.get(option)},
            password=_sent_password(options, failed),
        )

    def cause(self) -> _Cause:
        """Return why the login fails."""
        if self._mode not in _MODES:
            return _Cause(None, permanent=True)  # libpq names the setting
        if not self._login.host:
            return _Cause(None, answered=False)
        try:
            return self._cause_of(self._outcome())
        except (FileProblemError, NoEncryptionError, NotPostgresError) as problem:
            return _Cause(str(problem), permanent=True)
        except OSError as error:
            return self._cause_of_error(error)

    def _outcome(self) -> Outcome:
        """Log in, encrypted or not, in libpq's order."""
        if self._login.is_local or self._mode == "disable":
            return self._login.attempt(None)
        direct = self._options.get("sslnegotiation") == "direct"
        if self._mode == "allow":
            outcome = self._login.attempt(None)
            return self._login.attempt(encryption(self._options)) if _is_turned_away(outcome) else outcome
        try:
            outcome = self._login.attempt(encryption(self._options), direct=direct)
        except NoEncryptionError:
            if self._mode != "prefer":
                raise
            return self._login.attempt(None)
        if self._mode == "prefer" and _is_turned_away(outcome):
            return self._login.attempt(None)
        return outcome

    def _cause_of(self, outcome: Outcome) -> _Cause:
        refusal = outcome.refusal
        if refusal is None:
            if outcome.stage is Stage.PROOF and self._lacks_password:
                return _Cause("no password supplied: set DB_PASSWORD", permanent=True)
            return _Cause("no answer after the login" if outcome.stage is Stage.SESSION else None)
        if _is_turned_away(outcome) and self._mode == "disable" and self._is_let_in_encrypted():
            return _Cause("the server requires encryption: set DB_SSLMODE to verify-full", permanent=True)
        return _Cause(refusal.message, permanent=self._is_permanent(refusal.sqlstate, outcome.stage))

    def _cause_of_error(self, error: OSError) -> _Cause:
        if isinstance(error, ssl.SSLCertVerificationError):
            problem = tls_probe.certificate_problem(error, self._login.host, "DB_SSLROOTCERT")
            return _Cause(problem, permanent=True)
        if isinstance(error, ssl.SSLError):
            return _Cause(None)
        if isinstance(error, socket.gaierror):
            return _Cause(f"the host name {self._login.host} is not known", answered=False)
        return _Cause(error.strerror or str(error), answered=False)

    def _is_let_in_encrypted(self) -> bool:
        try:
            return not _is_turned_away(self._login.without_password().attempt(unverified()))
        except (OSError, NoEncryptionError, NotPostgresError):
            return False

    def _is_permanent(self, sqlstate: str, stage: Stage) -> bool:
        if sqlstate == _PROTOCOL_VIOLATION:
            # The answer to a wrong password, or to start-up options that a pooler does not take.
            return stage is Stage.PROOF or (stage is Stage.START and "options" in self._login.parameters)
        return sqlstate[:2] in _PERMANENT_CLASSES


def _is_turned_away(outcome: Outcome) -> bool:
    """Return whether the server refused before it asked for a proof."""
    return outcome.stage is Stage.START and outcome.refusal is not None


def _sent_password(options: Mapping[str, str], failed: PGconn | None) -> str | None:
    """Return the password if libpq has sent it to this server; otherwise nobody else may send it."""
    checked_by_libpq_only = {"require_auth", "sslcrl", "sslcrldir"} & options.keys()
    if failed is None or not failed.used_password or checked_by_libpq_only:
        return None
    return failed.password.decode(errors="replace") or None  # empty: libpq had none to send
