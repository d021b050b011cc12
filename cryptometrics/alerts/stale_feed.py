"""Evaluate rules about stale feeds, which no tick can trigger. Pure: the caller passes the time."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.alerts.rule_state import RuleState, SavedState, Transition
from cryptometrics.alerts.rules import named_pairs, named_venues
from cryptometrics.market.venues import DEFAULT_VENUE, Market

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from cryptometrics.alerts.rules import Rule


class LastTicks(NamedTuple):
    """When the last tick of each market was stored, as of one moment."""

    now: datetime
    last: Mapping[Market, datetime]
    """Market → time; without markets that have been silent for so long that no tick is expected."""
    saved: Mapping[tuple[str, Market], SavedState]
    """(rule, market) → its state."""


def evaluate(
    rules: Iterable[Rule], known: LastTicks, watched_since: datetime
) -> tuple[list[Transition], dict[tuple[str, Market], SavedState]]:
    """Return the transitions that silence, or its end, causes, and the changed states.

    watched_since: earlier silence does not count, because while no worker ran, nothing could be stored.
    """
    transitions: list[Transition] = []
    changed: dict[tuple[str, Market], SavedState] = {}
    for rule in rules:
        heard = {market for market in known.last if rule.covers(market)}
        fires = {
            market for (name, market), s in known.saved.items() if name == rule.name and s.state == "firing"
        }
        for market in sorted(heard | _expected(rule, heard | fires) | fires):
            state = RuleState(rule, market, known.saved.get((rule.name, market)))
            transition = _transition(state, known.now, _last_tick(rule, market, known), watched_since)
            if transition is not None:
                transitions.append(transition)
                changed[rule.name, market] = state.saved()
    return transitions, changed


def _expected(rule: Rule, known: Collection[Market]) -> set[Market]:
    """Return the markets that a rule names in full, which are expected even if they never had a tick.

    A pair without a venue is expected where it is known, and at the default venue if it is known nowhere.
    """
    venues, pairs = named_venues(rule), named_pairs(rule)
    if not venues:
        venues, pairs = {DEFAULT_VENUE}, pairs - {market.pair for market in known}
    return {market for venue in venues for pair in pairs if rule.covers(market := Market(venue, pair))}


def _last_tick(rule: Rule, market: Market, known: LastTicks) -> datetime | None:
    """Return when the last tick of a market was stored, None if it had none.

    A market that was only expected, because its rule names the pair and no venue, has the pair's last tick
    at any venue.
    """
    if market in known.last or market.pair not in named_pairs(rule) or named_venues(rule):
        return known.last.get(market)
    ticks = [at for other, at in known.last.items() if other.pair == market.pair and rule.covers(other)]
    return max(ticks) if ticks and market.venue == DEFAULT_VENUE else None


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
