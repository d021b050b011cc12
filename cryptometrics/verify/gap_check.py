"""Gaps of the feed: against the messages that tell of them, and what a start has missed against the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.market import gap_records
from cryptometrics.market.tick_decoder import RejectedError, decode
from cryptometrics.times import to_microseconds
from cryptometrics.verify.findings import Kind, Place
from cryptometrics.verify.offset_books import ROWS
from cryptometrics.verify.pruned import INCOMPLETE

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg
    from confluent_kafka import Message

    from cryptometrics.verify.findings import Findings
    from cryptometrics.verify.offset_books import Books

# What a message itself says of its gap; a start's beginning it does not say.
FINGERPRINT = """
    array_to_string(ARRAY[pair, kind, (extract(epoch FROM ends_at) * 1000000)::bigint::text,
        CASE WHEN kind <> 'start' THEN (extract(epoch FROM begins_at) * 1000000)::bigint::text END,
        CASE WHEN kind <> 'start' THEN first_trade_id::text END, last_trade_id::text,
        CASE WHEN kind <> 'start' THEN trades_missed::text END], ' ', '-')
"""

_HAS_STARTS = "SELECT EXISTS (SELECT FROM feed_gaps WHERE consumer_group = %(group)s AND kind = 'start')"

# Where rows of the pair were pruned, what stood before a start is not known any more.
_STARTS = f"""
WITH placed AS (
    SELECT topic, kafka_partition, kafka_offset, kind,
           begins_at, first_trade_id, last_trade_id, trades_missed,
           max(trade_id) OVER before AS highest, max(timestamp) OVER before AS newest
    FROM (
        SELECT era, topic, kafka_partition, kafka_offset, pair, trade_id, timestamp, NULL AS kind,
               NULL::timestamptz AS begins_at, NULL::bigint AS first_trade_id, NULL::bigint AS last_trade_id,
               NULL::bigint AS trades_missed
        FROM ({ROWS}) AS metrics
        WHERE pair IN (SELECT pair FROM feed_gaps WHERE consumer_group = %(group)s AND kind = 'start')
        UNION ALL
        SELECT b.era, g.topic, g.kafka_partition, g.kafka_offset, g.pair, NULL, NULL, g.kind, g.begins_at,
               g.first_trade_id, g.last_trade_id, g.trades_missed
        FROM feed_gaps g
        JOIN unnest(%(topics)s::text[], %(partitions)s::int[], %(eras)s::int[])
            AS b (topic, kafka_partition, era) USING (topic, kafka_partition)
        WHERE g.consumer_group = %(group)s AND g.kind = 'start'
          AND g.pair NOT IN (SELECT pair FROM ({INCOMPLETE}) AS i)
    ) AS ticks_and_starts
    WINDOW before AS (PARTITION BY pair COLLATE "C" ORDER BY era, kafka_partition, kafka_offset
                      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT topic, kafka_partition, kafka_offset FROM placed
WHERE kind = 'start' AND (
    begins_at IS DISTINCT FROM newest OR first_trade_id IS DISTINCT FROM highest + 1
    OR trades_missed IS DISTINCT FROM
       CASE WHEN highest IS NULL THEN 0 ELSE last_trade_id - least(highest, last_trade_id) END)
"""  # noqa: S608  (constants)

_RANGES = """
SELECT topic, kafka_partition, kafka_offset FROM feed_gaps
WHERE consumer_group = %(group)s AND kind <> 'start'
  AND trades_missed IS DISTINCT FROM coalesce(last_trade_id - first_trade_id + 1, 0)
"""


def check_gaps(connection: psycopg.Connection, books: Books, findings: Findings) -> None:
    """Recompute how many trades each gap has missed; for a start, from the rows that stand before it."""
    for topic, partition, offset in connection.execute(_RANGES, books.parameters):
        findings.offsets(Kind.GAP, Place(topic, partition), offset, column="trades_missed")
    (has_starts,) = connection.execute(_HAS_STARTS, books.parameters).fetchone() or (False,)
    if not has_starts:  # then the table need not be read once more
        return
    with connection.cursor() as cursor:
        for topic, partition, offset in cursor.stream(_STARTS, books.parameters):
            findings.offsets(Kind.GAP, Place(topic, partition), offset, column="start")


def compare_gap(
    findings: Findings, stored: str, message: Message, place: Place, offset: int, now: datetime
) -> None:
    """Compare a stored gap, as FINGERPRINT gives it, with its message."""
    key, value = message.key(), message.value()
    try:
        decode(key, value, now)
    except RejectedError as error:
        try:
            gap = gap_records.decode(key, value, now, error)
        except RejectedError as reason:
            findings.offsets(Kind.NOT_VALID, place, offset, column=reason.reason)
            return
        if _fingerprint(gap) != stored:
            findings.offsets(Kind.DIFFERS, place, offset, column="gap")
        return
    findings.offsets(Kind.NOT_VALID, place, offset, column="gap")  # it is a tick


def reason_against(message: Message, now: datetime) -> str | None:
    """Return why a message is neither a tick nor a gap, None where it is one."""
    key, value = message.key(), message.value()
    try:
        decode(key, value, now)
    except RejectedError as error:
        try:
            gap_records.decode(key, value, now, error)
        except RejectedError as reason:
            return reason.reason
    return None


def _fingerprint(gap: gap_records.Gap) -> str:
    is_start = gap.kind is gap_records.Kind.START
    parts = (
        gap.pair,
        str(gap.kind),
        to_microseconds(gap.time),
        None if gap.begins is None else to_microseconds(gap.begins),
        gap.first_trade_id,
        gap.last_trade_id,
        None if is_start else gap.trades_missed,
    )
    return " ".join("-" if part is None else str(part) for part in parts)
