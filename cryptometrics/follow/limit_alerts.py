"""Compare portfolios with their limits, and store alerts in the transaction of the rows that cause them.

Rows that are computed again are not compared again: what was sent is not taken back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.alerts.limit_rules import LimitRules, ObservedLimits
from cryptometrics.market.venues import Market
from cryptometrics.store import alerts, positions
from cryptometrics.store.portfolio_progress import moments
from cryptometrics.times import Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    import psycopg

    from cryptometrics.alerts.channels import Recipients
    from cryptometrics.risk.portfolio.valuation import Valuation
    from cryptometrics.store.portfolio_progress import PortfolioJob

REMOVAL_CHECK_S = 1.0
"""Time between two looks for removed portfolios while no minute becomes complete."""


class LimitAlerts:
    """The limits of one venue's portfolios. Its state is dropped in doubt, and loaded again."""

    def __init__(
        self, connection: psycopg.Connection, group: str, venue: str, recipients: Recipients
    ) -> None:
        """recipients: where alerts are sent."""
        self._connection, self._group, self._venue, self._recipients = connection, group, venue, recipients
        self._loaded: LimitRules | None = None
        self._removal_check = Interval(REMOVAL_CHECK_S)

    def drop(self) -> None:
        """Drop the state."""
        self._loaded = None

    def evaluate(
        self,
        job: PortfolioJob,
        valuations: Mapping[tuple[str, datetime], Valuation],
        is_held: Callable[[str, datetime], bool],
    ) -> None:
        """Compare the new rows of a job, in order, and write what has changed.

        valuations: (portfolio, moment) → its row. is_held: returns whether a portfolio is in force at a
        moment, and priced by this venue; if not, its alerts end.
        """
        rules = self._rules()
        removed = self._end_removed(rules, job.portfolios)
        for as_of in moments(job):
            for name in job.portfolios:
                if name in removed:
                    continue
                portfolio = Market(self._venue, name)
                valuation = valuations.get((name, as_of))
                if valuation is not None:
                    rules.evaluate(_observed(portfolio, valuation))
                elif not is_held(name, as_of):
                    rules.end(portfolio, as_of)
        self._write(rules)

    def end_removed(self) -> None:
        """End the alerts of removed portfolios also if the feed is silent, and no minute becomes complete."""
        if not self._removal_check.elapsed():
            return
        try:
            with self._connection.transaction():
                rules = self._rules()
                if rules.open_portfolios():
                    self._end_removed(rules, ())
                    self._write(rules)
        except BaseException:
            self.drop()  # it may have ended alerts in the transaction that was rolled back
            raise

    def _rules(self) -> LimitRules:
        if self._loaded is None:
            self._loaded = LimitRules(alerts.open_limits(self._connection, self._group, self._venue))
        return self._loaded

    def _end_removed(self, rules: LimitRules, names: Collection[str]) -> set[str]:
        """End the alerts of portfolios that are removed by now; return the names of those, also of `names`.

        Their last minutes, which become complete later, must not fire again.
        """
        opened = {portfolio.pair for portfolio in rules.open_portfolios()}
        removed = positions.removed(self._connection, self._group, self._venue, opened.union(names))
        for name in sorted(removed & opened):
            rules.end(Market(self._venue, name), alerts.now(self._connection))
        return removed

    def _write(self, rules: LimitRules) -> None:
        transitions, changed = rules.take()
        if changed:
            with self._connection.cursor() as cursor:
                alerts.write(cursor, self._group, transitions, changed, self._recipients)


def _observed(portfolio: Market, valuation: Valuation) -> ObservedLimits:
    held = valuation.portfolio
    return ObservedLimits(portfolio, valuation.as_of, held.currency, held.risk.warn_at, valuation.limits)
