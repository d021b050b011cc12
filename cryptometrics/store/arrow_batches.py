"""Read stored rows as Arrow record batches, in flat memory (extra `data`).

PostgreSQL sends CSV, which Arrow parses many times faster than Python could build values. Every NUMERIC
becomes decimal128(38, 18), every time a timestamp in UTC, JSON and lists the text of their JSON.
"""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING, Any

from psycopg import sql

from cryptometrics.errors import UserError
from cryptometrics.market.ticks import FRACTION_DIGITS, INTEGER_DIGITS
from cryptometrics.store.copied_parts import copied_parts
from cryptometrics.store.datasets import columns_of, slices

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    import psycopg
    import pyarrow as pa

    from cryptometrics.store.datasets import Column, Selection

BATCH_BYTES = 4 * 1024 * 1024
"""CSV that is parsed at once: some 20,000 quotes."""

_COPY = sql.SQL("COPY ({query}) TO STDOUT WITH (FORMAT csv)")


def arrow(module: str = "pyarrow") -> Any:
    """Import pyarrow or a module of it; raise UserError if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError("Arrow tables, Parquet and .zst need pyarrow: install cryptometrics[data]") from None


class ArrowRows:
    """The rows of a selection: their schema, and an iterator of record batches that can be read once."""

    def __init__(self, sessions: Sequence[psycopg.Connection], selection: Selection) -> None:
        """Look up the columns; the sessions, which read in turns, are busy while batches are read."""
        self._sessions = sessions
        self._selection = selection
        self._columns = columns_of(sessions[0], selection)
        self.schema: pa.Schema = _schema(self._columns)

    def batches(self) -> Generator[pa.RecordBatch]:
        """Yield the rows in order. Raises UserError if a pair has no ticks, or a number has no room."""
        parts = slices(self._sessions[0], self._selection, self._columns, _expressions)
        statements = (_COPY.format(query=part.query) for part in parts)
        with contextlib.closing(copied_parts(self._sessions, statements, BATCH_BYTES)) as blocks:
            for _, block in blocks:
                yield from self._parse(block.data)

    def _parse(self, text: bytes) -> Iterator[pa.RecordBatch]:
        pa, csv = arrow(), arrow("pyarrow.csv")
        try:
            table = csv.read_csv(
                pa.BufferReader(text),
                csv.ReadOptions(column_names=self.schema.names, use_threads=False),
                csv.ParseOptions(newlines_in_values=True),
                csv.ConvertOptions(
                    column_types=self.schema,
                    # COPY quotes an empty text, and leaves NULL bare.
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                    true_values=["t"],
                    false_values=["f"],
                ),
            )
        except pa.ArrowInvalid as error:
            raise UserError(
                f"a number has more than {INTEGER_DIGITS} digits before the point, so Arrow cannot hold it: "
                f"export CSV or JSON lines instead ({error})"
            ) from None
        yield from table.combine_chunks().to_batches()


def _schema(columns: Sequence[Column]) -> pa.Schema:
    pa = arrow()
    types = {
        "numeric": pa.decimal128(INTEGER_DIGITS + FRACTION_DIGITS, FRACTION_DIGITS),
        "timestamptz": pa.timestamp("us", tz="UTC"),
        "int8": pa.int64(),
        "int4": pa.int32(),
        "int2": pa.int16(),
        "float8": pa.float64(),
        "float4": pa.float32(),
        "bool": pa.bool_(),
        "date": pa.date32(),
    }
    return pa.schema([(column.name, types.get(column.type, pa.string())) for column in columns])


def _expressions(columns: Sequence[Column]) -> sql.Composed:
    return sql.SQL(", ").join(_expression(column) for column in columns)


def _expression(column: Column) -> sql.Composed:
    name = sql.Identifier("source", column.name)
    if column.type == "numeric":
        # Only what follows from prices and sizes can have more places: half of 18 places, or a product.
        return sql.SQL("CASE WHEN scale({0}) > {1} THEN round({0}, {1}) ELSE {0} END").format(
            name, sql.Literal(FRACTION_DIGITS)
        )
    if column.type.endswith("[]"):
        return sql.SQL("array_to_json({})").format(name)
    return sql.SQL("{}").format(name)
