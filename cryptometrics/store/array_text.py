"""Columns of values as PostgreSQL writes arrays in text: what a statement unnests, made in one go.

psycopg can do it, too, for values of any type and nesting; that took a third of a small batch's transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date
    from decimal import Decimal

    Value = str | int | Decimal | date | None


def array(values: Iterable[Value]) -> str:
    """Return the text of an array of these values; the statement says of which type it is."""
    return "{" + ",".join(map(_element, values)) + "}"


def arrays(rows: Iterable[tuple[Value, ...]]) -> list[str]:
    """Return rows as columns, for unnest: one round trip whatever their number."""
    return [array(column) for column in zip(*rows, strict=True)]


def _element(value: Value) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)  # of numbers, dates and times nothing has to be quoted
