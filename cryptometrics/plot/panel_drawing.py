"""Draw one panel: quotes and their extremes, spreads, ticks per second, volume, or risk figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cryptometrics.market.windows import MINUTE
from cryptometrics.plot import labels
from cryptometrics.plot.axes import MARGIN, text_margin, value_axis
from cryptometrics.plot.layout import LEGEND, hatch, last_value, legend, shade
from cryptometrics.plot.panels import BLUE
from cryptometrics.plot.points import DAY, band, day_number, gaps, in_bps, quote_band, steps, tick_rates
from cryptometrics.store.tick_series import BucketValues

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from cryptometrics.plot.panels import MetricLine, Panel
    from cryptometrics.plot.theme import Theme
    from cryptometrics.store.tick_series import Series

MAX_DOTS = 60
"""Up to this many points are drawn as dots, too."""
BAND_ALPHA = 0.4
NAMED_LAST = ("mid_price", "spread_bps", "spread", "weighted_mid", "imbalance", "ask", "bid")
"""The first of them in a panel has its last value on the right axis."""


def draw_panel(axes: Axes, series: Series, panel: Panel, theme: Theme) -> None:
    """Draw the panel of a series, with its legend."""
    base, _, quote = series.market.pair.partition("-")
    axes.set_ylabel(panel.label.format(base=base, quote=quote))
    if panel.is_volume:
        handles = _draw_volume(axes, series, panel, theme)
    elif panel.is_risk:
        handles = _draw_risk(axes, series, panel, theme)
    elif panel.is_rate:
        handles = _draw_rates(axes, series, panel, theme)
    else:
        handles = _draw_metrics(axes, series, panel, theme)
    legend(axes, [*handles, *shade(axes, gaps(series), theme), *hatch(axes, series.doubtful)])


def _draw_metrics(axes: Axes, series: Series, panel: Panel, theme: Theme) -> list[Artist]:
    low, high = _limits(series, panel)
    extremes = [line for line in panel.lines if line.is_extreme]
    value_axis(axes, low, high, from_zero=panel.from_zero, margin=text_margin(axes) if extremes else MARGIN)
    handles: list[Artist] = []
    quotes = [line for line in panel.lines if not line.is_extreme]
    if {"bid", "ask", "mid_price"} <= {line.metric for line in quotes}:
        handles.append(_draw_quote_band(axes, series, theme))
        quotes = [line for line in quotes if line.metric not in ("bid", "ask")]
        has_band = False
    else:
        has_band = _has_band(series)
    for line in quotes:
        handles.append(_draw_quote(axes, series, line, theme, with_band=has_band))
        handles[-1].set_label(labels.of_quote(series, line))
    if has_band and quotes:
        handles.append(
            Patch(color=theme.muted, alpha=BAND_ALPHA, label=f"range within {labels.length(series.width)}")
        )
    for line in extremes:
        _draw_extreme(axes, series, line, theme)
    _write_extremes(axes, series, extremes, theme)
    if any(line.metric in ("spread", "spread_bps") for line in quotes) and any(series.locked):
        handles.append(_draw_locked(axes, series, theme))
    _write_last(axes, series, quotes, theme)
    return handles


def _draw_quote_band(axes: Axes, series: Series, theme: Theme) -> Patch:
    """Draw the band from bid to ask; a few ticks have a bar each, which is visible without a width."""
    colour = theme.line(BLUE)
    label = labels.of_band(series)
    if _has_band(series):
        label += f", range within {labels.length(series.width)}"
    # Without the edge, the spike of one bucket could be thinner than a pixel.
    times, low, high = quote_band(series)
    axes.fill_between(times, low, high, step="post", color=colour, alpha=BAND_ALPHA, linewidth=0.5)
    if len(series.ticks) <= MAX_DOTS:
        bids, asks = ([float(value) for value in series.metrics[name].last] for name in ("bid", "ask"))
        axes.vlines([day_number(at) for at in series.last_at], bids, asks, colour, linewidth=1.5, alpha=0.7)
    return Patch(color=colour, alpha=BAND_ALPHA, label=label)


def _draw_quote(axes: Axes, series: Series, line: MetricLine, theme: Theme, *, with_band: bool) -> Line2D:
    values, colour = series.metrics[line.metric], theme.line(line.colour)
    if with_band:
        axes.fill_between(*band(series, values), step="post", color=colour, alpha=BAND_ALPHA, linewidth=0.5)
    look: dict[str, Any] = {
        "color": colour,
        "linewidth": line.width,
        "zorder": 3 - line.width,  # the thin line on top
        "marker": "." if len(series.ticks) <= MAX_DOTS else "",
    }
    axes.plot(*steps(series, values), drawstyle="steps-post", label=line.label, **look)
    return Line2D([], [], **(look | {"linewidth": 1.2}))


def _write_last(axes: Axes, series: Series, quotes: Sequence[MetricLine], theme: Theme) -> None:
    """Write the last value of the panel's main line on the right axis."""
    by_metric = {line.metric: line for line in quotes}
    metric = next((name for name in NAMED_LAST if name in by_metric), None)
    if metric is None or (text := labels.last_text(series, metric)) is None:
        return
    value = float(series.metrics[metric].last[-1])
    last_value(axes, value, text, theme.line(by_metric[metric].colour), theme)


def _draw_extreme(axes: Axes, series: Series, line: MetricLine, theme: Theme) -> None:
    colour = theme.line(line.colour)
    values = BucketValues.of_extreme(_extreme_values(series, line))
    axes.plot(
        *steps(series, values, series.session_starts),
        drawstyle="steps-post",
        label=line.label,
        color=colour,
        linestyle="--",
        linewidth=line.width,
    )
    if marks := _marks(series, line):
        axes.plot(
            [time for time, _ in marks],
            [value for _, value in marks],
            linestyle="",
            marker=line.marker,
            zorder=4,  # above every line
            color=colour,
            markersize=6,
            # With few points, a filled mark would hide the quote.
            fillstyle="none" if len(series.ticks) <= MAX_DOTS else "full",
        )


def _write_extremes(axes: Axes, series: Series, extremes: Sequence[MetricLine], theme: Theme) -> None:
    """Write each extreme on its line: outside of the others, at its mark, or at the edge it is beyond."""
    low, high = axes.get_ylim()
    best = {line.metric: _drawn_best(series, line) for line in extremes}
    middle = sum(best.values()) / len(best) if best else 0.0
    for line in extremes:
        value = best[line.metric]
        above, below = value > high, value < low
        is_up = above or (not below and (value >= middle if len(best) > 1 else line.metric != "lowest_ask"))
        marks = [time for time, marked in _marks(series, line) if marked == value]
        if above or below or not marks:
            x, is_right = 1.0, True
        else:
            left, right = axes.get_xlim()
            x = (marks[0] - left) / (right - left)
            is_right = x > 0.5
        axes.annotate(
            labels.of_extreme(series, line, above=above, below=below),
            (x, min(max(value, low), high)),
            (-7 if is_right else 7, -4 if above else 4 if is_up or below else -4),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right" if is_right else "left",
            va="top" if above else "bottom" if is_up or below else "top",
            color=theme.line(line.colour),
            fontproperties=LEGEND,
            zorder=5,
        ).set_in_layout(False)  # it is within the panel


def _extreme_values(series: Series, line: MetricLine) -> list[Any]:
    values = series.metrics[line.metric].last
    return in_bps(series, values) if line.in_bps else values


def _drawn_best(series: Series, line: MetricLine) -> float:
    """Return where the extreme of all sessions is drawn."""
    values = series.metrics[line.metric].last
    return float(_extreme_values(series, line)[values.index(labels.best_of(series, line.metric))])


def _marks(series: Series, line: MetricLine) -> list[tuple[float, float]]:
    """Return where the extremes of sessions were set within the chart."""
    values, drawn = series.metrics[line.metric].last, _extreme_values(series, line)
    return [
        (day_number(at), float(drawn[values.index(value)] if value in values else value))
        for at, value in labels.set_at(series, line.metric)
    ]


def _draw_rates(axes: Axes, series: Series, panel: Panel, theme: Theme) -> list[Artist]:
    rates, (line,) = tick_rates(series), panel.lines
    value_axis(axes, 0.0, max(rates.rates), from_zero=True)
    colour = theme.line(line.colour)
    lefts = [day_number(start) for start in rates.starts]
    _draw_bars(axes, lefts, rates.rates, rates.width / DAY, color=colour, alpha=0.6)
    return [Patch(color=colour, alpha=0.6, label=labels.of_rates(rates))]


def _draw_bars(
    axes: Axes, starts: Sequence[float], heights: Sequence[float], width: float, **look: Any
) -> None:
    """Draw bars from their left edges on, as one artist: a hundred would take a seventh of a chart's time."""
    corners = [
        ((start, 0.0), (start, height), (start + width, height), (start + width, 0.0))
        for start, height in zip(starts, heights, strict=True)
    ]
    bars = PolyCollection(corners, linewidth=0, **look)
    bars.set_snap(True)  # to whole dots, so that no light line shows between neighbours
    axes.add_collection(bars, autolim=False)
    if corners:
        axes.update_datalim([corners[0][0], *(corner[2] for corner in corners)])


def _draw_volume(axes: Axes, series: Series, panel: Panel, theme: Theme) -> list[Artist]:
    assert series.volume is not None  # noqa: S101  (it was asked for)
    width, starts, values = series.volume
    known = [(start, value) for start, value in zip(starts, values, strict=True) if not value.is_nan()]
    value_axis(axes, 0.0, float(max((value for _, value in known), default=1)), from_zero=True)
    (line,) = panel.lines
    lefts, heights = [day_number(start) for start, _ in known], [float(value) for _, value in known]
    _draw_bars(axes, lefts, heights, width / DAY, color=theme.line(line.colour))
    total = sum(value for _, value in known)
    label = f"{line.label} {total:,f} in bars of {labels.length(width)}" if known else "volume: not known"
    if known and len(known) < len(values):
        label += f", not known in {len(values) - len(known):,} of {len(values):,}"
    return [Patch(color=theme.line(line.colour), label=label)]


def _draw_risk(axes: Axes, series: Series, panel: Panel, theme: Theme) -> list[Artist]:
    assert series.risk is not None  # noqa: S101  (it was asked for)
    curves, (line,) = series.risk, panel.lines
    values = [100 * value for value in curves.values[line.metric]]
    times = [day_number(at) for at in curves.as_of]
    known = [value for value in values if not math.isnan(value)]
    value_axis(axes, 0.0, max(known, default=1.0), from_zero=True)
    label = line.label
    if known and values[-1] == known[-1]:
        label += f" {values[-1]:.3g} %"
        last_value(axes, values[-1], f"{values[-1]:.3g} %", theme.line(line.colour), theme)
    label += " over the 24 h before" if known else ": not known"
    if known and curves.width > MINUTE:
        label += f", largest within {labels.length(curves.width)}"
    for number in reversed(curves.after_pauses()):
        times.insert(number, times[number])
        values.insert(number, math.nan)
    look: dict[str, Any] = {"color": theme.line(line.colour), "linewidth": 1.2}
    axes.plot(times, values, marker="." if len(known) <= MAX_DOTS else "", **look)
    return [Line2D([], [], label=label, **look)]


def _draw_locked(axes: Axes, series: Series, theme: Theme) -> Line2D:
    times = [day_number(at) for at, locked in zip(series.first_at, series.locked, strict=True) if locked]
    look: dict[str, Any] = {"linestyle": "", "marker": "|", "color": theme.foreground, "markersize": 5}
    axes.plot(times, [0.0] * len(times), **look)
    return Line2D([], [], label=f"locked (bid = ask): {sum(series.locked):,}", **look)


def _has_band(series: Series) -> bool:
    """Return whether a bucket has several values of a quote."""
    return max(series.ticks) > 1


def _limits(series: Series, panel: Panel) -> tuple[float, float]:
    """Return the limits of the quotes and of the extremes set in the chart.

    An extreme set long before must not flatten the quotes.
    """
    lines = [line for line in panel.lines if not line.is_extreme]
    every = [value for line in lines for values in series.metrics[line.metric][:2] for value in values]
    every += [] if lines else [value for line in panel.lines for value in _extreme_values(series, line)]
    drawn = [float(value) for value in every if not value.is_nan()]
    drawn += [value for line in panel.lines if line.is_extreme for _, value in _marks(series, line)]
    low, high = min(drawn, default=0.0), max(drawn, default=1.0)
    return low, high if panel.top is None else panel.top
