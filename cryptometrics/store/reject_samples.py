"""Read the newest rejected message of each reason, and no more of it than is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

# The database cuts the message: it may have a megabyte.
_SAMPLES = """
SELECT counts.reason, counts.count, r.id, r.recorded_at, r.detail, length(r.value) AS size,
       substring(r.value FROM 1 FOR %(limit)s) AS beginning
FROM (
    SELECT reason, count(*) AS count, max(id) AS id FROM rejected_ticks
    WHERE consumer_group = %(group)s GROUP BY reason
) AS counts
JOIN rejected_ticks r USING (id)
ORDER BY counts.count DESC, counts.reason
"""


@dataclass(frozen=True, slots=True)
class RejectSample:
    """How many messages were rejected for a reason, and the beginning of the newest one."""

    reason: str
    count: int
    id: int
    recorded_at: datetime
    detail: str
    size: int | None
    """Bytes of the whole message; None for a message without a value."""
    beginning: bytes | None


def reject_samples(connection: psycopg.Connection, group: str, limit: int) -> list[RejectSample]:
    """Return a sample for each reason, the most frequent first; limit: bytes of a message."""
    with connection.cursor(row_factory=class_row(RejectSample)) as cursor:
        return cursor.execute(_SAMPLES, {"group": group, "limit": limit}).fetchall()
