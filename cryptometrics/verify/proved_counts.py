"""Check that what a mark covers is still there: as many outcomes of each kind, and the rows of each day."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from cryptometrics.verify.findings import FindingKind, TopicPartition
from cryptometrics.verify.offset_books import ROWS
from cryptometrics.verify.offset_check import DayCounts
from cryptometrics.verify.stored_outcomes import OUTCOMES

if TYPE_CHECKING:
    import psycopg

    from cryptometrics.verify.findings import Findings
    from cryptometrics.verify.mark import Mark
    from cryptometrics.verify.offset_books import GroupBooks

_DAYS = f"""
SELECT topic, kafka_partition, (timestamp AT TIME ZONE 'UTC')::date, count(*), min(kafka_offset),
       max(kafka_offset), count(*) FILTER (WHERE kafka_offset < b.start)
FROM ({ROWS}) AS metrics
LEFT JOIN unnest(%(topics)s::text[], %(partitions)s::int[], %(starts)s::bigint[])
    AS b (topic, kafka_partition, start) USING (topic, kafka_partition)
GROUP BY 1, 2, 3
"""  # noqa: S608  (constants)

_OTHERS = """
SELECT topic, kafka_partition, outcome, sum(last_offset - first_offset + 1)::bigint
FROM (
    SELECT topic, kafka_partition, 'rejected' AS outcome, kafka_offset AS first_offset,
           kafka_offset AS last_offset
    FROM rejected_ticks WHERE consumer_group = %(group)s
    UNION ALL
    SELECT topic, kafka_partition, 'gaps', kafka_offset, kafka_offset
    FROM feed_gaps WHERE consumer_group = %(group)s
    UNION ALL
    SELECT topic, kafka_partition, CASE reason WHEN 'duplicate' THEN 'duplicates' ELSE 'holes' END,
           first_offset, last_offset
    FROM skipped_offsets WHERE consumer_group = %(group)s
) AS outcomes
JOIN unnest(%(topics)s::text[], %(partitions)s::int[], %(starts)s::bigint[])
    AS b (topic, kafka_partition, start) USING (topic, kafka_partition)
WHERE last_offset < b.start
GROUP BY 1, 2, 3
"""


def check_proved_counts(
    connection: psycopg.Connection, books: GroupBooks, findings: Findings, mark: Mark
) -> None:
    """Compare the counts of a mark with what is stored before it, and those of each day with its rows."""
    days = DayCounts()
    counted: Counter[tuple[TopicPartition, str]] = Counter()
    for topic, partition, day, rows, first, last, before in connection.execute(_DAYS, books.parameters):
        where = TopicPartition(topic, partition)
        days.add_day(where, day, rows, first, last)
        counted[where, "metrics"] += before
    for day_of_pruned in books.pruned:  # all of them before the mark
        counted[TopicPartition(day_of_pruned.topic, day_of_pruned.partition), "metrics"] += day_of_pruned.rows
    for topic, partition, outcome, count in connection.execute(_OTHERS, books.parameters):
        counted[TopicPartition(topic, partition), outcome] += count
    days.check(connection, books, findings)
    for part in mark.partitions:
        where = part.topic_partition
        for outcome in OUTCOMES:
            proved, stored = getattr(part, outcome), counted[where, outcome]
            if proved != stored:
                text = f"{proved:,} proved before offset {part.next_offset}, {stored:,} stored"
                findings.add_text(FindingKind.COUNT, text, where, outcome)
