"""The thread that tells alerts to the webhook and watches for silence; one is active among a group's workers.

Nothing waits for it: it takes from the outbox what the workers' transactions put there. What it could not
tell stays, is tried again in the same order, and is told by whoever is the sender then.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import psycopg

from cryptometrics import log, retry
from cryptometrics.alerts import stale_feed
from cryptometrics.alerts.kinds import OnSilence
from cryptometrics.notify import outbox
from cryptometrics.notify.webhook import NotDeliveredError, Webhook
from cryptometrics.store import alerts as store
from cryptometrics.store.connection import connect_once
from cryptometrics.store.database_errors import one_line
from cryptometrics.times import Interval

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from cryptometrics.alerts.rules import Rule
    from cryptometrics.config import Settings
    from cryptometrics.pipeline.options import WorkerOptions

LOOK_S = 0.25
"""How often the outbox is looked at."""
SILENCE_EVERY_S = 0.5
"""How often it is asked which pairs are silent."""
STAND_BY_S = 1.0
"""How often a worker that is not the sender asks whether it can be."""
FORGOTTEN_S = 7 * 24 * 3600.0
"""So long after its rule has held, a silent pair is not expected any more, unless a rule names it in full."""
LAST_S = 5.0
"""How long the end of the worker waits for what is still to be told."""
# A sender that sleeps (SIGSTOP) is no sender: the server ends its session, which gives the lock away.
_LIMITS = (
    "SET statement_timeout = '30s'; SET lock_timeout = '10s'; "
    "SET idle_session_timeout = '60s'; SET idle_in_transaction_session_timeout = '60s'"
)


class Sender:
    """Runs in a thread of its own, over a database session of its own."""

    def __init__(self, uri: str, group: str, rules: tuple[Rule, ...], webhook: Webhook | None) -> None:
        self._uri, self._group, self._rules, self._webhook = uri, group, rules, webhook
        self._stale = [rule for rule in rules if isinstance(rule.source, OnSilence)]
        self._stopped = threading.Event()
        self._failures = 0
        self._deadline = float("inf")
        self._silence_interval = Interval(SILENCE_EVERY_S)
        self._log = log.get_logger(group=group)
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Tell what is still to be told, for a few seconds at most; the rest is for the next sender."""
        self._deadline = time.monotonic() + LAST_S
        self._stopped.set()
        self._thread.join(LAST_S + 1)

    def _run(self) -> None:
        while not self._stopped.is_set() or (not self._failures and time.monotonic() < self._deadline):
            try:
                with connect_once(self._uri) as connection:
                    connection.execute(_LIMITS)
                    self._stand_by(connection)
                    return
            except psycopg.Error as error:
                self._failures += 1
                wait = retry.wait_after(self._failures)
                self._log.warning("sender_interrupted", error=one_line(error), next_attempt_s=round(wait, 1))
                self._stopped.wait(wait)
            except Exception:  # noqa: BLE001  (a bug of ours must not end the telling for good, in silence)
                self._failures += 1
                self._log.error("sender_failed", exc_info=True)
                self._stopped.wait(retry.LONGEST_WAIT)

    def _stand_by(self, connection: psycopg.Connection) -> None:
        """Wait until this worker can be the sender; be it until the end."""
        while not outbox.take_lock(connection, self._group):
            if self._stopped.wait(STAND_BY_S):
                return
        self._failures = 0
        self._log.info("sender_active", webhook=self._webhook.place if self._webhook else None)
        with connection.transaction():
            self._retire(connection)
        since = outbox.now(connection)
        while not self._stopped.is_set():
            if self._stale and self._silence_interval.elapsed():
                self._watch(connection, since)
            if not self._tell(connection):
                self._stopped.wait(LOOK_S)
        while time.monotonic() < self._deadline and self._tell(connection):
            pass

    def _retire(self, connection: psycopg.Connection) -> None:
        """End the alerts whose rules are gone, as nothing else ever would."""
        rules = {rule.name: rule for rule in self._rules}
        for name, pair in store.firing(connection, self._group):
            rule = rules.get(name)
            if rule is None or (rule.pairs and not rule.covers(pair)):
                store.retire(connection, self._group, name, pair, notify=self._webhook is not None)
                self._log.info("alert_retired", rule=name, pair=pair)

    def _watch(self, connection: psycopg.Connection, since: datetime) -> None:
        """Write which pairs have fallen silent and which speak again."""
        names = [rule.name for rule in self._stale]
        expected_s = FORGOTTEN_S + max(rule.hold for rule in self._stale).total_seconds()
        with connection.transaction(), connection.cursor() as cursor:
            known = outbox.silence(connection, self._group, names, expected_s)
            news, saved = stale_feed.evaluate(self._stale, known, since)
            store.write(cursor, self._group, news, saved, notify=self._webhook is not None)

    def _tell(self, connection: psycopg.Connection) -> bool:
        """Tell the oldest that is not told, if it is due; return whether there may be more to tell."""
        if self._webhook is None:
            return False
        notification = outbox.first(connection, self._group)
        if notification is None or notification.wait_s:
            return False
        try:
            self._webhook.tell(notification)
        except NotDeliveredError as error:
            wait = max(retry.wait_after(notification.attempts + 1), error.retry_after_s)
            outbox.failed(connection, notification, str(error), wait)
            self._log.warning(
                "alert_not_delivered",
                alert=notification.alert_id,
                status=notification.status,
                error=str(error),
                attempts=notification.attempts + 1,
                next_attempt_s=round(wait, 1),
            )
            return False
        outbox.delivered(connection, notification)
        return True


@contextlib.contextmanager
def sending(settings: Settings, options: WorkerOptions) -> Iterator[None]:
    """Within the block, be ready to send what the rules give; raise UserError for a wrong webhook."""
    if not options.rules:
        yield
        return
    webhook = Webhook.configured(settings)
    sender = Sender(settings.postgres(), options.group, options.rules, webhook)
    try:
        yield
    finally:
        sender.close()
