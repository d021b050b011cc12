"""The texts of a chart: its title, its facts, and the entries of its legends. Pure."""

from __future__ import annotations

import functools
from decimal import Context
from typing import TYPE_CHECKING

from cryptometrics.market.venues import venue_label
from cryptometrics.store.running_extremes import EXTREMES

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from decimal import Decimal

    from cryptometrics.plot.panels import MetricLine
    from cryptometrics.plot.points import RateBars
    from cryptometrics.store.tick_series import Series

MAX_NAME = 40
"""Characters of a session's or group's name in a title."""
WEIGHTED = Context(prec=12)
SHARE = Context(prec=4)
MEAN = Context(prec=6)
"""Digits of quotients, which may have any number of them."""


def title(series: Series) -> str:
    """Return pair, venue and session; of simulated prices it says that they are."""
    return f"{series.market.pair} · {venue_label(series.market.venue)} · {_sessions(series)}"


def facts(series: Series) -> list[str]:
    """Return range, ticks and group."""
    ticks = sum(series.ticks)
    one_day = series.start.date() == series.end.date()
    end = f"{series.end:%H:%M:%S}" if one_day else f"{series.end:%Y-%m-%d %H:%M:%S}"
    until = f" to {end}" if ticks > 1 else ""
    count = f"{ticks:,} tick{'' if ticks == 1 else 's'}"
    count += ", from their minutes" if series.of_minutes else ""
    return [f"{series.start:%Y-%m-%d %H:%M:%S}{until} UTC", count, f"group {shortened(series.group)}"]


def of_quote(series: Series, line: MetricLine) -> str:
    """Return the entry of a quote or a figure that follows from one: its name and last value."""
    text = last_text(series, line.metric)
    if text is None:
        return f"{line.label}: not known"
    name = f"mean {line.label}" if series.of_minutes and line.metric != "mid_price" else line.label
    return f"{name} {text} bps" if line.metric == "spread_bps" else f"{name} {text}"


def last_text(series: Series, metric: str) -> str | None:
    """Return the last value of a metric, exact unless it is a quotient; None if it is not known."""
    value = series.metrics[metric].last[-1]
    if value.is_nan():
        return None
    if metric == "spread_bps":
        return f"{value:,.2f}" if value >= 1 else f"{float(value):.2g}"
    if metric in {"weighted_mid", "imbalance"}:
        value = (SHARE if metric == "imbalance" else WEIGHTED).plus(value).normalize()
    elif series.of_minutes and metric != "mid_price":
        value = MEAN.plus(value).normalize()
    return f"{value:,f}"


def of_band(series: Series) -> str:
    """Return the entry of the band from bid to ask."""
    bid, ask = (last_text(series, metric) for metric in ("bid", "ask"))
    return f"bid {bid} to ask {ask}"


def of_extreme(series: Series, line: MetricLine, *, above: bool, below: bool) -> str:
    """Return the text on the line of an extreme, `session high bid 65,449.83`.

    above, below: whether it is above or below the chart.
    """
    name = f"session {line.label}" if len(series.sessions) == 1 else f"{line.label} of all sessions"
    text = f"{name} {best_of(series, line.metric):,f}"
    if above or below:
        return f"{text}, {'above' if above else 'below'} this chart"
    return text


def best_of(series: Series, metric: str) -> Decimal:
    """Return an extreme of all sessions, and not that of the newest tick."""
    return functools.reduce(EXTREMES[metric].better, series.metrics[metric].last)


def set_at(series: Series, metric: str) -> list[tuple[datetime, Decimal]]:
    """Return time and value of the sessions' extremes that were set within the chart."""
    found = [(getattr(row, f"{metric}_at"), getattr(row, metric)) for row in series.sessions]
    return [(at, value) for at, value in found if series.start <= at <= series.end]


def of_rates(rates: RateBars) -> str:
    """Return the entry of the tick rates."""
    return f"ticks/s, largest {max(rates.rates):.3g}, in bars of {length(rates.width)}"


def shortened(name: str) -> str:
    """Return a name that fits into a title."""
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"


def length(width: timedelta) -> str:
    """Return a length of time with its unit: `2 min`."""
    seconds = width.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _sessions(series: Series) -> str:
    names = [shortened(row.session) for row in reversed(series.sessions)]
    return f"session {names[0]}" if len(names) == 1 else f"{len(names)} sessions, {names[0]} to {names[-1]}"
