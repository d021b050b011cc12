"""Compare every row of every table with the rows that follow from the ledger.

There can be millions, so the rows are streamed, and only one byte per offset is kept in memory.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from tests.faults.ledger import Extremes, Row, as_sent

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from tests.faults.ledger import Expected, Ledger
    from tests.faults.outcome import Outcome

AT_ONCE = 20_000
"""Rows fetched at once."""

_ROWS = """
SELECT kafka_partition, kafka_offset, pair, bid, ask, mid_price, spread, highest_bid, lowest_ask, max_spread,
       timestamp, session, kind, trade_id
FROM crypto_metrics WHERE consumer_group = %s
"""
_REJECTED = """
SELECT kafka_partition, kafka_offset, sha256(key), sha256(value) FROM rejected_ticks
WHERE consumer_group = %s AND topic = %s
"""
_SKIPPED = """
SELECT kafka_partition, generate_series(first_offset, last_offset), reason FROM skipped_offsets
WHERE consumer_group = %s AND topic = %s
"""
_SESSIONS = """
SELECT pair, session, highest_bid, highest_bid_at, lowest_ask, lowest_ask_at, max_spread, max_spread_at,
       last_bid, last_ask, last_at, first_at, ticks, late
FROM session_extremes WHERE consumer_group = %s
"""
_BOOKS = """
SELECT sum(metrics), sum(rejected), sum(duplicates), sum(gaps + holes), sum(next_offset - first_offset)
FROM consumer_offsets WHERE consumer_group = %s AND topic = %s
"""


class Places:
    """How often each offset of each partition occurs."""

    def __init__(self) -> None:
        self.counts: defaultdict[int, bytearray] = defaultdict(bytearray)

    def add(self, partition: int, offset: int) -> None:
        counts = self.counts[partition]
        if offset >= len(counts):
            counts.extend(bytes(offset + 1 - len(counts)))
        counts[offset] = min(counts[offset] + 1, 255)

    def beside(self, other: Places) -> Iterator[tuple[tuple[int, int], int, int]]:
        """Yield each place with its count here and there."""
        for partition in sorted(self.counts.keys() | other.counts.keys()):
            both = zip_longest(self.counts[partition], other.counts[partition], fillvalue=0)
            for offset, (here, there) in enumerate(both):
                yield (partition, offset), here, there


@dataclass
class Comparison:
    """Fills in what was lost, duplicated and wrong, and says in words all that is not as it should be."""

    connection: psycopg.Connection
    group: str
    topic: str
    ledger: Ledger
    expected: Expected
    """Its rows are used up."""
    outcome: Outcome
    trouble: list[str] = field(default_factory=list)
    _outcomes: Places = field(default_factory=Places)

    def run(self) -> list[str]:
        """Compare everything; return the trouble."""
        expected, given_up = self.expected, len(self.ledger.given_up)
        known = Places()
        for place in itertools.chain(expected.rows, expected.rejected, expected.duplicates):
            known.add(*place)
        counts = len(expected.rows), len(expected.rejected), len(expected.duplicates)
        self._rows()
        self._rejected()
        self._skipped()
        self._see_outcomes(known)
        self._sessions()
        self._see_books((*counts, given_up, sum(counts) + given_up))
        return self.trouble

    def _rows(self) -> None:
        with self.connection.transaction(), self.connection.cursor(name="rows") as cursor:
            cursor.itersize = AT_ONCE
            for values in cursor.execute(_ROWS, [self.group]):
                row = Row(*values)
                self._outcomes.add(row.partition, row.offset)
                plain = self.expected.rows.pop((row.partition, row.offset), None)
                if plain != row:
                    self.outcome.wrong += 1
                    self.trouble.append(f"stored {row}\nexpected {plain}")

    def _rejected(self) -> None:
        for partition, offset, key, value in self._ask(_REJECTED):
            self._outcomes.add(partition, offset)
            record = self.expected.rejected.get((partition, offset))
            sent = None if record is None else as_sent(record)
            if sent is None or (_digest(sent.key), _digest(sent.value)) != (key, value):
                self.trouble.append(f"rejected, but not as sent: {(partition, offset)}")

    def _skipped(self) -> None:
        found: dict[str, set[tuple[int, int]]] = {"duplicate": set(), "hole": set(), "lost": set()}
        for partition, offset, reason in self._ask(_SKIPPED):
            found[reason].add((partition, offset))
            if reason != "lost":
                self._outcomes.add(partition, offset)
        given_up = self.ledger.given_up
        if found["lost"] != given_up:
            self.trouble.append(f"given up: {sorted(found['lost'])}, it should be {sorted(given_up)}")
        self.outcome.lost += len(found["hole"])
        self.trouble += [f"a hole where there was none: {place}" for place in sorted(found["hole"])]
        missed = sorted(self.expected.duplicates - found["duplicate"])
        self.trouble += [f"not counted as a duplicate: {place}" for place in missed]

    def _see_outcomes(self, known: Places) -> None:
        for place, should, did in known.beside(self._outcomes):
            if should and not did:
                self.outcome.lost += 1
                self.trouble.append(f"lost: {place}")
            elif did > should:
                self.outcome.duplicated += did - should
                self.trouble.append(f"{did} outcomes: {place}" if should else f"nobody sent this: {place}")

    def _sessions(self) -> None:
        expected = self.expected.sessions
        found = {
            (pair, session): Extremes(*extremes)
            for pair, session, *extremes in self.connection.execute(_SESSIONS, [self.group])
        }
        self.trouble += [
            f"session {key}: {found.get(key)}\nexpected {expected.get(key)}"
            for key in sorted(found.keys() | expected.keys())
            if found.get(key) != expected.get(key)
        ]

    def _see_books(self, should_say: tuple[int, ...]) -> None:
        books = self._ask(_BOOKS)[0]
        if books != should_say:
            self.trouble.append(f"the books say {books}, they should say {should_say}")

    def _ask(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(query.encode(), [self.group, self.topic]).fetchall()


def _digest(value: bytes | None) -> bytes | None:
    return None if value is None else hashlib.sha256(value).digest()
