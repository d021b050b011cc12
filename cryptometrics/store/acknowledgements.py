"""Acknowledge alerts, and silence alerts that will come: all that a reader of the database may write.

The database checks everything in functions that run with its owner's rights. They store the caller's login
beside the name that the caller gives.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors
from psycopg.rows import class_row

from cryptometrics.alerts.silences import ActiveSilence
from cryptometrics.errors import NotFoundError, UserError
from cryptometrics.store.database_errors import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

# A login may be read-only by default; what it may write is what these functions let it.
_READ_WRITE = "SET TRANSACTION READ WRITE"
_ACKNOWLEDGE = "SELECT crypto_acknowledge_alert(%s::bigint, %s::text, %s::text)"
_SILENCE_UNTIL = "SELECT crypto_silence_alerts(%s::text, %s::text, %s::timestamptz, %s::text, %s::text)"
_SILENCE_FOR = "SELECT crypto_silence_alerts(%s::text, %s::text, now() + %s::interval, %s::text, %s::text)"
_END_SILENCE = "SELECT crypto_end_silence(%s::bigint, %s::text)"

_LIST = """
SELECT id, rule, pair, why, created_by, created_login, starts_at, ends_at, ended_at, ended_by, ended_login,
       ended_at IS NULL AND ends_at > now() AS active
FROM alert_silences WHERE %(ended)s OR (ended_at IS NULL AND ends_at > now())
ORDER BY active DESC, coalesce(ended_at, ends_at) DESC, id DESC
LIMIT %(limit)s
"""
_ONE = """
SELECT id, rule, pair, why, created_by, created_login, starts_at, ends_at, ended_at, ended_by, ended_login,
       ended_at IS NULL AND ends_at > now() AS active
FROM alert_silences WHERE id = %s
"""
_ACTIVE = """
SELECT id, rule, pair, ends_at FROM alert_silences
WHERE ended_at IS NULL AND ends_at > statement_timestamp()
"""


class AlreadyAcknowledgedError(UserError):
    """Somebody has acknowledged the alert before; the message says who and when."""


@dataclass(frozen=True)
class Silence:
    """A row of `alert_silences`."""

    id: int
    rule: str
    pair: str
    why: str
    created_by: str
    created_login: str
    starts_at: datetime
    ends_at: datetime
    ended_at: datetime | None
    """When a person ended it early."""
    ended_by: str | None
    ended_login: str | None
    active: bool


def acknowledge(connection: psycopg.Connection, alert_id: int, by: str, why: str) -> None:
    """Store that a person has seen an alert, and what they do about it.

    Raises NotFoundError, AlreadyAcknowledgedError, or UserError if a text is refused.
    """
    with _writing(connection):
        connection.execute(_ACKNOWLEDGE, [alert_id, by, why])


def silence(
    connection: psycopg.Connection, rule: str, pair: str, until: datetime | timedelta, by: str, why: str
) -> Silence:
    """Silence alerts by patterns of rule and pair from now on; raise UserError if a value is refused.

    until: the end, or how long from now by the database's clock.
    """
    statement = _SILENCE_FOR if isinstance(until, timedelta) else _SILENCE_UNTIL
    with _writing(connection):
        row = connection.execute(statement, [rule, pair, until, by, why]).fetchone()
        assert row is not None  # noqa: S101  (a SELECT without FROM has a row)
        return _one(connection, row[0])


def end_silence(connection: psycopg.Connection, silence_id: int, by: str) -> Silence:
    """End a silence early; raise NotFoundError if it is not active."""
    with _writing(connection):
        connection.execute(_END_SILENCE, [silence_id, by])
        return _one(connection, silence_id)


def silences(connection: psycopg.Connection, *, ended: bool = False, limit: int = 1_000) -> list[Silence]:
    """Return the active silences, the longest first; ended: then those that have ended, the newest first."""
    with connection.cursor(row_factory=class_row(Silence)) as cursor:
        return cursor.execute(_LIST, {"ended": ended, "limit": limit}).fetchall()


def active_silences(cursor: psycopg.Cursor) -> list[ActiveSilence]:
    """Return the silences that apply at this moment, to decide whether an alert is sent."""
    return [ActiveSilence(*row) for row in cursor.execute(_ACTIVE)]


def _one(connection: psycopg.Connection, silence_id: int) -> Silence:
    with connection.cursor(row_factory=class_row(Silence)) as cursor:
        found = cursor.execute(_ONE, [silence_id]).fetchone()
    assert found is not None  # noqa: S101  (this transaction has written it)
    return found


@contextlib.contextmanager
def _writing(connection: psycopg.Connection) -> Iterator[None]:
    """Call a function in a transaction; its refusals become errors for the user."""
    try:
        with connection.transaction():
            connection.execute(_READ_WRITE)
            yield
    except errors.NoDataFound as error:
        raise NotFoundError(one_line(error)) from None
    except errors.UniqueViolation as error:
        raise AlreadyAcknowledgedError(one_line(error)) from None
    except errors.UntranslatableCharacter:
        raise  # the encoding of the database is the cause, see `database_errors`
    except psycopg.DataError as error:
        raise UserError(one_line(error)) from None
    except UnicodeEncodeError:
        raise UserError("a text has characters that are not valid Unicode") from None
