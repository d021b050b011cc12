"""The thread that sends alerts: one is active among a group's workers.

No batch waits for it. Workers put notifications into the outbox within their transactions; the active sender
delivers them. What it could not deliver stays in the outbox for its next attempt, or for the next sender.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import psycopg

from cryptometrics import log, retry
from cryptometrics.notify import outbox, removed_rules
from cryptometrics.notify.delivery import deliver_next
from cryptometrics.notify.stale_feed_check import StaleFeedCheck
from cryptometrics.notify.webhook import Webhook
from cryptometrics.store import alerts
from cryptometrics.store.connection import connect_once
from cryptometrics.store.database_errors import one_line
from cryptometrics.times import Interval

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.alerts.rules import Rule
    from cryptometrics.config import Settings

POLL_S = 0.25
"""Time between two looks into the outbox."""
STALE_CHECK_S = 0.5
"""Time between two checks for stale feeds."""
STANDBY_S = 1.0
"""Time between two attempts of a standby to become the active sender."""
CLOSE_S = 5.0
"""Limit for the last deliveries when the worker ends."""
# A suspended sender (SIGSTOP) must not keep the lock: the server ends its session, which releases it.
_LIMITS = (
    "SET statement_timeout = '30s'; SET lock_timeout = '10s'; "
    "SET idle_session_timeout = '60s'; SET idle_in_transaction_session_timeout = '60s'"
)


class Sender:
    """Runs in its own thread, over its own database session."""

    def __init__(
        self, settings: Settings, group: str, rules: tuple[Rule, ...], webhook: Webhook | None
    ) -> None:
        self._settings, self._group, self._rules, self._webhook = settings, group, rules, webhook
        self._stale_feeds = StaleFeedCheck(group, rules, notify=webhook is not None)
        self._stopped = threading.Event()
        self._failures = 0
        self._deadline = float("inf")
        self._log = log.get_logger(group=group)
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Deliver what is pending within a few seconds; the next sender gets the rest."""
        self._deadline = time.monotonic() + CLOSE_S
        self._stopped.set()
        self._thread.join(CLOSE_S + 1)

    def _run(self) -> None:
        while not self._stopped.is_set() or (not self._failures and time.monotonic() < self._deadline):
            try:
                with connect_once(self._settings.postgres()) as connection:
                    connection.execute(_LIMITS)
                    if self._become_active(connection):
                        self._send(connection)
                    return
            except psycopg.Error as error:
                self._failures += 1
                wait = retry.wait_after(self._failures)
                self._log.warning("sender_interrupted", error=one_line(error), next_attempt_s=round(wait, 1))
                self._stopped.wait(wait)
            except Exception:  # noqa: BLE001  (a bug must not end all alerts silently)
                self._failures += 1
                self._log.error("sender_failed", exc_info=True)
                self._stopped.wait(retry.MAX_WAIT_S)

    def _become_active(self, connection: psycopg.Connection) -> bool:
        """Wait for the group's lock; return False if the worker ends first."""
        while not outbox.take_lock(connection, self._group):
            if self._stopped.wait(STANDBY_S):
                return False
        self._failures = 0
        self._log.info("sender_active", webhook=self._webhook.address if self._webhook else None)
        return True

    def _send(self, connection: psycopg.Connection) -> None:
        """Deliver notifications and check for stale feeds until the worker ends."""
        removed_rules.resolve_alerts(connection, self._group, self._rules, notify=self._webhook is not None)
        active_since = alerts.now(connection)
        stale_check = Interval(STALE_CHECK_S)
        while not self._stopped.is_set():
            if stale_check.elapsed():
                self._stale_feeds.run(connection, active_since)
            if not self._deliver_next(connection):
                self._stopped.wait(POLL_S)
        while time.monotonic() < self._deadline and self._deliver_next(connection):
            pass

    def _deliver_next(self, connection: psycopg.Connection) -> bool:
        return self._webhook is not None and deliver_next(connection, self._group, self._webhook)


@contextlib.contextmanager
def sending(settings: Settings, group: str, rules: tuple[Rule, ...]) -> Iterator[None]:
    """Run a sender within the block if there are rules; raise UserError if the webhook's URL is not valid."""
    if not rules:
        yield
        return
    sender = Sender(settings, group, rules, Webhook.configured(settings))
    try:
        yield
    finally:
        sender.close()
