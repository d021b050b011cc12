"""Helpers to query the test database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from cryptometrics.config import Settings

END_OTHER_SESSIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def rows(settings: Settings, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Return all rows of a query; a statement without rows returns none."""
    with psycopg.connect(settings.postgres()) as connection:
        found = connection.execute(query.encode(), values)
        return [] if found.description is None else found.fetchall()


def scalar(settings: Settings, query: str, *values: object) -> Any:
    """Return the first value of the first row."""
    return rows(settings, query, *values)[0][0]
