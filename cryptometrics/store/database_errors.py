"""Classify PostgreSQL's errors: what they mean to a user, and whether a retry can help."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors

from cryptometrics.errors import CryptometricsError, ServiceUnavailableError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator


def one_line(error: BaseException) -> str:
    """Return the message of a database error in one line, without prefixes, hints and earlier attempts."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return error.diag.message_primary
    lines = str(error).strip().splitlines() or [type(error).__name__]
    failures = [line for line in lines if " failed: " in line] or lines
    return failures[-1].rpartition(" failed: ")[2].strip()


def explained(error: psycopg.Error) -> CryptometricsError | None:
    """Return the error to show to the user for a failed statement, or None if it is a bug."""
    if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn | errors.UndefinedFunction):
        return UserError(
            f"the schema is missing or outdated ({error.diag.message_primary}): run `cryptometrics init-db`"
        )
    if isinstance(error, errors.InsufficientPrivilege):
        return UserError(f"PostgreSQL denies it: {error.diag.message_primary}")
    if isinstance(error, errors.DiskFull | errors.ReadOnlySqlTransaction):
        return ServiceUnavailableError(f"PostgreSQL cannot write now: {error.diag.message_primary}")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return ServiceUnavailableError(f"the connection to PostgreSQL broke: {one_line(error)}")
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
    if isinstance(error, errors.IdleInTransactionSessionTimeout):  # psycopg derives it from InternalError
        return True
    if not isinstance(error, psycopg.OperationalError | errors.ReadOnlySqlTransaction):
        return False
    # 08 connection, 25 read-only, 40 deadlock, 53 resources, 55 lock, 57 shutdown and time-outs, 58 disk
    return error.sqlstate is None or error.sqlstate[:2] in {"08", "25", "40", "53", "55", "57", "58"}


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
