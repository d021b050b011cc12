"""Write stored rows to a file whose suffix says how: CSV, JSON lines or Parquet, plain or compressed.

A file appears at its path once it is complete, and memory stays flat however many rows it gets.
"""

from __future__ import annotations

import contextlib
import gzip
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from cryptometrics import files
from cryptometrics.errors import UserError
from cryptometrics.store.arrow_batches import ArrowRows, arrow
from cryptometrics.store.export import export

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    import psycopg
    import pyarrow as pa

    from cryptometrics.store.datasets import Selection
    from cryptometrics.store.export import Format

ROWS_PER_GROUP = 65_536
"""Rows of a row group of Parquet, which is held in memory: a reader skips whole groups by their times."""


class TextForm(NamedTuple):
    """CSV or JSON lines, and how they are compressed."""

    form: Format
    compression: str = ""
    """"gz", "zst" or nothing."""


class Written(NamedTuple):
    """How far an export has come."""

    rows: int
    until: datetime | None
    """The time up to which rows are written, where that is known."""


def text_form(path: Path) -> TextForm | None:
    """Return the form of text that the suffix of a file asks for; None for Parquet.

    Raises UserError for any other suffix.
    """
    name = path.name.lower()
    if name.endswith(".parquet"):
        return None
    for compression in ("", "gz", "zst"):
        ending = f".{compression}" if compression else ""
        if name.endswith(f".csv{ending}"):
            return TextForm("csv", compression)
        if name.endswith(f".jsonl{ending}"):
            return TextForm("jsonl", compression)
    raise UserError(f"{str(path)!r} must end in .csv or .jsonl, which .gz or .zst may follow, or in .parquet")


def write_file(
    sessions: Sequence[psycopg.Connection], selection: Selection, path: Path, form: TextForm | None
) -> Generator[Written]:
    """Write a selection to a file, as text or as Parquet, and yield how far it has come.

    sessions: read in turns.

    Raises UserError if the file cannot be written or the extra `data` is missing.
    """
    if form is None or form.compression == "zst":
        arrow()  # before anything is read
    with files.whole(path) as file:
        if form is None:
            yield from _parquet(sessions, selection, file)
            return
        with _compressed(file, form.compression) as output:
            yield from write_text(sessions, selection, output, form.form)


def write_text(
    sessions: Sequence[psycopg.Connection], selection: Selection, output: BinaryIO, form: Format
) -> Generator[Written]:
    """Write a selection as text, and yield how far it has come."""
    rows = 0
    # Close the generator first: until then, its COPY occupies the session.
    with contextlib.closing(export(sessions, selection, form)) as blocks:
        for block in blocks:
            output.write(block.data)
            rows += block.rows
            yield Written(rows, block.until)


@contextlib.contextmanager
def _compressed(file: BinaryIO, compression: str) -> Iterator[BinaryIO]:
    if compression == "gz":
        # Neither name nor time: the same rows make the same file.
        with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as output:
            yield output  # type: ignore[misc]
    elif compression == "zst":
        pa = arrow()
        with pa.CompressedOutputStream(pa.PythonFile(file, "w"), "zstd") as output:
            yield output
    else:
        yield file


def _parquet(
    sessions: Sequence[psycopg.Connection], selection: Selection, file: BinaryIO
) -> Generator[Written]:
    source = ArrowRows(sessions, selection)
    rows = 0
    with (
        arrow("pyarrow.parquet").ParquetWriter(
            file, source.schema, compression="zstd", use_dictionary=_texts(source.schema)
        ) as writer,
        contextlib.closing(source.batches()) as batches,
    ):
        for table in _row_groups(batches):
            writer.write_table(table, row_group_size=ROWS_PER_GROUP)
            rows += table.num_rows
            yield Written(rows, None)


def _texts(schema: pa.Schema) -> list[str]:
    """Return the columns of texts, which repeat; a dictionary of times or prices only costs time."""
    is_text = arrow().types.is_string
    return [column.name for column in schema if is_text(column.type)]


def _row_groups(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Join small batches to tables of about ROWS_PER_GROUP rows."""
    table = arrow().Table
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        if count >= ROWS_PER_GROUP:
            yield table.from_batches(waiting)
            waiting, count = [], 0
    if waiting:
        yield table.from_batches(waiting)
