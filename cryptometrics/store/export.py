"""Export stored rows as CSV or JSON lines, in flat memory: the text is passed on as PostgreSQL sends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from psycopg import sql

from cryptometrics.store.datasets import Column, Selection, columns_of, slices

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from datetime import datetime

    import psycopg

Format = Literal["csv", "jsonl"]

_COPY = sql.SQL("COPY ({query}) TO STDOUT WITH ({options})")
# With a quote and a delimiter that JSON cannot contain, CSV leaves the line as it is; the text format
# would double backslashes.
_OPTIONS = {
    "csv": sql.SQL("FORMAT csv"),
    "jsonl": sql.SQL(r"FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02'"),
}
_TEXTS = ("text", "varchar", "bpchar")
_TIMES = ("timestamptz",)


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of the text to write."""

    data: bytes
    rows: int
    """Rows of the slice that this block completes; 0 within a slice."""
    until: datetime | None
    """The time up to which rows of a slice are complete; None where there is but one slice."""


def export(connection: psycopg.Connection, selection: Selection, form: Format) -> Generator[Block]:
    """Yield the rows of a selection in order.

    In CSV, text that a spreadsheet would take for a formula is prefixed with an apostrophe. Raises UserError
    if a pair has no ticks.
    """
    columns = columns_of(connection, selection)
    if form == "csv":
        yield Block((",".join(column.name for column in columns) + "\n").encode(), 0, None)
    for part in slices(connection, selection, columns, _csv if form == "csv" else _json):
        with connection.cursor() as cursor:
            with cursor.copy(_COPY.format(query=part.query, options=_OPTIONS[form])) as copy:
                for data in copy:
                    yield Block(bytes(data), 0, part.until)
            yield Block(b"", cursor.rowcount, part.until)


def _csv(columns: Sequence[Column]) -> sql.Composed:
    return sql.SQL(", ").join(_cell(column) for column in columns)


def _cell(column: Column) -> sql.Composed:
    name = sql.Identifier("source", column.name)
    if column.type in _TIMES:
        return _time(name)
    if column.type in _TEXTS:
        # The first characters of a formula in Excel, LibreOffice and Sheets (OWASP, CSV injection).
        return sql.SQL(r"CASE WHEN {0} ~ '^[=+\-@\t\r]' THEN '''' || {0} ELSE {0} END").format(name)
    if column.type.endswith("[]"):
        return sql.SQL("array_to_json({})").format(name)
    return sql.SQL("{}").format(name)


def _json(columns: Sequence[Column]) -> sql.Composed:
    pairs = (sql.SQL("{}, {}").format(sql.Literal(column.name), _json_value(column)) for column in columns)
    return sql.SQL("json_build_object({})").format(sql.SQL(", ").join(pairs))


def _json_value(column: Column) -> sql.Composed:
    name = sql.Identifier("source", column.name)
    if column.type in _TIMES:
        return _time(name)
    if column.type == "numeric":
        return sql.SQL("{}::text").format(name)  # exact, however its reader parses numbers
    return sql.SQL("{}").format(name)


def _time(name: sql.Identifier) -> sql.Composed:
    """Return an expression that formats a time as ISO 8601 in UTC."""
    return sql.SQL("""to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""").format(name)
