"""Alerts and rules in words. Pure."""

from __future__ import annotations

import decimal
from typing import TYPE_CHECKING

from cryptometrics.alerts.kinds import KINDS
from cryptometrics.market.venues import venue_label
from cryptometrics.risk.portfolio.money import percent

if TYPE_CHECKING:
    from datetime import timedelta
    from decimal import Decimal

    from cryptometrics.alerts.meters import Prices
    from cryptometrics.alerts.rules import Rule
    from cryptometrics.market.venues import Market


def message(
    rule: Rule, market: Market, value: Decimal | None, prices: Prices | None = None, *, firing: bool
) -> str:
    """Return an alert in one line, such as `BTC-USD (coinbase): −2.31 % in 1m (64,870 → 63,372), above 2 %`.

    market: or a partition, which has no venue; value: None if it is unknown; prices: what the value compares.
    """
    kind = KINDS[rule.kind]
    words = (kind.firing if firing else kind.resolved).format(
        value="" if value is None else ratio(value),
        fall="" if value is None else ratio(-value, signed=True),
        number="an unknown number of" if value is None else f"{value:,f}",
        change="" if prices is None else ratio(prices.change, signed=True),
        first="" if prices is None else price(prices.first),
        second="" if prices is None else price(prices.second),
        level=figure(rule.level),
        resolve_below=figure(rule.resolve_below),
        within=duration(rule.within),
        hold=f" for {duration(rule.hold)}" if rule.hold else "",
        range=rule.range,
        estimator=rule.estimator,
    )
    return f"{in_words(market)}: {words}"


def unknown(rule: Rule, market: Market, coverage: float, *, firing: bool) -> str:
    """Return in one line that a risk figure cannot be known, or that it is known again."""
    what = f"{in_words(market)}: {rule.kind.removesuffix('_pct').replace('_', ' ')} over {rule.range}"
    if not firing:
        return f"{what} is known again, coverage is {percent(coverage)}"
    if coverage < rule.min_coverage:
        least = percent(float(rule.min_coverage))
        return f"{what} is unknown: coverage is {percent(coverage)}, below {least}"
    return f"{what} is unknown: there are too few returns"


def in_words(market: Market) -> str:
    """Return a market as messages name it, such as `BTC-USD (coinbase)`; of a partition, only its name."""
    return f"{market.pair} ({venue_label(market.venue)})" if market.venue else market.pair


def condition(rule: Rule) -> str:
    """Return when a rule fires, such as `spread_bps above 25 for 10s, resolves at 15`."""
    words = [rule.kind]
    words += [f"above {figure(rule.level)}"] if rule.level or "level" in KINDS[rule.kind].required else []
    words += [f"within {duration(rule.within)}"] if rule.within else []
    words += [f"over {rule.range}"] if rule.range else []
    words += [f"for {duration(rule.hold)}"] if rule.hold else []
    resolves = f", resolves at {figure(rule.resolve_below)}" if rule.resolve_below != rule.level else ""
    return " ".join(words) + resolves


def figure(value: Decimal) -> str:
    """Return a level as the rule file has it, with at most six significant digits."""
    return f"{decimal.Context(prec=6).plus(value).normalize():f}"


def ratio(value: Decimal, *, signed: bool = False) -> str:
    """Return a ratio with at most three significant digits, from 1,000 on without a fraction."""
    digits = max(value.adjusted() + 1, 3)
    rounded = decimal.Context(prec=digits).plus(value).normalize()
    sign = "" if not signed or not rounded else "+" if rounded > 0 else "−"
    return f"{sign}{abs(rounded) if signed else rounded:,f}"


def price(value: Decimal) -> str:
    """Return a price with at most seven significant digits; the exact one is in the ticks."""
    return f"{decimal.Context(prec=7).plus(value).normalize():,f}"


def duration(time: timedelta) -> str:
    """Return a duration as rule files write it: 1h30m."""
    seconds = int(time.total_seconds())
    parts = ((seconds // 3600, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
