"""Write whole windows to PostgreSQL; writing one again changes nothing."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import msgspec
from apache_beam.metrics import Metrics

from cryptometrics.market.venues import Market
from cryptometrics.market.windows import Aggregate  # noqa: TC001

if TYPE_CHECKING:
    import psycopg

MAX_ROWS = 2_000
"""Rows per statement."""


class Row(msgspec.Struct, frozen=True):
    """One window of a pair at a venue, as known so far."""

    venue: str
    pair: str
    start: datetime
    end: datetime
    aggregate: Aggregate
    complete: bool
    """Whether its end has passed: by the watermark, or in a bounded run before the run began."""


class _Sink(beam.DoFn):  # type: ignore[misc]  # Beam has no types
    """Writes elements under a group and a name, a bundle at a time; connects where it runs."""

    def __init__(self, group: str, name: str) -> None:
        self._group = group
        self._name = name
        self._held: dict[tuple[Market, datetime], Any] = {}
        self._connection: psycopg.Connection | None = None

    def start_bundle(self) -> None:
        """Begin an empty batch."""
        self._held = {}

    def finish_bundle(self) -> None:
        """Write the batch."""
        self._flush()

    def teardown(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _hold(self, key: tuple[Market, datetime], value: Any) -> None:
        """Add a value to the batch; the last one of a key counts."""
        self._held[key] = value
        if len(self._held) >= MAX_ROWS:
            self._flush()

    def _flush(self) -> None:
        from cryptometrics import config
        from cryptometrics.retry import retrying
        from cryptometrics.store.connection import connect
        from cryptometrics.store.database_errors import is_transient
        from cryptometrics.store.group_mark import begin_work

        held, self._held = self._held, {}
        if not held:
            return
        import psycopg

        settings = config.load()

        def write() -> None:
            if self._connection is None or self._connection.closed:
                self._connection = connect(settings)
            try:
                with self._connection.transaction(), self._connection.cursor() as cursor:
                    begin_work(self._connection, self._group)
                    self._write(cursor, held)
            except psycopg.Error as error:
                if is_transient(error):
                    raise _TransientError(str(error)) from error
                raise

        retrying(_TransientError, timeout=settings.wait)(write)

    def _write(self, cursor: psycopg.Cursor, held: dict[tuple[Market, datetime], Any]) -> None:
        raise NotImplementedError


class Write(_Sink):
    """Writes rows; with `keep_larger`, never over a row with more ticks."""

    def __init__(self, group: str, name: str, *, keep_larger: bool) -> None:
        super().__init__(group, name)
        self._keep_larger = keep_larger
        self._written = Metrics.counter("aggregate", "rows")

    def process(self, row: Row) -> None:
        """Add a row."""
        self._hold((Market(row.venue, row.pair), row.start), row)

    def _write(self, cursor: psycopg.Cursor, held: dict[tuple[Market, datetime], Any]) -> None:
        from cryptometrics.store.windows import overwrite

        for complete in (False, True):
            rows = [
                (market, row.start, row.end, row.aggregate)
                for (market, _), row in held.items()
                if row.complete is complete
            ]
            if rows:
                overwrite(
                    cursor, self._group, self._name, rows, complete=complete, keep_larger=self._keep_larger
                )
        self._written.inc(len(held))


class WriteTooLate(_Sink):
    """Writes the ticks too late for their windows: ("MARKET START", ticks so far)."""

    def process(self, element: tuple[str, int]) -> None:
        """Add a count."""
        market, _, start = element[0].rpartition(" ")
        self._hold((Market.parse(market), datetime.fromisoformat(start)), element[1])

    def _write(self, cursor: psycopg.Cursor, held: dict[tuple[Market, datetime], Any]) -> None:
        from cryptometrics.store.windows import write_too_late

        write_too_late(cursor, self._group, self._name, held)


class _TransientError(Exception):
    """Writing failed but may succeed later."""
