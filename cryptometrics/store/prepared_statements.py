"""Send several statements in one message and read all answers at once, each statement prepared.

psycopg's pipeline mode also saves round trips, but it writes each statement to the socket by itself. The
server then wakes up for each of them, and so does the client. For a transaction of a dozen statements about a
few rows, that is most of the work.
"""

from __future__ import annotations

import functools
import itertools
import re
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.waiting import Ready, Wait

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import psycopg
    from psycopg.pq.abc import PGresult

    Parameters = Sequence[object] | Mapping[str, object]

_placeholders = re.compile(r"%(?:\((\w+)\))?([sb%])")

_names: weakref.WeakKeyDictionary[psycopg.Connection, dict[str, bytes]] = weakref.WeakKeyDictionary()
"""The name of each statement that a session has prepared."""
_numbers = itertools.count(1)
"""Of names: never used twice, since a statement stays prepared when its transaction fails."""


class Executes(Protocol):
    """A cursor, or a message that is being composed."""

    def execute(self, query: str, params: Parameters, /) -> object:
        """Run a statement, or add it."""


class RoundTrip:
    """Statements for one round trip, in the order in which the server runs them.

    Parameters are texts, numbers, arrays as text (see `array_text`), and bytes in PostgreSQL's binary format.
    """

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._statements: list[tuple[str, list[bytes | None], list[int]]] = []

    def execute(self, query: str, params: Parameters = ()) -> None:
        """Add a statement."""
        _, places = _numbered(query)
        values = [params[str(place)] for place in places] if isinstance(params, Mapping) else list(params)
        encoded = [v if v is None or isinstance(v, bytes) else str(v).encode() for v in values]
        formats: list[int] = [Format.BINARY if isinstance(v, bytes) else Format.TEXT for v in values]
        self._statements.append((query, encoded, formats))

    def send(self) -> int:
        """Send the statements; return the number of rows that the last one changed.

        Raises psycopg's error for the first statement that fails; the server ignores those after it.
        """
        connection, pgconn = self._connection, self._connection.pgconn
        known = _names.setdefault(connection, {})
        new: dict[str, bytes] = {}
        pgconn.enter_pipeline_mode()
        try:
            for query, values, formats in self._statements:
                name = known.get(query) or new.get(query)
                if name is None:
                    name = new[query] = f"cryptometrics_{next(_numbers)}".encode()
                    pgconn.send_prepare(name, _numbered(query)[0])
                pgconn.send_query_prepared(name, values, formats)
            pgconn.pipeline_sync()
            results = connection.wait(self._answers())
            pgconn.exit_pipeline_mode()
        except BaseException:
            connection.close()  # its state is not known
            raise
        for result in results:
            if result.status == ExecStatus.FATAL_ERROR:
                raise error_from_result(result, "utf-8")
        known |= new
        return results[-1].command_tuples or 0

    def _answers(self) -> Generator[Wait, Ready | int, list[PGresult]]:
        """Send what is buffered, and return the results up to the end of the message."""
        pgconn = self._connection.pgconn
        while pgconn.flush():
            if (yield Wait.RW) & Ready.R:  # the server may have to get rid of answers first
                pgconn.consume_input()
        results: list[PGresult] = []
        while True:
            while pgconn.is_busy():
                yield Wait.R
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:  # the end of one statement's results
                continue
            if result.status == ExecStatus.PIPELINE_SYNC:
                return results
            results.append(result)


@functools.cache
def _numbered(query: str) -> tuple[bytes, tuple[int | str, ...]]:
    """Return a constant query with $1, $2 … for psycopg's placeholders, and the key of each parameter."""
    places: dict[int | str, int] = {}

    def number(found: re.Match[str]) -> str:
        if found[2] == "%":
            return "%"
        place = found[1] or len(places)
        return f"${places.setdefault(place, len(places) + 1)}"

    text = _placeholders.sub(number, query)
    return text.encode(), tuple(places)
