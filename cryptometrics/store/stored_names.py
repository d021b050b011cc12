"""Names in the stored data, for the completion of a command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import psycopg

# Sessions are few; the ticks below them are many.
_QUERIES = {
    "group": "SELECT DISTINCT consumer_group FROM session_extremes ORDER BY 1",
    "pair": "SELECT DISTINCT pair FROM session_extremes ORDER BY 1",
    "venue": "SELECT DISTINCT venue FROM session_extremes ORDER BY 1",
}

Named = Literal["group", "pair", "venue"]


def stored_names(connection: psycopg.Connection, what: Named, *, limit_ms: int) -> list[str]:
    """Return the names of all groups, pairs or venues with stored ticks, in order.

    limit_ms: milliseconds after which PostgreSQL stops the query, which is an error.
    """
    with connection.transaction():
        connection.execute("SELECT set_config('statement_timeout', %s, true)", [str(limit_ms)])
        return [name for (name,) in connection.execute(_QUERIES[what])]
