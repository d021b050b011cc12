"""Find messages counted as duplicates that do not repeat an earlier row."""

from __future__ import annotations

import pickle
import tempfile
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.times import from_microseconds
from cryptometrics.verify.findings import FindingKind
from cryptometrics.verify.offset_books import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

    from cryptometrics.verify.findings import Findings
    from cryptometrics.verify.offset_books import GroupBooks, OffsetBook

MAX_DUPLICATES = 50_000
"""Duplicates looked up together, in one pass over the rows."""
MAX_IN_MEMORY = 16 * 1024 * 1024
"""Bytes of duplicates that are kept in memory; beyond it they go to the disk."""

# The repeated row must come earlier: in an earlier topic of that name, or before it in the partition. If its
# day was pruned, it may be missing.
_NOT_REPEATING = f"""
SELECT d.kafka_offset
FROM (SELECT venue, pair, trade_id, timestamptz 'epoch' + time * interval '1 microsecond' AS timestamp,
             kafka_offset
      FROM unnest(%(d_venues)s::text[], %(d_pairs)s::text[], %(d_trade_ids)s::bigint[], %(d_times)s::bigint[],
                  %(d_offsets)s::bigint[]) AS d (venue, pair, trade_id, time, kafka_offset)) AS d
LEFT JOIN (SELECT * FROM ({ROWS}) AS metrics
           WHERE timestamp BETWEEN %(earliest)s AND %(latest)s) AS m
  ON (m.venue, m.pair, m.trade_id, m.timestamp) = (d.venue, d.pair, d.trade_id, d.timestamp)
 AND (m.era < %(era)s
      OR m.era = %(era)s AND (m.kafka_partition <> %(partition)s OR m.kafka_offset < d.kafka_offset))
WHERE m.pair IS NULL AND NOT %(pruned)s::datemultirange @> (d.timestamp AT TIME ZONE 'UTC')::date
ORDER BY d.kafka_offset
"""  # noqa: S608  (constants)


class Duplicate(NamedTuple):
    """The quote of a message that was counted as a duplicate."""

    venue: str
    pair: str
    trade_id: int
    time: int
    """In microseconds from the epoch."""
    offset: int


class DuplicateCheck:
    """Collects duplicates, and looks them up when the connection is free; must be closed."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(  # noqa: SIM115  (closed by `close`)
            MAX_IN_MEMORY, prefix="cryptometrics-verify-"
        )
        self._books: list[OffsetBook] = []
        """The book of each part in the file."""
        self._book: OffsetBook | None = None
        self._newest: list[Duplicate] = []

    def close(self) -> None:
        """Delete what was collected."""
        self._file.close()

    def add(self, book: OffsetBook, duplicates: Iterable[Duplicate]) -> None:
        """Add duplicates from the partition of a book."""
        if book is not self._book or len(self._newest) >= MAX_DUPLICATES:
            self._set_aside()
            self._book = book
        self._newest += duplicates

    def check(self, connection: psycopg.Connection, books: GroupBooks, findings: Findings) -> None:
        """Report the duplicates that repeat no earlier row."""
        self._set_aside()
        self._file.seek(0)
        for book in self._books:
            duplicates: list[Duplicate] = pickle.load(self._file)  # noqa: S301  (written by `_set_aside`)
            venues, pairs, trade_ids, times, offsets = map(list, zip(*duplicates, strict=True))
            values = books.parameters | {
                "d_venues": venues,
                "d_pairs": pairs,
                "d_trade_ids": trade_ids,
                "d_times": times,
                "d_offsets": offsets,
                "earliest": from_microseconds(min(times)),
                "latest": from_microseconds(max(times)),
                "era": book.era,
                "partition": book.partition,
            }
            for (offset,) in connection.execute(_NOT_REPEATING, values):
                findings.add_offsets(FindingKind.NO_DUPLICATE, book.topic_partition, offset)

    def _set_aside(self) -> None:
        if self._book is not None and self._newest:
            self._books.append(self._book)
            pickle.dump(self._newest, self._file, pickle.HIGHEST_PROTOCOL)
            self._newest = []
