"""The thread that sends alerts: for each channel, one is active among a group's workers and followers.

No batch waits for it. Workers and followers put notifications into the outbox within their transactions; the
active sender delivers those of both. What it could not deliver stays in the outbox for its next attempt, or
for the next sender.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import psycopg

from cryptometrics import log, retry
from cryptometrics.alerts.channels import Recipients
from cryptometrics.notify import outbox, removed_rules
from cryptometrics.notify.channels import open_channels
from cryptometrics.notify.delivery import Delivery, WebhookTarget
from cryptometrics.notify.stale_feed_check import StaleFeedCheck
from cryptometrics.notify.webhook import Webhook
from cryptometrics.store import alerts
from cryptometrics.store.connection import connect_once
from cryptometrics.store.database_errors import one_line
from cryptometrics.times import Interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from cryptometrics.alerts.channels import Channel
    from cryptometrics.alerts.kinds import Owner
    from cryptometrics.alerts.rules import Rule
    from cryptometrics.config import Settings
    from cryptometrics.notify.channels import ChannelTarget
    from cryptometrics.notify.delivery import Target

POLL_S = 0.25
"""Time between two looks into the outbox."""
STALE_CHECK_S = 0.5
"""Time between two checks for stale feeds."""
SILENCE_CHECK_S = 1.0
"""Time between two checks for silences that have ended."""
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
        self,
        settings: Settings,
        group: str,
        rules: tuple[Rule, ...],
        webhook: Webhook | None,
        channels: Sequence[ChannelTarget] = (),
        owner: Owner = "process",
    ) -> None:
        self._settings, self._group, self._rules, self._webhook = settings, group, rules, webhook
        self._owner = owner
        self._recipients = Recipients(webhook is not None, tuple(target.channel for target in channels))
        self._wake = threading.Event()
        """Set when there may be something to do before the next look into the outbox."""
        targets: list[Target] = [WebhookTarget(webhook)] if webhook else []
        targets += channels
        self._deliveries = [Delivery(group, target, self._wake.set) for target in targets]
        self._delivers = self._looks_after = False
        self._stale_feeds = StaleFeedCheck(group, rules, self._recipients)
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
        self._wake.set()
        self._thread.join(CLOSE_S + 1)

    def _run(self) -> None:
        while not self._stopped.is_set() or (not self._failures and time.monotonic() < self._deadline):
            try:
                with connect_once(self._settings.postgres()) as connection:
                    connection.execute(_LIMITS)
                    self._serve(connection)
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

    def _serve(self, connection: psycopg.Connection) -> None:
        """Deliver, and look after the alerts, each if no other of the group does, until closed."""
        self._delivers = self._looks_after = False
        active_since = self._take_roles(connection, is_new=True)
        attempt, stale_check = Interval(STANDBY_S), Interval(STALE_CHECK_S)
        silence_check = Interval(SILENCE_CHECK_S)
        while not self._stopped.is_set():
            if attempt.elapsed():
                active_since = self._take_roles(connection) or active_since
            if active_since is not None and stale_check.elapsed():
                self._stale_feeds.run(connection, active_since)
            if self._delivers and silence_check.elapsed():
                alerts.send_unsilenced(connection, self._group, self._recipients)
            self._step(connection)
            self._wait(POLL_S)
        while self._step(connection) and (left := self._deadline - time.monotonic()) > 0:
            self._wait(left)

    def _step(self, connection: psycopg.Connection) -> bool:
        """Take each delivery a step further; return whether an attempt is under way."""
        under_way = [delivery.step(connection) for delivery in self._deliveries]
        return any(under_way)

    def _wait(self, seconds: float) -> None:
        """Wait until an attempt is over, the sender is closed, or the time has passed."""
        self._wake.wait(seconds)
        self._wake.clear()

    def _take_roles(self, connection: psycopg.Connection, *, is_new: bool = False) -> datetime | None:
        """Try to become the one that delivers to each channel, and the one that looks after alerts.

        Returns the database's time if it has begun to look after them.
        """
        for delivery in self._deliveries:
            delivery.take_lock(connection, is_new=is_new)
        if not self._delivers and outbox.take_lock(connection, self._group):
            self._delivers, self._failures = True, 0
            self._log.info("sender_active", webhook=self._webhook.address if self._webhook else None)
        if self._owner != "process" or self._looks_after:
            return None
        if not outbox.take_lock(connection, self._group, outbox.UPKEEP_LOCK):
            return None
        self._looks_after, self._failures = True, 0
        for channel, count in outbox.discard_removed(connection, self._group, self._recipients.names).items():
            self._log.warning("channel_removed", channel=channel, undelivered=count)
        removed_rules.resolve_alerts(connection, self._group, self._owner, self._rules, self._recipients)
        return alerts.now(connection)


@contextlib.contextmanager
def sending(
    settings: Settings,
    group: str,
    rules: tuple[Rule, ...],
    channels: Sequence[Channel] = (),
    owner: Owner = "process",
) -> Iterator[None]:
    """Run a sender within the block if there are rules; raise UserError if the webhook's URL is not valid.

    `risk --follow` also has limits of portfolios, which are in no file: there someone to tell is enough.

    owner: the sender of `process` also checks for stale feeds and resolves the alerts of removed rules. The
    sender of `risk` only delivers, because the follower does the rest.
    """
    if not rules and not (owner == "risk" and (settings.has_webhook or channels)):
        yield
        return
    sender = Sender(settings, group, rules, Webhook.configured(settings), open_channels(channels), owner)
    try:
        yield
    finally:
        sender.close()
