"""The outbox of the webhook, and who may empty it: one worker of a group, by a lock of its database session.

The holder of the lock also checks for stale feeds, over the same session: when the session ends, so does its
right to write, and nothing is written twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal
    from uuid import UUID

    import psycopg

LOCK = 0x616C6572
"""The first half of the advisory lock: "aler" in ASCII; the second one is the group's."""

_LOCK = "SELECT pg_try_advisory_lock(%s, hashtext(%s))"

_NEXT = """
SELECT n.id, n.status, n.idempotency_key AS key, n.attempts, a.id AS alert_id, a.consumer_group,
       a.rule, a.kind, a.pair, a.severity, a.level,
       CASE n.status WHEN 'firing' THEN a.value ELSE a.resolved_value END AS value,
       CASE n.status WHEN 'firing' THEN a.message ELSE a.resolved_message END AS message,
       a.started_at, a.fired_at, CASE n.status WHEN 'resolved' THEN a.resolved_at END AS resolved_at,
       greatest(extract(epoch FROM n.next_attempt_at - clock_timestamp()), 0)::float8 AS wait_s
FROM alert_notifications n JOIN alerts a ON a.id = n.alert_id
WHERE n.consumer_group = %s AND n.delivered_at IS NULL
ORDER BY n.id LIMIT 1
"""
_DELIVERED = """
UPDATE alert_notifications
SET delivered_at = clock_timestamp(), attempts = attempts + 1, next_attempt_at = NULL, last_error = NULL
WHERE id = %s
"""
_FAILED = """
UPDATE alert_notifications
SET attempts = attempts + 1, last_error = %s, next_attempt_at = clock_timestamp() + make_interval(secs => %s)
WHERE id = %s
"""


@dataclass(frozen=True)
class Notification:
    """What is to be told: that an alert fires, or that it has resolved."""

    id: int
    status: str
    key: UUID
    attempts: int
    """How often it was tried."""
    alert_id: int
    consumer_group: str
    rule: str
    kind: str
    pair: str
    severity: str
    level: Decimal
    value: Decimal | None
    message: str
    started_at: datetime
    fired_at: datetime
    resolved_at: datetime | None
    """None in the news that it fires, also when it has resolved since."""
    wait_s: float | None
    """Seconds until the next attempt, after one that failed."""


def take_lock(connection: psycopg.Connection, group: str) -> bool:
    """Become the group's sender, unless another session is it; it ends with the session."""
    row = connection.execute(_LOCK, [LOCK, group]).fetchone()
    return row is not None and bool(row[0])


def first(connection: psycopg.Connection, group: str) -> Notification | None:
    """Return the oldest notification that is not delivered: those after it wait for it."""
    with connection.cursor(row_factory=class_row(Notification)) as cursor:
        return cursor.execute(_NEXT, [group]).fetchone()


def delivered(connection: psycopg.Connection, notification: Notification) -> None:
    """Note that the receiver has it."""
    connection.execute(_DELIVERED, [notification.id])


def failed(connection: psycopg.Connection, notification: Notification, error: str, wait_s: float) -> None:
    """Note why the receiver does not have it, and when to try again."""
    connection.execute(_FAILED, [error, wait_s, notification.id])
