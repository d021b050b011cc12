"""The outbox of notifications, and the locks that make one worker of a group the sender of a channel.

A lock belongs to a database session, and the sender does all its writing over that session. When the
session ends, so does its right to write, and nothing is written twice.

Each channel has its own place: its oldest undelivered notification, whatever the others have had.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from cryptometrics.alerts.channels import WEBHOOK
from cryptometrics.store.text_encoding import storable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime
    from decimal import Decimal
    from uuid import UUID

    import psycopg

LOCK = 0x616C6572
"""First key of the advisory lock of the sender: "aler" in ASCII; the second one is a hash of the group and,
except for the webhook, of the channel."""
MAX_PENDING = 1_000
"""Notifications that are read at a time: the most that one digest has."""
UPKEEP_LOCK = 0x616C6570
"""The same of the worker that ends the alerts of removed rules and checks for stale feeds: "alep"."""

_LOCK = "SELECT pg_try_advisory_lock(%s, hashtext(%s))"

_UNLOCK = "SELECT pg_advisory_unlock(%s, hashtext(%s))"

_PENDING = """
SELECT n.id, n.status, n.idempotency_key AS key, n.attempts, a.id AS alert_id, a.consumer_group,
       a.rule, a.kind, a.venue, a.pair, a.severity, a.level,
       CASE n.status WHEN 'firing' THEN a.value ELSE a.resolved_value END AS value,
       CASE n.status WHEN 'firing' THEN a.message ELSE a.resolved_message END AS message,
       a.started_at, a.fired_at, CASE n.status WHEN 'resolved' THEN a.resolved_at END AS resolved_at,
       greatest(extract(epoch FROM n.next_attempt_at - clock_timestamp()), 0)::float8 AS wait_s
FROM alert_notifications n JOIN alerts a ON a.id = n.alert_id
WHERE n.consumer_group = %(group)s AND n.channel = %(channel)s AND n.delivered_at IS NULL
  AND n.created_at < interval '1 minute' + (
    SELECT created_at FROM alert_notifications
    WHERE consumer_group = %(group)s AND channel = %(channel)s AND delivered_at IS NULL ORDER BY id LIMIT 1)
ORDER BY n.id LIMIT %(limit)s
"""
_DELIVERED = """
UPDATE alert_notifications
SET delivered_at = clock_timestamp(), attempts = attempts + 1, next_attempt_at = NULL, last_error = NULL
WHERE id = ANY(%s)
"""
_FAILED = """
UPDATE alert_notifications
SET attempts = attempts + 1, last_error = %s, next_attempt_at = clock_timestamp() + make_interval(secs => %s)
WHERE id = %s
"""
_CHANNELS = """
SELECT DISTINCT channel FROM alert_notifications
WHERE consumer_group = %s AND delivered_at IS NULL AND channel <> 'webhook' AND channel <> ALL (%s)
ORDER BY channel
"""
_DISCARD = """
DELETE FROM alert_notifications WHERE consumer_group = %s AND channel = %s AND delivered_at IS NULL
"""


@dataclass(frozen=True)
class Notification:
    """A message to deliver: an alert fires, or it has resolved."""

    id: int
    status: str
    key: UUID
    attempts: int
    """Delivery attempts so far."""
    alert_id: int
    consumer_group: str
    rule: str
    kind: str
    venue: str
    """Empty for a rule about rejected ticks."""
    pair: str
    severity: str
    level: Decimal
    value: Decimal | None
    message: str
    started_at: datetime
    fired_at: datetime
    resolved_at: datetime | None
    """None if this notification is that the alert fires, even if it has resolved since."""
    wait_s: float | None
    """Seconds until the next attempt; None before the first one failed."""


def take_lock(connection: psycopg.Connection, group: str, lock: int = LOCK, channel: str = WEBHOOK) -> bool:
    """Try to become the group's sender until the session ends; return False if another session is."""
    row = connection.execute(_LOCK, [lock, _locked(group, channel)]).fetchone()
    return row is not None and bool(row[0])


def _locked(group: str, channel: str) -> str:
    return group if channel == WEBHOOK else f"{group}\n{channel}"


def pending(connection: psycopg.Connection, group: str, channel: str, limit: int) -> list[Notification]:
    """Return the oldest undelivered notification of a channel, and those of the minute that it begins."""
    with connection.cursor(row_factory=class_row(Notification)) as cursor:
        return cursor.execute(_PENDING, {"group": group, "channel": channel, "limit": limit}).fetchall()


def delivered(connection: psycopg.Connection, notifications: Iterable[Notification]) -> None:
    """Mark the notifications of a message as delivered."""
    connection.execute(_DELIVERED, [[notification.id for notification in notifications]])


def failed(connection: psycopg.Connection, notification: Notification, error: str, wait_s: float) -> None:
    """Store why a delivery failed, and when to retry it."""
    connection.execute(_FAILED, [storable(connection, error), wait_s, notification.id])


def discard_removed(connection: psycopg.Connection, group: str, known: Collection[str]) -> dict[str, int]:
    """Delete what waits for channels that are gone from the rule file; return how many for each.

    A channel that another sender delivers to is not gone: that sender has another file.
    """
    discarded: dict[str, int] = {}
    for (channel,) in connection.execute(_CHANNELS, [group, list(known)]).fetchall():
        if take_lock(connection, group, channel=channel):
            discarded[channel] = connection.execute(_DISCARD, [group, channel]).rowcount
            connection.execute(_UNLOCK, [LOCK, _locked(group, channel)])
    return discarded
