"""Read the rows of a file of price bars: CSV, also compressed with gzip, or Parquet."""

from __future__ import annotations

import csv
import gzip
import importlib
import zlib
from datetime import datetime
from decimal import Decimal
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from cryptometrics.errors import UserError
from cryptometrics.market.price_bars import COLUMNS, REQUIRED
from cryptometrics.text import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

PARQUET_BATCH = 50_000
"""Rows of a Parquet file that are read at once."""

Row = tuple[int, list[str]]
"""A line number and the fields of COLUMNS, as text."""


class BarFile(NamedTuple):
    """The rows of a file, to be read once."""

    rows: Iterator[Row]
    ignored: list[str]
    """Columns that nothing reads."""


def open_bars(path: Path) -> BarFile:
    """Return the rows of a .csv, .csv.gz or .parquet file.

    Lines count from 1, which is the header of a CSV file and the first row of a Parquet file. Raises
    UserError if the file cannot be read or lacks a column, and so may each row.
    """
    name = path.name.lower()
    try:
        if name.endswith(".parquet"):
            return _parquet(path)
        if name.endswith((".csv", ".csv.gz")):
            return _csv(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    raise UserError(f"cannot read {path}: its name must end in .csv, .csv.gz or .parquet")


def _csv(path: Path) -> BarFile:
    records = _records(path)
    _, header = next(records, (1, []))
    names = [name.strip() for name in header]
    places, ignored = _places(path, names)

    def rows() -> Iterator[Row]:
        for line, record in records:
            if not record:
                continue  # an empty line
            if len(record) != len(names):
                raise UserError(f"{path}, line {line}: {len(record)} fields, but {len(names)} columns")
            yield line, [record[place].strip() if place is not None else "" for place in places]

    return BarFile(rows(), ignored)


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    opened: Callable[..., IO[str]] = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        # Editors on Windows begin with a byte order mark.
        with opened(path, "rt", encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            for record in reader:
                yield reader.line_num, record
    except UnicodeDecodeError:
        raise UserError(f"cannot read {path}: it is not UTF-8 text") from None
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not CSV ({error})") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"cannot read {path}: {error}") from None


def _parquet(path: Path) -> BarFile:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
        invalid = importlib.import_module("pyarrow").ArrowException
    except ImportError:
        raise UserError(
            f"cannot read {path}: Parquet needs pyarrow; install cryptometrics[data], or write CSV"
        ) from None
    try:
        file = parquet.ParquetFile(path)
    except invalid as error:
        raise UserError(f"cannot read {path}: {error}") from None
    names = list(file.schema_arrow.names)
    places, ignored = _places(path, names)
    wanted = [names[place] for place in places if place is not None]

    def rows() -> Iterator[Row]:
        line = 0
        try:
            for batch in file.iter_batches(PARQUET_BATCH, columns=wanted):
                columns = {name: batch.column(name).to_pylist() for name in wanted}
                for values in zip(*(columns[name] for name in wanted), strict=True):
                    line += 1
                    fields = [_text(value) for value in values]
                    yield line, fields + [""] * (len(COLUMNS) - len(fields))
        except invalid as error:
            raise UserError(f"cannot read {path}: {error}") from None

    return BarFile(rows(), ignored)


def _text(value: Any) -> str:
    """Return a value as a CSV file has it; a float as the shortest decimal that it stands for."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return f"{Decimal(repr(value)):f}"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _places(path: Path, names: Sequence[str]) -> tuple[list[int | None], list[str]]:
    """Return where each of COLUMNS is, None for one that is not there, and the names of other columns."""
    if missing := [name for name in REQUIRED if name not in names]:
        raise UserError(f"{path} has no column {listed(missing)}: it needs {', '.join(REQUIRED)}")
    if twice := [name for name in COLUMNS if names.count(name) > 1]:
        raise UserError(f"{path} has the column {listed(twice)} twice")
    places = [names.index(name) if name in names else None for name in COLUMNS]
    return places, [name for name in names if name not in COLUMNS]
