"""Classify PostgreSQL's errors: what they mean to a user, and whether a retry can help."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors

from cryptometrics.errors import CryptometricsError, ServiceUnavailableError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class NotConnectedError(psycopg.OperationalError):
    """A connection failed, and a retry may succeed; the message is one line for a user."""

    def __init__(self, reason: str, *, answered: bool) -> None:
        """answered: whether a server answered."""
        super().__init__(reason)
        self.answered = answered


def one_line(error: BaseException) -> str:
    """Return the message of a database error in one line, without prefixes, hints and earlier attempts."""
    if isinstance(error, NotConnectedError):
        return str(error)
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return error.diag.message_primary
    lines = str(error).strip().splitlines() or [type(error).__name__]
    failures = [line for line in lines if " failed: " in line] or lines
    message = failures[-1].rpartition(" failed: ")[2].strip().removeprefix("connection is bad: ")
    # libpq puts the severity, in the server's language, and two spaces before the server's message.
    return re.sub(r"^[^\s:]+:  ", "", message)


_MEANINGS: tuple[tuple[tuple[type[psycopg.Error], ...], Callable[[str], CryptometricsError]], ...] = (
    (
        (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedFunction),
        lambda message: UserError(
            f"the schema is missing or outdated ({message}): run `cryptometrics init-db`"
        ),
    ),
    (
        (errors.InsufficientPrivilege,),
        lambda message: UserError(f"PostgreSQL denies it: {message}"),
    ),
    (
        (errors.UntranslatableCharacter,),
        lambda message: UserError(
            f"the database cannot store a text ({message}): create a database with ENCODING 'UTF8'"
        ),
    ),
    (
        (errors.InvalidSqlStatementName, errors.DuplicatePreparedStatement),
        lambda message: UserError(
            f"a pooler changes the session between transactions ({message}): use a pool in session mode"
        ),
    ),
    (
        (errors.DiskFull, errors.ReadOnlySqlTransaction),
        lambda message: ServiceUnavailableError(f"PostgreSQL cannot write now: {message}"),
    ),
    (
        (errors.QueryCanceled, errors.LockNotAvailable),
        lambda message: ServiceUnavailableError(f"PostgreSQL cancelled a statement: {message}"),
    ),
    (
        (errors.IdleInTransactionSessionTimeout, errors.TransactionTimeout, errors.IdleSessionTimeout),
        lambda message: ServiceUnavailableError(f"PostgreSQL ended the session: {message}"),
    ),
    (
        (psycopg.OperationalError, psycopg.InterfaceError),
        lambda message: ServiceUnavailableError(f"the connection to PostgreSQL broke: {message}"),
    ),
)
"""What errors of statements mean to a user; the first match counts."""
_TRANSIENT_CLASSES = {"08", "40", "53", "55", "57", "58"}
"""Classes of SQLSTATE: connection, deadlock, resources, lock, shutdown and time-outs, disk."""
_TRANSIENT_CODES = {"25006", "25P03", "25P04"}
"""Read-only, idle in a transaction for too long, too long in a transaction."""


def explained(error: psycopg.Error) -> CryptometricsError | None:
    """Return the error to show to the user for a failed statement, or None if it is a bug."""
    message = one_line(error)
    for kinds, meaning in _MEANINGS:
        if isinstance(error, kinds):
            return meaning(message)
    return None


@contextlib.contextmanager
def explaining() -> Iterator[None]:
    """Replace database errors inside by one-line errors that a user can act on; let bugs pass."""
    try:
        yield
    except psycopg.Error as error:
        if (meaning := explained(error)) is None:
            raise
        raise meaning from None


def is_transient(error: BaseException | None) -> bool:
    """Whether a retry may succeed: the server is down, full, read-only or busy, or closed the session."""
    if isinstance(error, psycopg.InterfaceError) or _lacks_partition(error):
        return True
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate[:2] in _TRANSIENT_CLASSES or error.sqlstate in _TRANSIENT_CODES


def is_refusal(error: BaseException | None) -> bool:
    """Whether PostgreSQL refuses a value (SQLSTATE class 22 or 23), so that a retry cannot help."""
    if not isinstance(error, psycopg.Error) or _lacks_partition(error):
        return False
    return (error.sqlstate or "")[:2] in {"22", "23"}


def _lacks_partition(error: BaseException | None) -> bool:
    """Whether a row has no partition because its day was just pruned; the day can be created again.

    PostgreSQL reports a check violation, as for a wrong value, but without the name of a constraint.
    """
    return isinstance(error, errors.CheckViolation) and not error.diag.constraint_name
