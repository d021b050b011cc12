"""Export stored rows as CSV or JSON lines, in flat memory: the text is passed on as PostgreSQL sends it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from psycopg import sql

from cryptometrics.store.copied_parts import copied_parts
from cryptometrics.store.datasets import Column, Selection, columns_of, slices

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
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
# The first characters of a formula in Excel, LibreOffice and Sheets (OWASP, CSV injection). Comparing their
# codes takes a tenth of the time of a regular expression.
_FORMULA = sql.SQL(", ").join(sql.Literal(ord(character)) for character in "=+-@\t\r")
_TEXTS = ("text", "varchar", "bpchar")
_TIMES = ("timestamptz",)


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of the text to write."""

    data: bytes
    rows: int
    until: datetime | None
    """The end of the slice of time that the rows are from; None where there is but one."""


def export(sessions: Sequence[psycopg.Connection], selection: Selection, form: Format) -> Generator[Block]:
    """Yield the rows of a selection in order, read by one session or by several in turns.

    In CSV, text that a spreadsheet would take for a formula is prefixed with an apostrophe. Raises UserError
    if a pair has no ticks.
    """
    columns = columns_of(sessions[0], selection)
    if form == "csv":
        yield Block((",".join(column.name for column in columns) + "\n").encode(), 0, None)
    ends: list[datetime | None] = []

    def parts() -> Iterator[sql.Composed]:
        for part in slices(sessions[0], selection, columns, _csv if form == "csv" else _json):
            ends.append(part.until)
            yield _COPY.format(query=part.query, options=_OPTIONS[form])

    with contextlib.closing(copied_parts(sessions, parts())) as blocks:
        for number, (data, rows) in blocks:
            yield Block(data, rows, ends[number])


def _csv(columns: Sequence[Column]) -> sql.Composed:
    return sql.SQL(", ").join(_cell(column) for column in columns)


def _cell(column: Column) -> sql.Composed:
    name = sql.Identifier("source", column.name)
    if column.type in _TIMES:
        return _time(name)
    if column.type in _TEXTS:
        return sql.SQL("CASE WHEN ascii({0}) IN ({1}) THEN '''' || {0} ELSE {0} END").format(name, _FORMULA)
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
