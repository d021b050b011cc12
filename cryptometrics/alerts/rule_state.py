"""The state of a rule for a market: inactive, pending or firing, and its transitions. Pure.

The states are Prometheus's. A rule is pending while its level is exceeded, and fires after the time `for`. It
resolves when the value is at or below `resolve_below`.
"""

from __future__ import annotations

import decimal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from cryptometrics.alerts.messages import message

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from cryptometrics.alerts.meters import Prices
    from cryptometrics.alerts.rules import Rule, Severity
    from cryptometrics.market.venues import Market

State = Literal["inactive", "pending", "firing", "unknown"]
"""Only a rule about risk figures or a limit can be `unknown`; see `figure_rules` and `limit_rules`."""

_stored_precision = decimal.Context(prec=12)
"""Digits of a stored value. It is for people; the exact prices are in the ticks."""


class SavedState(NamedTuple):
    """A rule's state as it is stored."""

    state: State
    since: datetime | None
    """When the level was first exceeded without a break; None if it is not exceeded."""
    resolved_at: datetime | None
    """When the last alert resolved, which starts the cooldown."""
    memory: str | None
    """State of the rule's meter, as JSON."""


class AlertSource(Protocol):
    """What an alert takes from its rule: one of the rule file, or the limit of a portfolio."""

    @property
    def name(self) -> str:
        """Its name, unique in its file or portfolio."""

    @property
    def kind(self) -> str:
        """What it measures."""

    @property
    def severity(self) -> Severity:
        """Passed on to people."""

    @property
    def level(self) -> Decimal:
        """The value that it compares with, in the unit of its kind."""


@dataclass(frozen=True, slots=True)
class Transition:
    """An alert that starts to fire, or one that resolves."""

    rule: AlertSource
    market: Market
    """Or a partition (see `evaluator.subject_of`) for a rule about rejected ticks, or a portfolio (see
    `limit_rules.ObservedLimits`)."""
    firing: bool
    at: datetime
    """Event time of the tick that caused it; for a stale feed, the wall clock's."""
    since: datetime
    """When the level was first exceeded without a break."""
    value: Decimal | None
    """None if it is unknown: a gap of unknown size."""
    partition: int | None
    offset: int | None
    message: str
    """The transition in one line, for people."""


class RuleState:
    """The state of one rule for one market."""

    def __init__(self, rule: Rule, market: Market, saved: SavedState | None = None) -> None:
        self.rule, self.market = rule, market
        self._level, self._resolve_below = rule.level, rule.resolve_below
        self._hold, self._cooldown = rule.hold, rule.cooldown
        self.state: State = saved.state if saved else "inactive"
        self.since = saved.since if saved else None
        self.resolved_at = saved.resolved_at if saved else None

    def update(
        self,
        at: datetime,
        value: Decimal,
        partition: int | None,
        offset: int | None,
        prices: Prices | None = None,
    ) -> Transition | None:
        """Apply the value of this moment; return the transition that it causes, if any.

        prices: what the value compares, for the message.
        """
        if self.state == "firing":
            if value > self._resolve_below:
                return None
            return self.resolve(at, value, partition, offset, prices)
        if value <= self._level:
            if self.state == "pending":
                self.state, self.since = "inactive", None
            return None
        if self.state == "inactive":
            self.state, self.since = "pending", at
        assert self.since is not None  # noqa: S101  (pending and firing have one)
        if at - self.since < self._hold or not self.cooled_down(at):
            return None
        return self.fire(at, value, partition, offset, prices)

    def cooled_down(self, at: datetime) -> bool:
        """Return whether the cooldown is over."""
        return self.resolved_at is None or at - self.resolved_at >= self._cooldown

    def fire(
        self,
        at: datetime,
        value: Decimal | None,
        partition: int | None,
        offset: int | None,
        prices: Prices | None = None,
    ) -> Transition:
        """Start to fire, whatever the value is."""
        self.state, self.since = "firing", self.since or at
        return self._transition(self.since, at, value, partition, offset, prices, firing=True)

    def resolve(
        self,
        at: datetime,
        value: Decimal | None,
        partition: int | None,
        offset: int | None,
        prices: Prices | None = None,
    ) -> Transition:
        """Resolve the firing alert."""
        at = max(at, self.since or at)  # a tick older than the end of a gap resolves its alert, too
        since, self.state, self.since, self.resolved_at = self.since or at, "inactive", None, at
        return self._transition(since, at, value, partition, offset, prices, firing=False)

    def rewind(self, at: datetime) -> None:
        """Set the clock back to `at`."""
        self.since = self.since and min(self.since, at)
        self.resolved_at = self.resolved_at and min(self.resolved_at, at)

    def saved(self, memory: str | None = None) -> SavedState:
        """Return the state to store; memory: the meter's."""
        return SavedState(self.state, self.since, self.resolved_at, memory)

    def _transition(
        self,
        since: datetime,
        at: datetime,
        value: Decimal | None,
        partition: int | None,
        offset: int | None,
        prices: Prices | None,
        *,
        firing: bool,
    ) -> Transition:
        rounded = None if value is None else value.normalize(_stored_precision)
        words = message(self.rule, self.market, rounded, prices, firing=firing)
        return Transition(self.rule, self.market, firing, at, since, rounded, partition, offset, words)
