"""Keep `crypto_risk` and `portfolio_risk` current, as the one active follower of the group.

Wait to become that, then compute what is complete. Every doubt ends in the same way:
drop what is in memory, connect again, ask the database how far it is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg

from cryptometrics import log, retry
from cryptometrics.follow.figure_alerts import FigureAlerts, RuleSettings
from cryptometrics.follow.limit_alerts import LimitAlerts
from cryptometrics.follow.portfolio_figures import PortfolioFigures
from cryptometrics.follow.venue_figures import VenueFigures
from cryptometrics.notify import removed_rules
from cryptometrics.store import follower_lock, latest_risk, risk_rows
from cryptometrics.store.connection import connect_once
from cryptometrics.store.database_errors import is_transient
from cryptometrics.times import Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptometrics.config import Settings
    from cryptometrics.market.venues import Market
    from cryptometrics.store.latest_risk import LatestRisk

POLL_S = 0.25
"""Time between two looks for complete or changed minutes."""
STANDBY_S = 0.25
"""Time between two attempts of a standby to become the active follower."""
ALIVE_S = 0.2
"""Time between two statements while figures are computed, so that no standby takes the holder for stalled."""
# The session of a follower whose machine is gone ends by itself, too.
_LIMITS = (
    "SET statement_timeout = '30s'; SET lock_timeout = '10s'; "
    "SET idle_session_timeout = '60s'; SET idle_in_transaction_session_timeout = '60s'"
)


@dataclass(frozen=True)
class FollowOptions:
    """What to follow."""

    group: str
    venue: str | None
    """None for all venues of the group."""
    catch_up: timedelta
    alerts: RuleSettings


@dataclass
class FollowTotals:
    """What a follower has done so far."""

    active: bool = False
    rows: int = 0
    portfolio_rows: int = 0
    behind: timedelta = field(default_factory=timedelta)
    """The most that a venue's figures are behind its complete minutes."""
    newest: Mapping[Market, LatestRisk] = field(default_factory=dict)
    """The newest figures of each market over 24 hours, once they are up to date."""


class RiskFollower:
    """Follows the minutes of a group until it is stopped."""

    def __init__(
        self,
        settings: Settings,
        options: FollowOptions,
        *,
        stop: Callable[[], bool],
        progress: Callable[[FollowTotals], None],
        notice: Callable[[BaseException, float], None],
    ) -> None:
        """progress: called several times a second. notice: called with each error that is retried."""
        self._settings, self._options = settings, options
        self._stop, self._progress, self._notice = stop, progress, notice
        self._failures = 0
        self._log = log.get_logger(group=options.group)
        self.totals = FollowTotals()

    def run(self) -> FollowTotals:
        """Follow until `stop` returns True; a transaction in hand is finished."""
        while not self._stop():
            try:
                with connect_once(self._settings.postgres()) as connection:
                    connection.execute(_LIMITS)
                    if self._become_active(connection):
                        self._work(connection)
            except psycopg.Error as error:
                if not is_transient(error):
                    raise
                self._failures += 1
                wait = retry.wait_after(self._failures)
                self._notice(error, wait)
                self._wait(wait)
            finally:
                self.totals.active = False
        return self.totals

    def _become_active(self, connection: psycopg.Connection) -> bool:
        """Wait for the group's lock; return False if stopped before."""
        while not self._stop():
            if follower_lock.take(connection, self._options.group):
                self.totals.active = True
                self._log.info("follower_active")
                self._end_removed_rules(connection)
                return True
            follower_lock.end_stalled(connection, self._options.group)
            self._wait(STANDBY_S)
        return False

    def _end_removed_rules(self, connection: psycopg.Connection) -> None:
        """End the alerts of rules that are gone; without any rules, nothing is known of them."""
        alerts = self._options.alerts
        if alerts.rules:
            removed_rules.resolve_alerts(
                connection, self._options.group, "risk", alerts.rules, alerts.recipients
            )

    def _work(self, connection: psycopg.Connection) -> None:
        """Compute what is complete until stopped."""
        alive = Interval(ALIVE_S)

        def stay_alive() -> None:
            if alive.elapsed():
                connection.execute("SELECT")
                self._progress(self.totals)

        figures: dict[str, VenueFigures] = {}
        portfolios: dict[str, PortfolioFigures] = {}
        options, is_new = self._options, True
        while not self._stop():
            states = risk_rows.venues(connection, options.group, options.venue)
            rows = minutes = 0
            for state in states:
                if state.venue not in figures:
                    alerts = FigureAlerts(connection, options.group, state.venue, options.alerts)
                    figures[state.venue] = VenueFigures(
                        connection, options.group, state.venue, options.catch_up, alerts, stay_alive
                    )
                    portfolios[state.venue] = self._portfolios(connection, state.venue, stay_alive)
                if state.has_changes:
                    portfolios[state.venue].minutes_changed()
                rows += figures[state.venue].step(state)
                minutes += portfolios[state.venue].step(with_stale=not state.has_changes)
                if self._stop():
                    break
            self._failures = 0
            self.totals.rows += rows
            self.totals.portfolio_rows = sum(venue.rows for venue in portfolios.values())
            self.totals.behind = max((venue.behind for venue in figures.values()), default=timedelta())
            if not self.totals.behind and (rows or is_new):
                self.totals.newest = latest_risk.risk_of_group(connection, options.group, options.venue)
                is_new = False
            self._progress(self.totals)
            if not (rows or minutes):
                self._wait(POLL_S)

    def _portfolios(
        self, connection: psycopg.Connection, venue: str, alive: Callable[[], None]
    ) -> PortfolioFigures:
        options = self._options
        limits = None
        if options.alerts.limits:
            limits = LimitAlerts(connection, options.group, venue, options.alerts.recipients)
        return PortfolioFigures(connection, options.group, venue, options.catch_up, alive, limits)

    def _wait(self, seconds: float) -> None:
        """Sleep, but no longer than until stopped."""
        end = time.monotonic() + seconds
        while not self._stop() and (left := end - time.monotonic()) > 0:
            self._progress(self.totals)
            time.sleep(min(left, POLL_S))
