"""Read the rows of a query by binary COPY, in blocks whose fields numpy takes apart.

PostgreSQL's binary format: a row is the number of its fields (2 bytes), and each field its length (4 bytes,
-1 for NULL) and its bytes; numbers are big-endian. The first fields of a query are read at fixed places, so
they must have a fixed length and may not be NULL; the others are read one after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import psycopg
from psycopg.pq import ExecStatus

from cryptometrics.verify.byte_words import ByteWords

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cryptometrics.verify.byte_words import Integers

BLOCK_ROWS = 16_384
"""Rows of a block: enough for numpy to pay, and few enough to stay in the processor's cache."""

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER_LENGTH = 2
"""Of the last message, which is not a row."""
_PADDING = bytes(32)
"""Words are read beyond the last field."""
_FIELD_COUNT = 2
_LENGTH = 4


class CopyBlock:
    """Some rows of a COPY, and where in their bytes the next field of each begins."""

    def __init__(self, rows: list[memoryview]) -> None:
        self.words = ByteWords(b"".join([*rows, _PADDING]))
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        self._at: Integers = np.cumsum(lengths) - lengths + _FIELD_COUNT

    def __len__(self) -> int:
        return len(self._at)

    def integers(self, *sizes: int) -> list[Integers]:
        """Return the next fields: integers of these sizes in bytes, never NULL."""
        columns, at = [], self._at
        for size in sizes:
            at = at + _LENGTH
            columns.append(self.words.at(at).view(np.int64) >> (64 - 8 * size))
            at += size
        self._at = at
        return columns

    def reorder(self, order: Integers) -> None:
        """Put the rows in another order; fields that were read already keep theirs."""
        self._at = self._at[order]

    def next_field(self) -> tuple[Integers, Integers]:
        """Return where the next field of each row begins, and its length: -1 for NULL."""
        lengths = self.words.at(self._at).view(np.int64) >> 32
        begins = self._at + _LENGTH
        self._at = begins + np.maximum(lengths, 0)
        return begins, lengths

    def span(self, fields: int) -> tuple[Integers, Integers]:
        """Return where the next fields of each row begin, and their length in all with that of each field."""
        begins = self._at
        for _ in range(fields):
            self.next_field()
        return begins, self._at - begins


def copy_blocks(
    connection: psycopg.Connection, query: str, parameters: Mapping[str, object], *, rows: int = BLOCK_ROWS
) -> Iterator[CopyBlock]:
    """Yield the rows of a query; nothing else may use the connection until the last one."""
    statement = f"COPY ({query}) TO STDOUT (FORMAT binary)"
    with connection.cursor() as cursor, cursor.copy(statement.encode(), parameters) as copy:
        # libpq passes on one row at a time. Those that it has received are taken without psycopg's loop,
        # which costs more than a row; only it may see the end.
        receive = connection.pgconn.get_copy_data
        first = bytes(copy.read()).removeprefix(_HEADER)
        length, received = len(first), [memoryview(first)] if first else []
        while length != _TRAILER_LENGTH:
            if len(received) >= rows:
                block, received = CopyBlock(received), []
                yield block
                del block
            length, row = receive(1)
            if length == 0:
                row = memoryview(copy.read())
                length = len(row)
            elif length < 0:
                raise _failure(connection)
            received.append(row)
        received.pop()
        while copy.read():
            pass
    if received:
        block, received = CopyBlock(received), []
        yield block


def _failure(connection: psycopg.Connection) -> psycopg.Error:
    """Return the error that ended a COPY before its last row."""
    failure: psycopg.Error = psycopg.OperationalError("COPY ended before its last row")
    while result := connection.pgconn.get_result():
        if result.status == ExecStatus.FATAL_ERROR:
            failure = psycopg.errors.error_from_result(result, encoding=connection.info.encoding)
    return failure
