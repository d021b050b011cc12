"""Delivers the outbox of one channel: in order, one message at a time, each in a thread of its own.

The thread only talks to the receiver. Everything that is read and written passes through the sender's
session, so a receiver that does not answer holds nobody up but itself.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from cryptometrics import log, retry
from cryptometrics.alerts.channels import WEBHOOK
from cryptometrics.notify import outbox
from cryptometrics.notify.webhook import NotDeliveredError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import psycopg

    from cryptometrics.notify.outbox import Notification
    from cryptometrics.notify.webhook import Webhook

MAX_SINGLE = 20
"""More alerts of a minute than these become one message; the webhook gets each alone, for programs."""
MINUTE_S = 60.0


class Target(Protocol):
    """A receiver of messages."""

    @property
    def name(self) -> str:
        """The channel's name in the outbox."""

    def send(self, notifications: Sequence[Notification]) -> None:
        """Send one message; raise NotDeliveredError unless its delivery is certain."""


class WebhookTarget:
    """The webhook as a receiver of single notifications."""

    name = WEBHOOK

    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook

    def send(self, notifications: Sequence[Notification]) -> None:
        """Post a notification."""
        for notification in notifications:
            self._webhook.send(notification)


@dataclass
class _Attempt:
    """A message on its way."""

    notifications: Sequence[Notification]
    connection: psycopg.Connection
    """The session that read it: only this one may write the result."""
    error: NotDeliveredError | None = None
    is_over: threading.Event = field(default_factory=threading.Event)


class Delivery:
    """Delivers what is pending for one target, as long as its sender has the channel's lock."""

    def __init__(self, group: str, target: Target, wake: Callable[[], None]) -> None:
        """wake: called from another thread when an attempt is over."""
        self._group, self._target, self._wake = group, target, wake
        self.name = target.name
        self._digests = target.name != WEBHOOK
        self._active = self._is_collecting = False
        self._attempt: _Attempt | None = None
        self._sent: deque[float] = deque(maxlen=MAX_SINGLE)
        self._log = log.get_logger(group=group, channel=target.name)

    def take_lock(self, connection: psycopg.Connection, *, is_new: bool = False) -> None:
        """Try to become the one that delivers. is_new: the session has just begun, and has no lock yet."""
        if is_new or not self._active:
            self._active = outbox.take_lock(connection, self._group, channel=self.name)

    def step(self, connection: psycopg.Connection) -> bool:
        """Store the result of a finished attempt, and begin the next; return whether one is under way."""
        if self._attempt is not None:
            if not self._attempt.is_over.is_set():
                return True
            attempt, self._attempt = self._attempt, None
            # The session has changed: another sender may have sent it again, and knows what came of it.
            if attempt.connection is connection:
                self._store(attempt)
        if self._active and (message := self._next(connection)):
            self._attempt = _Attempt(message, connection)
            name = f"to {self.name}"
            threading.Thread(target=self._send, args=[self._attempt], name=name, daemon=True).start()
        return self._attempt is not None

    def _next(self, connection: psycopg.Connection) -> Sequence[Notification]:
        """Return the notifications of the next message; none if there are none, or they wait.

        A channel that had its messages of this minute collects alerts until the minute is over.
        """
        if self._digests and len(self._sent) == MAX_SINGLE and self._sent[0] > time.monotonic() - MINUTE_S:
            self._is_collecting = True
            return ()
        limit = outbox.MAX_PENDING if self._digests else 1
        pending = outbox.pending(connection, self._group, self.name, limit)
        if not pending or pending[0].wait_s:
            return ()
        return pending if len(pending) > MAX_SINGLE or self._is_collecting else pending[:1]

    def _send(self, attempt: _Attempt) -> None:
        try:
            self._target.send(attempt.notifications)
        except NotDeliveredError as error:
            attempt.error = error
        except Exception as error:  # noqa: BLE001  (a bug must not look like a delivery)
            self._log.error("delivery_failed", error=type(error).__name__)
            attempt.error = NotDeliveredError(f"internal error: {type(error).__name__}", answered=False)
        attempt.is_over.set()
        self._wake()

    def _store(self, attempt: _Attempt) -> None:
        """Store the result. After a failure the message stays the oldest, so the order never changes."""
        first, error = attempt.notifications[0], attempt.error
        if error is None:
            outbox.delivered(attempt.connection, attempt.notifications)
            self._sent.append(time.monotonic())
            self._is_collecting = False
            return
        attempts = first.attempts + 1
        wait = max(retry.wait_after(attempts), error.retry_after_s)
        outbox.failed(attempt.connection, first, str(error), wait)
        self._log.warning(
            "alert_not_delivered",
            alert=first.alert_id,
            status=first.status,
            error=str(error),
            attempts=attempts,
            next_attempt_s=round(wait, 1),
        )
