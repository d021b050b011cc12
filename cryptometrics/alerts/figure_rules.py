"""Evaluate rules about risk figures, minute by minute in event time. Pure.

A figure is unknown where too few of its minutes are known, or too few returns. Then the rule's state is
`unknown`, whatever it was before. When this has lasted for the time `for`, an alert says so; an alert about
the figure itself, which nobody can resolve any more, ends with the same words. While a market is younger than
the range, no alert says so: what has not happened yet is not missing.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple

from cryptometrics.alerts import messages
from cryptometrics.alerts.kinds import OnFigures
from cryptometrics.alerts.rule_state import RuleState, SavedState, Transition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from cryptometrics.alerts.rules import Rule
    from cryptometrics.market.venues import Market

Open = Literal["level", "unknown"] | None
"""What the open alert of a rule is about, while its figure is unknown."""


class ObservedFigure(NamedTuple):
    """A figure of a market over a range, as of the end of a minute."""

    market: Market
    range: str
    as_of: datetime
    coverage: float
    values: Mapping[str, float | None]
    """Column of `crypto_risk` → its value, a ratio."""
    is_young: bool = False
    """Whether the market's first minute lies within the range."""


class FigureRules:
    """Evaluates the rules about figures, and collects the changes."""

    def __init__(self, rules: Iterable[Rule], saved: Mapping[tuple[str, Market], SavedState]) -> None:
        """Begin with what is stored: (rule, market) → its state."""
        self._rules = [rule for rule in rules if isinstance(rule.source, OnFigures)]
        self._saved = dict(saved)
        self._states: dict[tuple[str, Market], _FigureState] = {}
        self._transitions: list[Transition] = []

    def evaluate(self, figure: ObservedFigure) -> None:
        """Apply a figure to all rules about it; figures of a market must come in order."""
        for rule in self._rules:
            if rule.range == figure.range and rule.covers(figure.market):
                self._transitions += self._state(rule, figure.market).update(figure)

    def take(self) -> tuple[list[Transition], dict[tuple[str, Market], SavedState]]:
        """Return and clear the changes: transitions, and (rule, market) → its state."""
        transitions, self._transitions = self._transitions, []
        changed = {
            key: saved
            for key, state in self._states.items()
            if (saved := state.saved()) != self._saved.get(key, _NEW)
        }
        self._saved |= changed
        return transitions, changed

    def _state(self, rule: Rule, market: Market) -> _FigureState:
        key = rule.name, market
        if key not in self._states:
            self._states[key] = _FigureState(rule, market, self._saved.get(key))
        return self._states[key]


_NEW = SavedState("inactive", None, None, None)


class _FigureState:
    """The state of one rule for one market."""

    def __init__(self, rule: Rule, market: Market, saved: SavedState | None) -> None:
        self._rule, self._market = rule, market
        self._level = RuleState(rule, market, saved)
        self._open: Open = None
        if saved is not None and saved.state == "unknown" and saved.memory:
            self._open = json.loads(saved.memory)

    def update(self, figure: ObservedFigure) -> list[Transition]:
        value = figure.values[self._rule.figure]
        if value is None or figure.coverage < self._rule.min_coverage:
            return self._miss(figure)
        transitions = self._find_again(figure)
        per_cent = Decimal(repr(float(value))) * 100
        transition = self._level.update(figure.as_of, per_cent, None, None)
        return transitions + ([transition] if transition is not None else [])

    def saved(self) -> SavedState:
        unknown = self._level.state == "unknown"
        return self._level.saved(json.dumps(self._open) if unknown else None)

    def _miss(self, figure: ObservedFigure) -> list[Transition]:
        """Apply a minute in which the figure is unknown."""
        state, at = self._level, figure.as_of
        if state.state != "unknown":
            self._open = "level" if state.state == "firing" else None
            state.state, state.since = "unknown", at
        since = state.since or at
        if self._open == "unknown" or at - since < self._rule.hold or figure.is_young:
            return []
        words = messages.unknown(self._rule, self._market, figure.coverage, firing=True)
        ended = [self._transition(at, since, words, firing=False)] if self._open == "level" else []
        self._open = "unknown"
        return [*ended, self._transition(at, since, words, firing=True)]

    def _find_again(self, figure: ObservedFigure) -> list[Transition]:
        """Leave the state `unknown`, if the rule is in it."""
        state, at = self._level, figure.as_of
        if state.state != "unknown":
            return []
        since, was_open, self._open = state.since or at, self._open, None
        state.state, state.since = ("firing", since) if was_open == "level" else ("inactive", None)
        if was_open != "unknown":
            return []
        words = messages.unknown(self._rule, self._market, figure.coverage, firing=False)
        return [self._transition(at, since, words, firing=False)]

    def _transition(self, at: datetime, since: datetime, words: str, *, firing: bool) -> Transition:
        return Transition(self._rule, self._market, firing, at, since, None, None, None, words)
