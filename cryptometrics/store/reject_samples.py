"""Read how often each reason rejected messages, and the newest message of it, at a bounded cost.

A poisoned topic leaves millions of rejected messages. So nothing here reads more than `MAX_COUNT` entries of
an index per reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

MAX_COUNT = 10_000
"""Messages of a reason that are counted; of more it is only known that there are more."""

# The planner knows little about the reasons of one group, and may read the whole table for one that is rare.
_IN_ORDER_OF_THE_INDEX = """
SELECT set_config(name, 'off', true)
FROM unnest(ARRAY['enable_seqscan', 'enable_bitmapscan', 'enable_sort', 'enable_incremental_sort']) AS name
"""

# One step down the index per reason: the newest message of the next smaller reason. `reason` is in each
# order, although one reason is wanted: the primary key has the order of ids, too. The database cuts the
# message, which may have a megabyte.
_SAMPLES = """
WITH RECURSIVE newest AS (
    (
        SELECT reason, id FROM rejected_ticks WHERE consumer_group = %(group)s
        ORDER BY reason DESC, id DESC LIMIT 1
    )
    UNION ALL
    SELECT next.reason, next.id
    FROM newest
    CROSS JOIN LATERAL (
        SELECT r.reason, r.id FROM rejected_ticks r
        WHERE r.consumer_group = %(group)s AND r.reason < newest.reason
        ORDER BY r.reason DESC, r.id DESC LIMIT 1
    ) AS next
)
SELECT newest.reason, least(counted.count, %(max_count)s) AS count, counted.count > %(max_count)s AS more,
       r.id, r.recorded_at, r.detail, length(r.value) AS size,
       substring(r.value FROM 1 FOR %(limit)s) AS beginning
FROM newest
CROSS JOIN LATERAL (
    SELECT count(*) AS count FROM (
        SELECT FROM rejected_ticks r
        WHERE r.consumer_group = %(group)s AND r.reason >= newest.reason AND r.reason <= newest.reason
        ORDER BY r.reason DESC, r.id DESC LIMIT %(max_count)s + 1
    ) AS bounded
) AS counted
JOIN rejected_ticks r ON r.id = newest.id
ORDER BY counted.count DESC, newest.reason
"""


@dataclass(frozen=True, slots=True)
class RejectSample:
    """How many messages were rejected for a reason, and the beginning of the newest one."""

    reason: str
    count: int
    """At most MAX_COUNT."""
    more: bool
    """Whether there are more than `count`."""
    id: int
    recorded_at: datetime
    detail: str
    size: int | None
    """Bytes of the whole message; None for a message without a value."""
    beginning: bytes | None


def reject_samples(connection: psycopg.Connection, group: str, limit: int) -> list[RejectSample]:
    """Return a sample for each reason, the most frequent first; limit: bytes of a message."""
    values = {"group": group, "limit": limit, "max_count": MAX_COUNT}
    with (
        connection.transaction(force_rollback=True),  # the settings end with it
        connection.cursor(row_factory=class_row(RejectSample)) as cursor,
    ):
        connection.execute(_IN_ORDER_OF_THE_INDEX)
        return cursor.execute(_SAMPLES, values).fetchall()
