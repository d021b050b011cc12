"""Alerts and rules in words. Pure."""

from __future__ import annotations

import decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta
    from decimal import Decimal

    from cryptometrics.alerts.rules import Rule

_SAYS = {
    "spread_bps": "spread is {value} bps",
    "mid_move_pct": "mid price moved by {value} % within {within}",
    "session_high_pct": "bid is {value} % above the session's high",
    "session_low_pct": "ask is {value} % below the session's low",
    "rejected_pct": "{value} % of the ticks rejected within {within}",
}


def message(rule: Rule, pair: str, value: Decimal | None, *, firing: bool) -> str:
    """Return what has happened in one line, such as `BTC-USD: spread is 31.2 bps, above 25 for 10s`.

    pair: or `partition N`; value: None where it is not known.
    """
    number = "an unknown number of" if value is None else figure(value)
    if rule.kind in ("stale", "gap"):
        news = f"no tick for {number} s" if rule.kind == "stale" else f"the feed missed {number} trades"
        return f"{pair}: {news if firing else 'ticks come again'}"
    says = _SAYS[rule.kind].format(value=number, within=length(rule.within))
    if not firing:
        return f"{pair}: {says}, not above {figure(rule.resolve_below)}"
    return f"{pair}: {says}, above {figure(rule.level)}" + (f" for {length(rule.hold)}" if rule.hold else "")


def condition(rule: Rule) -> str:
    """Return when a rule fires, such as `spread_bps above 25 for 10s, resolves at 15`."""
    words: list[str] = [rule.kind]
    if rule.kind not in ("stale", "gap") or rule.level:
        words.append(f"above {figure(rule.level)}")
    words += [f"within {length(rule.within)}"] if rule.within else []
    words += [f"for {length(rule.hold)}"] if rule.hold else []
    resolves = f", resolves at {figure(rule.resolve_below)}" if rule.resolve_below != rule.level else ""
    return " ".join(words) + resolves


def figure(value: Decimal) -> str:
    """Return a value with at most six digits that count."""
    return f"{decimal.Context(prec=6).plus(value).normalize():f}"


def length(time: timedelta) -> str:
    """Return a time as the rules have it: 1h30m."""
    seconds = int(time.total_seconds())
    parts = ((seconds // 3600, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
