"""Stale feeds: the one thing that no tick can tell. Pure: the time is the caller's."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.alerts.rule_state import Saved, Standing, Transition
from cryptometrics.alerts.rules import named_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from cryptometrics.alerts.rules import Rule


class Silence(NamedTuple):
    """What is known at a moment of when the last tick of each pair was stored."""

    now: datetime
    last: Mapping[str, datetime]
    """Pair → when; without those that are silent for so long that nobody expects them any more."""
    saved: Mapping[tuple[str, str], Saved]
    """(rule, pair) → how it stands."""


def judge(
    rules: Iterable[Rule], known: Silence, watched_since: datetime
) -> tuple[list[Transition], dict[tuple[str, str], Saved]]:
    """Return what has changed by silence, or by its end, and how the rules of those pairs stand now.

    watched_since: silence from before is not counted: while no worker ran, nothing could be stored.
    """
    transitions: list[Transition] = []
    changed: dict[tuple[str, str], Saved] = {}
    for rule in rules:
        fires = {pair for (name, pair), s in known.saved.items() if name == rule.name and s.state == "firing"}
        for pair in sorted({p for p in known.last if rule.covers(p)} | named_pairs(rule) | fires):
            standing = Standing(rule, pair, known.saved.get((rule.name, pair)))
            news = _news(standing, known.now, known.last.get(pair), watched_since)
            if news is not None:
                transitions.append(news)
                changed[rule.name, pair] = standing.saved()
    return transitions, changed


def _news(
    standing: Standing, now: datetime, last: datetime | None, watched_since: datetime
) -> Transition | None:
    hold = standing.rule.hold
    if standing.state == "firing":
        if last is None or now - last >= hold:
            return None
        return standing.resolve(now, None, None, None)
    silent_since = watched_since if last is None else max(last, watched_since)
    if now - silent_since < hold or not standing.cooled_down(now):
        return None
    standing.since = silent_since
    seconds = Decimal(round((now - silent_since).total_seconds()))
    return standing.fire(now, seconds, None, None)
