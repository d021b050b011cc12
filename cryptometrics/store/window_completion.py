"""Mark minutes as complete once the watermark of their partition and venue has passed them.

Each batch moves the watermarks of its venues, in `window_progress`. They are kept apart: simulated ticks of
now say nothing about the minutes of a replay of last year. A pair that is silent has complete minutes all the
same, as its venue's other pairs go on.

A venue is complete up to the least watermark of its partitions. A partition that is read to its end, and had
no tick of the venue for `IDLE_S`, would hold it back for ever. So its watermark follows: to the venue's
highest one, and to the end of its own newest minute if that is later. A venue that stops is complete to its
last tick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.market.windows import MAX_OUT_OF_ORDER
from cryptometrics.store.array_text import arrays

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    import psycopg

    from cryptometrics.store.partition_claims import GroupTopic
    from cryptometrics.store.prepared_statements import Executes

IDLE_S = 60.0
"""Seconds without a tick of a venue, after which it counts as idle in a partition that is read to its end."""

# A tick from the future moves the watermark no further than the present. `updated_at` is when the venue's
# last tick was stored, whatever its event time.
_ADVANCE = """
INSERT INTO window_progress AS p
    (consumer_group, topic, kafka_partition, venue, complete_until)
SELECT %s, %s, n.kafka_partition, n.venue, least(n.newest, now()) - %s::interval
FROM unnest(%s::int[], %s::text[], %s::timestamptz[]) AS n (kafka_partition, venue, newest)
ON CONFLICT (consumer_group, topic, kafka_partition, venue) DO UPDATE SET
    complete_until = greatest(p.complete_until, excluded.complete_until), updated_at = now()
"""

# `updated_at` stays: no tick came. A minute of the future does not count, as its tick does not.
_ADVANCE_IDLE = """
WITH idle AS (
    SELECT kafka_partition, venue FROM window_progress
    WHERE consumer_group = %(group)s AND topic = %(topic)s AND kafka_partition = ANY(%(at_end)s)
      AND updated_at < now() - %(idle)s * interval '1 second'
    FOR UPDATE SKIP LOCKED
), reached AS (
    SELECT kafka_partition, venue, greatest(
        (SELECT max(v.complete_until) FROM window_progress v
         WHERE v.consumer_group = %(group)s AND v.topic = %(topic)s AND v.venue = idle.venue),
        (SELECT max(w.window_end) FROM crypto_windows w
         WHERE w.consumer_group = %(group)s AND w.name = '1m' AND NOT w.complete
           AND w.close_partition = idle.kafka_partition AND w.venue = idle.venue AND w.window_end <= now())
    ) AS complete_until
    FROM idle
)
UPDATE window_progress p SET complete_until = reached.complete_until FROM reached
WHERE p.consumer_group = %(group)s AND p.topic = %(topic)s
  AND (p.kafka_partition, p.venue) = (reached.kafka_partition, reached.venue)
  AND p.complete_until < reached.complete_until
"""

# Rows that a batch has locked are left for the next call.
_COMPLETE = """
WITH due AS (
    SELECT w.ctid AS place
    FROM crypto_windows w
    JOIN window_progress p ON (p.consumer_group, p.kafka_partition, p.venue)
                            = (w.consumer_group, w.close_partition, w.venue)
    WHERE w.consumer_group = %(group)s AND w.name = '1m' AND NOT w.complete
      AND w.close_partition = ANY(%(owned)s) AND p.topic = %(topic)s
      AND (w.window_end <= p.complete_until
           OR p.kafka_partition = ANY(%(at_end)s)
              AND p.updated_at < now() - %(idle)s * interval '1 second')
    FOR UPDATE OF w SKIP LOCKED
)
UPDATE crypto_windows w SET complete = true FROM due
WHERE w.ctid = due.place AND w.consumer_group = %(group)s AND NOT w.complete
"""


def advance(cursor: Executes, topic: GroupTopic, newest: Mapping[tuple[int, str], datetime]) -> None:
    """Move the watermarks in the transaction of their ticks.

    newest: (partition, venue) → the newest event time of the ticks.
    """
    rows = [(*key, time) for key, time in sorted(newest.items())]
    cursor.execute(_ADVANCE, [topic.group, topic.name, MAX_OUT_OF_ORDER, *arrays(rows)])


def complete_passed(
    connection: psycopg.Connection,
    topic: GroupTopic,
    owned: Collection[int],
    at_end: Collection[int],
    *,
    idle: float = IDLE_S,
) -> int:
    """Mark the minutes that the watermark has passed as complete, and return their number.

    owned: the partitions to check. at_end: those that are read to their end; after `idle` seconds without
    a tick of a venue, even its last minutes are complete, and it does not wait for them any more.
    """
    values = {
        "group": topic.group,
        "topic": topic.name,
        "owned": list(owned),
        "at_end": list(at_end),
        "idle": idle,
    }
    with connection.transaction():
        if values["at_end"]:
            connection.execute(_ADVANCE_IDLE, values)
        return connection.execute(_COMPLETE, values).rowcount
