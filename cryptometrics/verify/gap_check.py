"""Check the gaps of a feed: what a start has missed, from the rows before it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from psycopg.rows import class_row

from cryptometrics.times import to_microseconds
from cryptometrics.verify.findings import FindingKind, TopicPartition
from cryptometrics.verify.pair_rows import MarketKey
from cryptometrics.verify.pruned import INCOMPLETE
from cryptometrics.verify.stored_outcomes import NO_TRADE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import psycopg

    from cryptometrics.verify.findings import Findings
    from cryptometrics.verify.offset_books import GroupBooks
    from cryptometrics.verify.pair_rows import MarketState, PairRows

# If rows of the pair were pruned, those before a start are unknown.
_STARTS = f"""
SELECT b.era, g.topic, g.kafka_partition AS partition, g.kafka_offset AS offset, g.venue, g.pair,
       g.begins_at, g.first_trade_id, g.last_trade_id, g.trades_missed
FROM feed_gaps g
JOIN unnest(%(topics)s::text[], %(partitions)s::int[], %(eras)s::int[], %(starts)s::bigint[])
    AS b (topic, kafka_partition, era, start) USING (topic, kafka_partition)
WHERE g.consumer_group = %(group)s AND g.kind = 'start' AND g.kafka_offset >= b.start
  AND (g.venue, g.pair) NOT IN (SELECT venue, pair FROM ({INCOMPLETE}) AS i)
ORDER BY b.era, g.kafka_partition, g.kafka_offset
"""  # noqa: S608  (constants)

_RANGES = """
SELECT topic, kafka_partition, kafka_offset FROM feed_gaps
WHERE consumer_group = %(group)s AND kind <> 'start'
  AND trades_missed IS DISTINCT FROM
      coalesce(last_trade_id - first_trade_id + 1, CASE WHEN kind <> 'missed' THEN 0 END)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """The record of a feed's start, and what it says of the time before it."""

    era: int
    topic: str
    partition: int
    offset: int
    venue: str
    pair: str
    begins_at: datetime | None
    first_trade_id: int | None
    last_trade_id: int | None
    trades_missed: int | None

    @property
    def place(self) -> tuple[int, int]:
        """The partition's place in the order of the topics."""
        return self.era, self.partition

    def follows(self, highest: int | None, newest: int | None) -> bool:
        """Whether it follows from the highest trade id and the newest time of the rows before it."""
        begins = None if self.begins_at is None else to_microseconds(self.begins_at)
        missed: int | None = 0
        if newest is not None:
            missed = None
            if self.last_trade_id is not None:
                known = self.last_trade_id if highest is None else min(highest, self.last_trade_id)
                missed = self.last_trade_id - known
        first = None if highest is None else highest + 1
        return (begins, self.first_trade_id, self.trades_missed) == (newest, first, missed)


class StartCheck:
    """Recomputes what each start of a feed has missed, while the rows come in the order of the topic."""

    def __init__(
        self,
        connection: psycopg.Connection,
        books: GroupBooks,
        findings: Findings,
        markets: Mapping[MarketKey, MarketState],
    ) -> None:
        """Load the starts; markets: what the rows amount to that were proved before."""
        self._findings = findings
        self._starts: dict[MarketKey, list[_Start]] = defaultdict(list)
        """Those of each market that are not checked yet, the last one first."""
        with connection.cursor(row_factory=class_row(_Start)) as cursor:
            for start in reversed(cursor.execute(_STARTS, books.parameters).fetchall()):
                self._starts[MarketKey(start.venue, start.pair)].append(start)
        self._before = {
            market: (None if state.highest_trade_id == NO_TRADE else state.highest_trade_id, state.newest)
            for market, state in markets.items()
        }
        """The highest trade id and the newest time of the rows so far."""

    def add(self, rows: PairRows) -> None:
        """Check the starts before the last one of some rows, which follow those added before."""
        starts = self._starts.get(rows.market)
        if starts is None:
            return
        highest, newest = self._before.get(rows.market, (None, None))
        place = rows.era, rows.partition.partition
        times = np.maximum.accumulate(rows.times)
        while starts and (starts[-1].place, starts[-1].offset) < (place, int(rows.offsets[-1])):
            start = starts.pop()
            count = int(np.searchsorted(rows.offsets, start.offset)) if start.place == place else 0
            before = highest, newest
            if count:
                id_before = int(max(rows.highest_before[count - 1], rows.trade_ids[count - 1]))
                time_before = int(times[count - 1])
                before = (
                    None if id_before == NO_TRADE else id_before,
                    time_before if newest is None else max(newest, time_before),
                )
            self._check(start, *before)
        last = int(max(rows.highest_before[-1], rows.trade_ids[-1]))
        newest = int(times[-1]) if newest is None else max(newest, int(times[-1]))
        self._before[rows.market] = (None if last == NO_TRADE else last), newest

    def finish(self) -> None:
        """Check the starts after the last row of their market."""
        for market, starts in self._starts.items():
            for start in reversed(starts):
                self._check(start, *self._before.get(market, (None, None)))

    def _check(self, start: _Start, highest: int | None, newest: int | None) -> None:
        if not start.follows(highest, newest):
            where = TopicPartition(start.topic, start.partition)
            self._findings.add_offsets(FindingKind.GAP, where, start.offset, column="start")


def check_gaps(connection: psycopg.Connection, books: GroupBooks, findings: Findings) -> None:
    """Recompute how many trades each gap has missed that names its trades."""
    for topic, partition, offset in connection.execute(_RANGES, books.parameters):
        findings.add_offsets(
            FindingKind.GAP, TopicPartition(topic, partition), offset, column="trades_missed"
        )
