"""The chart of a portfolio: its value, profit and loss with the value at risk, and its drawdown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import matplotlib.style
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cryptometrics.market.venues import venue_label
from cryptometrics.plot.axes import time_axis, value_axis
from cryptometrics.plot.labels import shortened
from cryptometrics.plot.layout import grid, header, is_wide, legend
from cryptometrics.plot.panel_drawing import MAX_DOTS
from cryptometrics.plot.panels import BLACK, BLUE, GREEN, VERMILLION
from cryptometrics.plot.points import day_number
from cryptometrics.plot.theme import LIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cryptometrics.plot.theme import Theme
    from cryptometrics.store.portfolio_history import PortfolioHistory

HEIGHTS = (1.0, 1.4, 1.0)
"""Of the panels, relative to each other."""
BAND_ALPHA = 0.2
MAX_NAMED = 4
"""Breached limits that the legend names."""


def draw(
    figure: Figure, history: PortfolioHistory, theme: Theme = LIGHT, size: tuple[int, int] | None = None
) -> None:
    """Draw a portfolio on the empty `figure`, and set its size.

    size: width and height in dots, instead of what suits the panels.
    """
    with matplotlib.style.context(theme.style):
        (block,) = grid(figure, 1, 1.4 + 1.8 * sum(HEIGHTS), theme, size)
        panels = list(block.subplots(3, sharex=True, squeeze=False, height_ratios=HEIGHTS)[:, 0])
        value, gain, drawdown = panels
        handles: list[Artist] = [_line(value, history, history.value, "value", theme.line(BLACK))]
        value_axis(value, *_limits(history.value), from_zero=False)
        value.set_ylabel(f"value ({history.currency})")
        _draw_gain(gain, history, theme)
        line = _line(drawdown, history, history.drawdown, "drawdown", theme.line(BLUE))
        value_axis(drawdown, 0.0, _limits(history.drawdown)[1], from_zero=True)
        drawdown.set_ylabel(f"drawdown ({history.currency})")
        legend(drawdown, [line])
        handles += _mark_breaches(panels, history, theme)
        legend(value, handles)
        title = f"{history.name} · {venue_label(history.venue)} · {_versions(history.versions)}"
        header(
            block,
            panels,
            title,
            [
                f"{history.start:%Y-%m-%d %H:%M} to {history.end:%Y-%m-%d %H:%M} UTC",
                f"{history.rows:,} row{'' if history.rows == 1 else 's'}",
                f"group {shortened(history.group)}",
            ],
            theme,
        )
        time_axis(panels[-1], history.start, history.end, wide=is_wide(block))
        block.align_ylabels(panels)


def _draw_gain(axes: Axes, history: PortfolioHistory, theme: Theme) -> None:
    """Draw profit and loss, and below it the band that it leaves with a loss above the value at risk."""
    gains, loss = history.profit_and_loss, theme.line(VERMILLION)
    worst = [gain - at_risk for gain, at_risk in zip(gains, history.value_at_risk, strict=True)]
    handles: list[Artist] = [_line(axes, history, gains, "profit and loss", theme.line(GREEN))]
    if _known(worst):
        times, low = _with_pauses(history, worst)
        _, high = _with_pauses(history, gains)
        axes.fill_between(times, low, high, color=loss, alpha=BAND_ALPHA, linewidth=0.5)
        at_risk = history.value_at_risk[-1]
        label = "value at risk" if math.isnan(at_risk) else f"value at risk {at_risk:,.2f}"
        handles.append(Patch(color=loss, alpha=BAND_ALPHA, label=label))
    elif _known(gains):
        handles.append(Patch(color=loss, alpha=BAND_ALPHA, label="value at risk: not known"))
    low_limit, high_limit = _limits([*gains, *worst])
    value_axis(axes, low_limit, high_limit, from_zero=False)
    if low_limit < 0 < high_limit:
        axes.axhline(0, color=theme.muted, linewidth=0.6)
    axes.set_ylabel(f"profit and loss ({history.currency})")
    legend(axes, handles)


def _line(axes: Axes, history: PortfolioHistory, values: Sequence[float], label: str, colour: str) -> Line2D:
    """Draw a figure over time, broken where rows are missing; return its handle, with the newest value."""
    look: dict[str, Any] = {"color": colour, "linewidth": 1.2}
    marker = "." if len(values) <= MAX_DOTS else ""
    axes.plot(*_with_pauses(history, values), marker=marker, **look)
    if not _known(values):
        label += ": not known"
    elif not math.isnan(values[-1]):
        label += f" {values[-1]:,.2f}"
    return Line2D([], [], label=label, **look)


def _mark_breaches(panels: Sequence[Axes], history: PortfolioHistory, theme: Theme) -> list[Line2D]:
    """Mark the rows with a breached limit at the top of each panel; return the handle, if any."""
    if not history.breaches:
        return []
    colour = theme.line(VERMILLION)
    look: dict[str, Any] = {"linestyle": "", "marker": "|", "color": colour, "markersize": 9}
    times = [day_number(breach.as_of) for breach in history.breaches]
    for axes in panels:
        axes.plot(times, [0.97] * len(times), transform=axes.get_xaxis_transform(), **look)
    names = sorted({limit.removeprefix("limit.") for breach in history.breaches for limit in breach.limits})
    named = names[:MAX_NAMED] + ([f"and {len(names) - MAX_NAMED} more"] if len(names) > MAX_NAMED else [])
    count = len(history.breaches)
    label = f"limit breached: {count:,} row{'' if count == 1 else 's'}\n" + "\n".join(named)
    return [Line2D([], [], label=label, **look)]


def _with_pauses(history: PortfolioHistory, values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the points of a line; NaN breaks it where rows are missing."""
    times, points = [day_number(at) for at in history.as_of], list(values)
    for number in reversed(history.after_pauses()):
        times.insert(number, times[number])
        points.insert(number, math.nan)
    return times, points


def _limits(values: Sequence[float]) -> tuple[float, float]:
    known = _known(values)
    return min(known, default=0.0), max(known, default=1.0)


def _known(values: Sequence[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _versions(versions: tuple[int, int]) -> str:
    first, last = versions
    return f"version {first}" if first == last else f"versions {first} to {last}"
