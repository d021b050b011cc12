"""Check the gaps of a feed: what a start has missed, from the rows before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.verify.findings import FindingKind, TopicPartition
from cryptometrics.verify.offset_books import ROWS
from cryptometrics.verify.pruned import INCOMPLETE

if TYPE_CHECKING:
    import psycopg

    from cryptometrics.verify.findings import Findings
    from cryptometrics.verify.offset_books import GroupBooks

_HAS_STARTS = "SELECT EXISTS (SELECT FROM feed_gaps WHERE consumer_group = %(group)s AND kind = 'start')"

# If rows of the pair were pruned, those before a start are unknown.
_STARTS = f"""
WITH placed AS (
    SELECT topic, kafka_partition, kafka_offset, kind,
           begins_at, first_trade_id, last_trade_id, trades_missed,
           max(trade_id) OVER before AS highest, max(timestamp) OVER before AS newest
    FROM (
        SELECT era, topic, kafka_partition, kafka_offset, venue, pair, trade_id, timestamp, NULL AS kind,
               NULL::timestamptz AS begins_at, NULL::bigint AS first_trade_id, NULL::bigint AS last_trade_id,
               NULL::bigint AS trades_missed
        FROM ({ROWS}) AS metrics
        WHERE (venue, pair) IN (SELECT venue, pair FROM feed_gaps
                                WHERE consumer_group = %(group)s AND kind = 'start')
        UNION ALL
        SELECT b.era, g.topic, g.kafka_partition, g.kafka_offset, g.venue, g.pair, NULL, NULL, g.kind,
               g.begins_at, g.first_trade_id, g.last_trade_id, g.trades_missed
        FROM feed_gaps g
        JOIN unnest(%(topics)s::text[], %(partitions)s::int[], %(eras)s::int[])
            AS b (topic, kafka_partition, era) USING (topic, kafka_partition)
        WHERE g.consumer_group = %(group)s AND g.kind = 'start'
          AND (g.venue, g.pair) NOT IN (SELECT venue, pair FROM ({INCOMPLETE}) AS i)
    ) AS ticks_and_starts
    WINDOW before AS (PARTITION BY venue COLLATE "C", pair COLLATE "C"
                      ORDER BY era, kafka_partition, kafka_offset
                      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT topic, kafka_partition, kafka_offset FROM placed
WHERE kind = 'start' AND (
    begins_at IS DISTINCT FROM newest OR first_trade_id IS DISTINCT FROM highest + 1
    OR trades_missed IS DISTINCT FROM
       CASE WHEN newest IS NULL THEN 0 ELSE last_trade_id - least(highest, last_trade_id) END)
"""  # noqa: S608  (constants)

_RANGES = """
SELECT topic, kafka_partition, kafka_offset FROM feed_gaps
WHERE consumer_group = %(group)s AND kind <> 'start'
  AND trades_missed IS DISTINCT FROM
      coalesce(last_trade_id - first_trade_id + 1, CASE WHEN kind <> 'missed' THEN 0 END)
"""


def check_gaps(connection: psycopg.Connection, books: GroupBooks, findings: Findings) -> None:
    """Recompute how many trades each gap has missed; for a start, from the rows before it."""
    for topic, partition, offset in connection.execute(_RANGES, books.parameters):
        findings.add_offsets(
            FindingKind.GAP, TopicPartition(topic, partition), offset, column="trades_missed"
        )
    (has_starts,) = connection.execute(_HAS_STARTS, books.parameters).fetchone() or (False,)
    if not has_starts:  # saves a pass over the rows
        return
    with connection.cursor() as cursor:
        for topic, partition, offset in cursor.stream(_STARTS, books.parameters):
            findings.add_offsets(FindingKind.GAP, TopicPartition(topic, partition), offset, column="start")
