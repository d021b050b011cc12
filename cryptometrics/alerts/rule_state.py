"""How a rule stands for a pair: inactive, pending or firing, and when that changes. Pure.

The states are Prometheus's. A rule whose level is exceeded is pending until it was so for the rule's time,
then it fires; it has resolved when the value is at or below `resolve_below` again.
"""

from __future__ import annotations

import decimal
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple

from cryptometrics.alerts.messages import message

if TYPE_CHECKING:
    from datetime import datetime

    from cryptometrics.alerts.rules import Rule

State = Literal["inactive", "pending", "firing"]

_short = decimal.Context(prec=12)
"""Digits of a value that is stored: it is for people, prices stand elsewhere."""


class Saved(NamedTuple):
    """A standing as it is stored."""

    state: State
    since: datetime | None
    """When the level was first exceeded without a break; None where it is not."""
    resolved_at: datetime | None
    """When the last alert ended: the cooldown runs from there."""
    memory: str | None
    """What else the rule remembers, as JSON."""


@dataclass(frozen=True, slots=True)
class Transition:
    """An alert that begins to fire, or one that has resolved."""

    rule: Rule
    pair: str
    """Or `partition N`, for a rule about rejected ticks."""
    firing: bool
    at: datetime
    """Event time of the tick that made it so; of a stale feed, the wall clock's."""
    since: datetime
    """When the level was first exceeded without a break."""
    value: Decimal | None
    """None where it is not known: a gap of unknown size."""
    partition: int | None
    offset: int | None

    @property
    def message(self) -> str:
        """What has happened, for people."""
        return message(self.rule, self.pair, self.value, firing=self.firing)


class Standing:
    """One rule on one pair."""

    def __init__(self, rule: Rule, pair: str, saved: Saved | None = None) -> None:
        self.rule, self.pair = rule, pair
        self._level, self._resolve_below = rule.level, rule.resolve_below
        self._hold, self._cooldown = rule.hold, rule.cooldown
        self.state: State = saved.state if saved else "inactive"
        self.since = saved.since if saved else None
        self.resolved_at = saved.resolved_at if saved else None

    def see(
        self, at: datetime, value: Decimal, partition: int | None, offset: int | None
    ) -> Transition | None:
        """Judge a value of this moment; return what has changed for those who are told."""
        if self.state == "firing":
            if value > self._resolve_below:
                return None
            return self.resolve(at, value, partition, offset)
        if value <= self._level:
            if self.state == "pending":
                self.state, self.since = "inactive", None
            return None
        if self.state == "inactive":
            self.state, self.since = "pending", at
        assert self.since is not None  # noqa: S101  (pending and firing have one)
        if at - self.since < self._hold or not self.cooled_down(at):
            return None
        return self.fire(at, value, partition, offset)

    def cooled_down(self, at: datetime) -> bool:
        """Whether it may fire again."""
        return self.resolved_at is None or at - self.resolved_at >= self._cooldown

    def fire(
        self, at: datetime, value: Decimal | None, partition: int | None, offset: int | None
    ) -> Transition:
        """Begin to fire, whatever the value is."""
        self.state, self.since = "firing", self.since or at
        return Transition(self.rule, self.pair, True, at, self.since, _shown(value), partition, offset)

    def resolve(
        self, at: datetime, value: Decimal | None, partition: int | None, offset: int | None
    ) -> Transition:
        """End the alert that fires."""
        at = max(at, self.since or at)  # a tick from before the end of a gap ends its alert, too
        since, self.state, self.since, self.resolved_at = self.since or at, "inactive", None, at
        return Transition(self.rule, self.pair, False, at, since, _shown(value), partition, offset)

    def turn_back(self, at: datetime) -> None:
        """Go on at a moment that lies before what was seen."""
        self.since = self.since and min(self.since, at)
        self.resolved_at = self.resolved_at and min(self.resolved_at, at)

    def saved(self, memory: str | None = None) -> Saved:
        """Return it as it is stored."""
        return Saved(self.state, self.since, self.resolved_at, memory)


def _shown(value: Decimal | None) -> Decimal | None:
    return None if value is None else value.normalize(_short)
