"""Format columns of values as the text of PostgreSQL arrays, for statements that unnest them.

psycopg adapts values of any type and nesting, which took a third of a small batch's transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date
    from decimal import Decimal

    Value = str | int | float | Decimal | date | None


def array(values: Iterable[Value]) -> str:
    """Return the text of an array; the statement must cast it to its type."""
    return "{" + ",".join(map(_element, values)) + "}"


def arrays(rows: Iterable[tuple[Value, ...]]) -> list[str]:
    """Return rows as one array per column, so that any number of them takes one round trip."""
    return [array(column) for column in zip(*rows, strict=True)]


def _element(value: Value) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)  # numbers, dates and times need no quotes
