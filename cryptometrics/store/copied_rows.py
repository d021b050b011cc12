"""Read the output of COPY in blocks of whole rows.

libpq passes on one row at a time, and psycopg's loop around that costs more than a row. So rows that have
already been received are taken from libpq directly. psycopg waits for more, and a signal ends the wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import psycopg
from psycopg.pq import ExecStatus

if TYPE_CHECKING:
    from collections.abc import Generator

    from psycopg import sql
    from psycopg.abc import Buffer

TEXT_BYTES = 256 * 1024
"""Size of a block that is only passed on."""


class CopiedRows(NamedTuple):
    """Some rows, complete, in the format of the COPY."""

    data: bytes
    rows: int


def copied_rows(
    connection: psycopg.Connection, statement: sql.Composed, size: int = TEXT_BYTES
) -> Generator[CopiedRows]:
    """Yield the rows of a COPY to stdout, `size` bytes or a little more at a time.

    Nothing else may use the connection until the last block. An iterator that is closed earlier cancels the
    COPY.
    """
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        receive = connection.pgconn.get_copy_data
        rows: list[Buffer] = []
        length = 0
        while True:
            count, row = receive(1)
            if count == 0:
                row = memoryview(copy.read())
                count = len(row) or -1
            if count < 0:
                break
            rows.append(row)
            length += count
            if length >= size:
                yield CopiedRows(b"".join(rows), len(rows))
                rows, length = [], 0
        _raise_failure(connection)
    if rows:
        yield CopiedRows(b"".join(rows), len(rows))


def _raise_failure(connection: psycopg.Connection) -> None:
    """Take the results that follow the last row; raise the error that a COPY ended with."""
    failure: psycopg.Error | None = None
    while result := connection.pgconn.get_result():
        if result.status == ExecStatus.FATAL_ERROR:
            failure = psycopg.errors.error_from_result(result, encoding=connection.info.encoding)
    if failure is not None:
        raise failure
