"""Ends the alerts of rules that are gone from the rule file: no tick would ever resolve them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics import log
from cryptometrics.alerts.kinds import owner_of
from cryptometrics.store import alerts as store

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

    from cryptometrics.alerts.channels import Recipients
    from cryptometrics.alerts.kinds import Owner
    from cryptometrics.alerts.rules import Rule


def resolve_alerts(
    connection: psycopg.Connection,
    group: str,
    owner: Owner,
    rules: Iterable[Rule],
    recipients: Recipients,
) -> None:
    """Resolve each firing alert of the owner whose rule no longer exists or no longer covers its market.

    Alerts of kinds with another owner are left to that one.
    """
    by_name = {rule.name: rule for rule in rules if rule.owner == owner}
    with connection.transaction():
        for name, kind, market in store.firing(connection, group):
            if owner_of(kind) != owner:
                continue
            rule = by_name.get(name)
            if rule is None or (rule.pairs and not rule.covers(market)):
                store.retire(connection, group, name, market, recipients)
                log.get_logger(group=group).info(
                    "alert_retired", rule=name, venue=market.venue, pair=market.pair
                )
