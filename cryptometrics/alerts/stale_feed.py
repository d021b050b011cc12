"""Evaluate rules about stale feeds, which no tick can trigger. Pure: the caller passes the time."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.alerts.rule_state import RuleState, SavedState, Transition
from cryptometrics.alerts.rules import named_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from cryptometrics.alerts.rules import Rule


class LastTicks(NamedTuple):
    """When the last tick of each pair was stored, as of one moment."""

    now: datetime
    last: Mapping[str, datetime]
    """Pair → time; without pairs that have been silent for so long that no tick is expected."""
    saved: Mapping[tuple[str, str], SavedState]
    """(rule, pair) → its state."""


def evaluate(
    rules: Iterable[Rule], known: LastTicks, watched_since: datetime
) -> tuple[list[Transition], dict[tuple[str, str], SavedState]]:
    """Return the transitions that silence, or its end, causes, and the changed states.

    watched_since: earlier silence does not count, because while no worker ran, nothing could be stored.
    """
    transitions: list[Transition] = []
    changed: dict[tuple[str, str], SavedState] = {}
    for rule in rules:
        fires = {pair for (name, pair), s in known.saved.items() if name == rule.name and s.state == "firing"}
        for pair in sorted({p for p in known.last if rule.covers(p)} | named_pairs(rule) | fires):
            state = RuleState(rule, pair, known.saved.get((rule.name, pair)))
            transition = _transition(state, known.now, known.last.get(pair), watched_since)
            if transition is not None:
                transitions.append(transition)
                changed[rule.name, pair] = state.saved()
    return transitions, changed


def _transition(
    state: RuleState, now: datetime, last: datetime | None, watched_since: datetime
) -> Transition | None:
    hold = state.rule.hold
    if state.state == "firing":
        if last is None or now - last >= hold:
            return None
        return state.resolve(now, None, None, None)
    silent_since = watched_since if last is None else max(last, watched_since)
    if now - silent_since < hold or not state.cooled_down(now):
        return None
    state.since = silent_since
    seconds = Decimal(round((now - silent_since).total_seconds()))
    return state.fire(now, seconds, None, None)
