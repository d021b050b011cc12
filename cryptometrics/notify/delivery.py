"""Delivers notifications from the outbox to the webhook, one by one and in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics import log, retry
from cryptometrics.notify import outbox
from cryptometrics.notify.webhook import NotDeliveredError

if TYPE_CHECKING:
    import psycopg

    from cryptometrics.notify.webhook import Webhook


def deliver_next(connection: psycopg.Connection, group: str, webhook: Webhook) -> bool:
    """Deliver the oldest pending notification unless it waits for a retry; return whether it was delivered.

    After a failure it stays the oldest, so the order never changes.
    """
    notification = outbox.first(connection, group)
    if notification is None or notification.wait_s:
        return False
    try:
        webhook.send(notification)
    except NotDeliveredError as error:
        attempts = notification.attempts + 1
        wait = max(retry.wait_after(attempts), error.retry_after_s)
        outbox.failed(connection, notification, str(error), wait)
        log.get_logger(group=group).warning(
            "alert_not_delivered",
            alert=notification.alert_id,
            status=notification.status,
            error=str(error),
            attempts=attempts,
            next_attempt_s=round(wait, 1),
        )
        return False
    outbox.delivered(connection, notification)
    return True
