"""Fires and resolves the alerts about stale feeds, which no tick can trigger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.alerts import stale_feed
from cryptometrics.alerts.kinds import OnSilence
from cryptometrics.store import alerts as store

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    import psycopg

    from cryptometrics.alerts.channels import Recipients
    from cryptometrics.alerts.rules import Rule

EXPECTED_S = 7 * 24 * 3600.0
"""How long after its rule has fired a silent pair is still expected; a pair that a rule names always is."""


class StaleFeedCheck:
    """Evaluates a group's rules about stale feeds against the stored ticks."""

    def __init__(self, group: str, rules: Iterable[Rule], recipients: Recipients) -> None:
        """recipients: where transitions are sent."""
        self._group = group
        self._recipients = recipients
        self._rules = [rule for rule in rules if isinstance(rule.source, OnSilence)]

    def run(self, connection: psycopg.Connection, watched_since: datetime) -> None:
        """Store the transitions since the last run; silence before `watched_since` does not count."""
        if not self._rules:
            return
        names = [rule.name for rule in self._rules]
        expected_s = EXPECTED_S + max(rule.hold for rule in self._rules).total_seconds()
        with connection.transaction(), connection.cursor() as cursor:
            known = store.last_ticks(connection, self._group, names, expected_s)
            transitions, states = stale_feed.evaluate(self._rules, known, watched_since)
            store.write(cursor, self._group, transitions, states, self._recipients)
