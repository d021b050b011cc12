"""Find trades that are stored twice: rows with the venue, pair, trade id and time of another row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.verify.findings import FindingKind, TopicPartition
from cryptometrics.verify.offset_books import ROWS

if TYPE_CHECKING:
    import psycopg

    from cryptometrics.verify.byte_words import Integers
    from cryptometrics.verify.findings import Findings
    from cryptometrics.verify.offset_books import GroupBooks
    from cryptometrics.verify.pair_rows import MarketKey, PairRows

MAX_SUSPECTS = 200_000
"""Rows that may repeat an earlier one; if there are more, the whole table is grouped."""

_AMONG_SUSPECTS = f"""
WITH suspects AS (
    SELECT DISTINCT venue, pair, trade_id, timestamptz 'epoch' + time * interval '1 microsecond' AS timestamp
    FROM unnest(%(s_venues)s::text[], %(s_pairs)s::text[], %(s_trade_ids)s::bigint[], %(s_times)s::bigint[])
        AS s (venue, pair, trade_id, time)
)
SELECT topic, kafka_partition, kafka_offset
FROM (
    SELECT m.topic, m.kafka_partition, m.kafka_offset,
           count(*) OVER (PARTITION BY m.venue, m.pair, m.trade_id, m.timestamp) AS times
    FROM suspects
    JOIN (SELECT * FROM ({ROWS}) AS metrics
          WHERE timestamp BETWEEN timestamptz 'epoch' + %(s_earliest)s * interval '1 microsecond'
                              AND timestamptz 'epoch' + %(s_latest)s * interval '1 microsecond') AS m
        USING (venue, pair, trade_id, timestamp)
) AS found
WHERE times > 1
"""  # noqa: S608  (constants)

_IN_ALL = f"""
SELECT topic, m.kafka_partition, m.kafka_offset
FROM (SELECT venue, pair, trade_id, timestamp FROM crypto_metrics
      WHERE consumer_group = %(group)s AND trade_id IS NOT NULL
      GROUP BY venue, pair, trade_id, timestamp HAVING count(*) > 1) AS repeated
JOIN ({ROWS}) AS m USING (venue, pair, trade_id, timestamp)
"""  # noqa: S608  (constants)


class RepeatedTrades:
    """Collects the rows that may repeat an earlier one: a trade id above all earlier ones is new."""

    def __init__(self) -> None:
        self._suspects: list[tuple[MarketKey, Integers, Integers]] = []
        self._count = 0

    def add(self, rows: PairRows) -> None:
        """Check some rows, which follow those added before."""
        if self._count > MAX_SUSPECTS:
            return
        at = np.flatnonzero((rows.trade_ids <= rows.highest_before) & rows.has_trade)
        if len(at):
            self._suspects.append((rows.market, rows.trade_ids[at], rows.times[at]))
            self._count += len(at)

    def check(self, connection: psycopg.Connection, books: GroupBooks, findings: Findings) -> None:
        """Look the suspects up, once all rows were added."""
        if not self._count:
            return
        query, values = _IN_ALL, books.parameters
        if self._count <= MAX_SUSPECTS:
            times = np.concatenate([times for _, _, times in self._suspects])
            query = _AMONG_SUSPECTS
            values = values | {
                "s_venues": [market.venue for market, ids, _ in self._suspects for _ in range(len(ids))],
                "s_pairs": [market.pair for market, ids, _ in self._suspects for _ in range(len(ids))],
                "s_trade_ids": [trade_id for _, ids, _ in self._suspects for trade_id in ids.tolist()],
                "s_times": times.tolist(),
                "s_earliest": int(times.min()),
                "s_latest": int(times.max()),
            }
        with connection.cursor() as cursor:
            for topic, partition, offset in cursor.stream(query, values):
                findings.add_offsets(FindingKind.REPEATED, TopicPartition(topic, partition), offset)
