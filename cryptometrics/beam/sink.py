"""Windows into PostgreSQL, written whole: what is written again changes nothing."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  (of a field, like the next)
from typing import TYPE_CHECKING

import apache_beam as beam
import msgspec
from apache_beam.metrics import Metrics

from cryptometrics.windows import Aggregate  # noqa: TC001

if TYPE_CHECKING:
    import psycopg

MOST = 2_000
"""Rows of one statement."""


class Row(msgspec.Struct, frozen=True):
    """One window of a pair, as far as it is known."""

    pair: str
    start: datetime
    end: datetime
    aggregate: Aggregate
    complete: bool
    """Whether the watermark has passed its end."""


class Write(beam.DoFn):  # type: ignore[misc]  # Beam has no types
    """Writes rows under a group and a name, a bundle at a time; connects where it runs."""

    def __init__(self, group: str, name: str) -> None:
        self._group = group
        self._name = name
        self._rows: dict[tuple[str, datetime], Row] = {}
        self._connection: psycopg.Connection | None = None
        self._written = Metrics.counter("aggregate", "rows")

    def start_bundle(self) -> None:
        """Begin with nothing in hand."""
        self._rows = {}

    def process(self, row: Row) -> None:
        """Take a row; of one window the last is what counts."""
        self._rows[row.pair, row.start] = row
        if len(self._rows) >= MOST:
            self._flush()

    def finish_bundle(self) -> None:
        """Write what is in hand."""
        self._flush()

    def teardown(self) -> None:
        """Leave PostgreSQL."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _flush(self) -> None:
        from cryptometrics import config  # noqa: PLC0415
        from cryptometrics.retry import retrying  # noqa: PLC0415
        from cryptometrics.store.connection import connect, is_transient  # noqa: PLC0415
        from cryptometrics.store.windows import overwrite  # noqa: PLC0415

        rows, self._rows = list(self._rows.values()), {}
        if not rows:
            return
        import psycopg  # noqa: PLC0415

        settings = config.load()

        def write() -> None:
            if self._connection is None or self._connection.closed:
                self._connection = connect(settings)
            try:
                with self._connection.transaction(), self._connection.cursor() as cursor:
                    for complete in (False, True):
                        some = [
                            (row.pair, row.start, row.end, row.aggregate)
                            for row in rows
                            if row.complete is complete
                        ]
                        if some:
                            overwrite(cursor, self._group, self._name, some, complete=complete)
            except psycopg.Error as error:
                if is_transient(error):
                    raise _AgainError(str(error)) from error
                raise

        retrying(_AgainError, timeout=settings.wait)(write)
        self._written.inc(len(rows))


class _AgainError(Exception):
    """The same may succeed later."""
