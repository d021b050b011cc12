"""Text in databases whose encoding does not hold every character, such as LATIN1.

UTF8 holds every character, and SQL_ASCII stores the bytes as they come. In all other databases, texts for
people are stored in ASCII with Python's escapes. Names are never changed: they must be found again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import errors

from cryptometrics.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

_HOLD_EVERYTHING = {"UTF8", "SQL_ASCII"}


def storable(connection: psycopg.Connection, text: str) -> str:
    r"""Return a text for people in a form that the database can store: … becomes \u2026 where it must."""
    if _encoding(connection) in _HOLD_EVERYTHING:
        return text
    return text.encode("ascii", "backslashreplace").decode()


def require_storable(connection: psycopg.Connection, names: Iterable[str]) -> None:
    """Raise UserError if the database cannot store one of these names."""
    if _encoding(connection) in _HOLD_EVERYTHING:
        return
    for name in names:
        try:
            connection.execute("SELECT %s::text", [name])
        except errors.UntranslatableCharacter:
            raise UserError(
                f"the database cannot store the name {name}: its encoding is {_encoding(connection)}, which "
                "does not have all of these characters; give another name, or create a database with "
                "ENCODING 'UTF8'"
            ) from None


def _encoding(connection: psycopg.Connection) -> str | None:
    return connection.info.parameter_status("server_encoding")
