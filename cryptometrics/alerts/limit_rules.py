"""Evaluate the limits of portfolios, minute by minute in event time. Pure.

Each limit is a rule, and the portfolio takes the place of the pair. A rule has at most one open alert: that
the limit warns, that it is breached, or that it is unknown. When the state changes, the open alert resolves
and the next one fires. Both have the same message, which says how it stands now.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.alerts import limit_messages
from cryptometrics.alerts.kinds import LIMIT
from cryptometrics.alerts.rule_state import SavedState, Transition

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from cryptometrics.alerts.rule_state import State
    from cryptometrics.alerts.rules import Severity
    from cryptometrics.market.venues import Market
    from cryptometrics.risk.portfolio.limits import LimitState, LimitUse


class ObservedLimits(NamedTuple):
    """The limits of a portfolio as of the end of a minute."""

    portfolio: Market
    """The venue that prices the portfolio; the portfolio's name takes the place of the pair."""
    as_of: datetime
    currency: str
    warn_at: float
    """The use of a limit from which it warns."""
    uses: Sequence[LimitUse]


@dataclass(frozen=True, slots=True)
class LimitRule:
    """A limit as an alert states it."""

    name: str
    severity: Severity
    level: Decimal
    """The limit, whether it is breached or warns: money, or per cent of gross."""
    kind: str = LIMIT


class LimitRules:
    """Evaluates limits, and collects the changes."""

    def __init__(self, saved: Mapping[tuple[str, Market], SavedState]) -> None:
        """Begin with what is stored: (limit, portfolio) → its state."""
        self._open = {
            (name, portfolio): _OpenAlert.stored(name, state)
            for (name, portfolio), state in saved.items()
            if state.memory is not None
        }
        self._changed: dict[tuple[str, Market], SavedState] = {}
        self._transitions: list[Transition] = []

    def open_portfolios(self) -> set[Market]:
        """Return the portfolios that have an open alert."""
        return {portfolio for _, portfolio in self._open}

    def evaluate(self, observed: ObservedLimits) -> None:
        """Apply the limits of a portfolio; its minutes must come in order.

        Open alerts about limits that the portfolio no longer has resolve.
        """
        for use in observed.uses:
            self._apply(observed, use)
        names = {use.limit.name for use in observed.uses}
        self._end(observed.portfolio, observed.as_of, "the limit was removed", names)

    def end(self, portfolio: Market, at: datetime) -> None:
        """Resolve the open alerts of a portfolio that was removed, or is priced by another venue now."""
        self._end(portfolio, at, "the portfolio was removed, or is priced by another venue now", ())

    def take(self) -> tuple[list[Transition], dict[tuple[str, Market], SavedState]]:
        """Return and clear the changes: transitions, and (limit, portfolio) → its state."""
        transitions, self._transitions = self._transitions, []
        changed, self._changed = self._changed, {}
        return transitions, changed

    def _apply(self, observed: ObservedLimits, use: LimitUse) -> None:
        key = use.limit.name, observed.portfolio
        before = self._open.get(key)
        if use.state == (before.state if before is not None else "ok"):
            return
        at, currency, warn_at = observed.as_of, observed.currency, observed.warn_at
        message = limit_messages.in_words(observed.portfolio.pair, use, currency=currency, warn_at=warn_at)
        value = None if use.value is None else Decimal(repr(use.value))
        if before is not None:
            self._resolve(key, before, at, value, message)
        if use.state != "ok":
            rule = LimitRule(use.limit.name, _severity(use.state, before), use.limit.level)
            self._fire(key, _OpenAlert(use.state, at, rule), value, message)

    def _fire(self, key: tuple[str, Market], opened: _OpenAlert, value: Decimal | None, message: str) -> None:
        self._open[key] = opened
        self._changed[key] = opened.saved()
        at = opened.since
        self._transitions.append(Transition(opened.rule, key[1], True, at, at, value, None, None, message))

    def _resolve(
        self, key: tuple[str, Market], opened: _OpenAlert, at: datetime, value: Decimal | None, message: str
    ) -> None:
        del self._open[key]
        self._changed[key] = SavedState("inactive", None, at, None)
        self._transitions.append(
            Transition(opened.rule, key[1], False, at, opened.since, value, None, None, message)
        )

    def _end(self, portfolio: Market, at: datetime, why: str, kept: Collection[str]) -> None:
        for key in sorted(key for key in self._open if key[1] == portfolio and key[0] not in kept):
            opened = self._open[key]
            message = f"{portfolio.pair} {key[0]}: {why}"
            self._resolve(key, opened, max(at, opened.since), None, message)


class _OpenAlert(NamedTuple):
    """The open alert of a limit."""

    state: LimitState
    since: datetime
    rule: LimitRule

    @classmethod
    def stored(cls, name: str, saved: SavedState) -> _OpenAlert:
        """Return what `saved` stored."""
        assert saved.memory is not None and saved.since is not None  # noqa: S101, PT018  (it is open)
        memory = json.loads(saved.memory)
        rule = LimitRule(name, memory["severity"], Decimal(memory["limit"]))
        return cls(memory["state"], saved.since, rule)

    def saved(self) -> SavedState:
        """Return the state to store."""
        memory = {"state": self.state, "severity": self.rule.severity, "limit": f"{self.rule.level:f}"}
        state: State = "unknown" if self.state == "unknown" else "firing"
        return SavedState(state, self.since, None, json.dumps(memory))


def _severity(state: LimitState, before: _OpenAlert | None) -> Severity:
    """Return the severity of an alert.

    A breach that can no longer be measured stays critical: who is only told of critical alerts must not take
    its end for good news.
    """
    if state == "unknown" and before is not None:
        return before.rule.severity
    return "critical" if state == "breach" else "warning"
