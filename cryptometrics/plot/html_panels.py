"""Draw the panels of a page: what `panel_drawing` and `candles` draw, with exact values under the pointer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, LinearAxis
from bokeh.models.annotations import BoxAnnotation, Label, Legend, LegendItem

from cryptometrics.plot import labels
from cryptometrics.plot.candles import RISES, is_rising, middle, silences, widths
from cryptometrics.plot.layout import DOUBT
from cryptometrics.plot.panels import BLUE, GREEN, PURPLE, VERMILLION
from cryptometrics.plot.points import band, gaps, in_bps, quote_band, steps, tick_rates
from cryptometrics.store.tick_series import BucketValues
from cryptometrics.times import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime, timedelta
    from decimal import Decimal

    from bokeh.plotting import figure as Figure  # noqa: N812  (it is a class)

    from cryptometrics.plot.panels import MetricLine, Panel
    from cryptometrics.plot.theme import Theme
    from cryptometrics.store.candles import Candle, Candles
    from cryptometrics.store.tick_series import Series

DAY_MS = 86_400_000.0
BAND_ALPHA = 0.35
EXACT = ("bid", "ask", "mid_price", "spread", "spread_bps", "highest_bid", "lowest_ask", "max_spread")
"""Metrics under the pointer, in this order, if they are loaded."""


def milliseconds(moment: datetime) -> float:
    """Return a moment as the browser counts time."""
    return (moment - EPOCH).total_seconds() * 1000


def draw_panel(plot: Figure, series: Series, panel: Panel, theme: Theme) -> None:
    """Draw one panel of a pair on an empty plot."""
    entries: list[tuple[str, list[Any]]]
    if panel.is_volume:
        entries = _draw_volume(plot, series, panel, theme)
    elif panel.is_risk:
        entries = _draw_risk(plot, series, panel, theme)
    elif panel.is_rate:
        entries = _draw_rates(plot, series, panel, theme)
    else:
        entries = _draw_metrics(plot, series, panel, theme)
    _spans(plot, gaps(series), series.doubtful, theme)
    _legend(plot, entries, theme)


def _draw_metrics(plot: Figure, series: Series, panel: Panel, theme: Theme) -> list[tuple[str, list[Any]]]:
    entries: list[tuple[str, list[Any]]] = []
    quotes = [line for line in panel.lines if not line.is_extreme]
    is_banded = {"bid", "ask", "mid_price"} <= {line.metric for line in quotes}
    if is_banded:
        area = _area(plot, quote_band(series), theme.line(BLUE))
        entries.append((labels.of_band(series), [area]))
        quotes = [line for line in quotes if line.metric not in ("bid", "ask")]
    for line in quotes:
        colour, values = theme.line(line.colour), series.metrics[line.metric]
        drawn = [_step(plot, *steps(series, values), colour, line.width)]
        if not is_banded and max(series.ticks) > 1:
            drawn.append(_area(plot, band(series, values), colour))
        entries.append((labels.of_quote(series, line), drawn))
    entries += [_draw_extreme(plot, series, line, theme) for line in panel.lines if line.is_extreme]
    if quotes and (text := labels.last_text(series, quotes[0].metric)) is not None:
        _right(plot, float(series.metrics[quotes[0].metric].last[-1]), text, theme.line(quotes[0].colour))
    _hover(plot, series, (quotes or panel.lines)[0])
    return entries


def _draw_extreme(plot: Figure, series: Series, line: MetricLine, theme: Theme) -> tuple[str, list[Any]]:
    stored, colour = series.metrics[line.metric].last, theme.line(line.colour)
    values = in_bps(series, stored) if line.in_bps else stored
    points = steps(series, BucketValues.of_extreme(values), series.session_starts)
    drawn = [_step(plot, *points, colour, line.width, dash="dashed")]
    text = labels.of_extreme(series, line, above=False, below=False)
    marks = [
        (milliseconds(at), float(values[stored.index(value)] if value in stored else value))
        for at, value in labels.set_at(series, line.metric)
    ]
    if marks:
        shape = {"^": "triangle", "v": "inverted_triangle", "D": "diamond"}[line.marker]
        times, heights = [time for time, _ in marks], [value for _, value in marks]
        drawn.append(plot.scatter(times, heights, marker=shape, size=9, color=colour))
        time, value = max(marks, key=lambda mark: mark[1] if line.metric != "lowest_ask" else -mark[1])
        is_late = time > milliseconds(series.start + (series.end - series.start) / 2)
        plot.add_layout(
            Label(
                x=time, y=value, text=text, text_color=colour, text_font_size="11px",
                x_offset=-8 if is_late else 8, y_offset=-4 if line.metric == "lowest_ask" else 4,
                text_align="right" if is_late else "left",
                text_baseline="top" if line.metric == "lowest_ask" else "bottom",
            )
        )  # fmt: skip
    return text, drawn


def _draw_volume(plot: Figure, series: Series, panel: Panel, theme: Theme) -> list[tuple[str, list[Any]]]:
    assert series.volume is not None  # noqa: S101  (it was asked for)
    width, starts, values = series.volume
    known = [(start, value) for start, value in zip(starts, values, strict=True) if not value.is_nan()]
    bars = _bars(plot, known, width, theme.line(panel.lines[0].colour), panel.lines[0].label)
    return [(f"volume in bars of {labels.length(width)}" if known else "volume: not known", [bars])]


def _draw_rates(plot: Figure, series: Series, panel: Panel, theme: Theme) -> list[tuple[str, list[Any]]]:
    rates = tick_rates(series)
    known = [(start, rate) for start, rate in zip(rates.starts, rates.rates, strict=True)]
    bars = _bars(plot, known, rates.width, theme.line(panel.lines[0].colour), panel.lines[0].label)
    return [(labels.of_rates(rates), [bars])]


def _draw_risk(plot: Figure, series: Series, panel: Panel, theme: Theme) -> list[tuple[str, list[Any]]]:
    assert series.risk is not None  # noqa: S101  (it was asked for)
    curves, (line,) = series.risk, panel.lines
    values = [100 * value for value in curves.values[line.metric]]
    times = [milliseconds(at) for at in curves.as_of]
    source = ColumnDataSource(
        {
            "x": times,
            "y": values,
            "time": [_utc(at) for at in curves.as_of],
            "text": [f"{v:.4g} %" for v in values],
        }
    )
    broken_times, broken = list(times), list(values)
    for number in reversed(curves.after_pauses()):
        broken_times.insert(number, broken_times[number])
        broken.insert(number, math.nan)
    drawn = plot.line(broken_times, broken, color=theme.line(line.colour), line_width=1.3)
    _pointer(plot, source, {line.label: "@text"})
    return [(f"{line.label} over the 24 h before", [drawn])]


def draw_candles(plot: Figure, series: Candles, theme: Theme) -> None:
    """Draw the candles of a pair on an empty plot."""
    width, entries = _widths(series), []
    for rises, name, label in RISES:
        chosen = [c for c in series.candles if is_rising(c) is rises]
        colour = theme.line(name)
        source = ColumnDataSource(
            {
                "x": [_middle(c) for c in chosen],
                "width": [width[c.start] for c in chosen],
                "low": [float(c.low) for c in chosen],
                "high": [float(c.high) for c in chosen],
                "top": [float(max(c.open, c.close)) for c in chosen],
                "bottom": [float(min(c.open, c.close)) for c in chosen],
                "fill": [colour if c.complete else theme.background for c in chosen],
            }
        )
        wicks = plot.segment("x", "low", "x", "high", source=source, color=colour)
        bodies = plot.vbar("x", "width", "top", "bottom", source=source, fill_color="fill", line_color=colour)
        entries.append((label, [wicks, bodies]))
    _spans(plot, silences(series), series.doubtful, theme)
    _legend(plot, entries, theme)
    last = series.candles[-1]
    _right(plot, float(last.close), f"{last.close:,f}", theme.line(GREEN if is_rising(last) else VERMILLION))
    exact = {
        name: [f"{getattr(c, name):,f}" for c in series.candles] for name in ("open", "high", "low", "close")
    }
    _candle_pointer(plot, series, [float(c.close) for c in series.candles], exact)


def draw_candle_volumes(plot: Figure, series: Candles, theme: Theme) -> None:
    """Draw the volume of each candle in its colour."""
    width, entries = _widths(series), []
    for rises, name, label in RISES:
        chosen = [c for c in series.candles if is_rising(c) is rises and c.volume is not None]
        bars = plot.vbar(
            [_middle(c) for c in chosen],
            [width[c.start] for c in chosen],
            [float(c.volume or 0) for c in chosen],
            color=theme.line(name),
            alpha=0.7,
        )
        entries.append((f"volume, {label}", [bars]))
    _spans(plot, silences(series), series.doubtful, theme)
    _legend(plot, entries, theme)
    texts = ["not known" if c.volume is None else f"{c.volume:,f}" for c in series.candles]
    _candle_pointer(plot, series, [float(c.volume or 0) for c in series.candles], {"volume": texts})


def draw_candle_spreads(plot: Figure, series: Candles, theme: Theme) -> None:
    """Draw the mean and the largest spread of each candle."""
    known = [c for c in series.candles if c.avg_spread is not None and c.max_spread is not None]
    middles, every = [_middle(c) for c in known], _widths(series)
    colour, width = theme.line(PURPLE), [every[c.start] for c in known]
    largest = plot.vbar(middles, width, [float(c.max_spread or 0) for c in known], color=colour, alpha=0.35)
    mean = plot.vbar(middles, width, [float(c.avg_spread or 0) for c in known], color=colour)
    _spans(plot, silences(series), series.doubtful, theme)
    _legend(plot, [("largest", [largest]), ("mean", [mean])], theme)
    texts = ["not known" if c.max_spread is None else f"{c.max_spread:,f}" for c in series.candles]
    _candle_pointer(
        plot, series, [float(c.max_spread or 0) for c in series.candles], {"largest spread": texts}
    )


def _step(
    plot: Figure,
    times: Sequence[float],
    values: Sequence[float],
    colour: str,
    width: float,
    dash: str = "solid",
) -> Any:
    xs = [time * DAY_MS for time in times]
    return plot.step(xs, list(values), mode="after", color=colour, line_width=width + 0.2, line_dash=dash)


def _area(plot: Figure, points: tuple[list[float], list[float], list[float]], colour: str) -> Any:
    """Draw a step band; NaN breaks it."""
    xs: list[list[float]] = [[]]
    lows: list[list[float]] = [[]]
    highs: list[list[float]] = [[]]
    for time, low, high in zip(*points, strict=True):
        if math.isnan(low) or math.isnan(high):
            for lists in (xs, lows, highs):
                lists.append([])
            continue
        if xs[-1]:
            xs[-1].append(time * DAY_MS)
            lows[-1].append(lows[-1][-1])
            highs[-1].append(highs[-1][-1])
        xs[-1].append(time * DAY_MS)
        lows[-1].append(low)
        highs[-1].append(high)
    outlines = [[*x, *reversed(x)] for x in xs if x]
    heights = [[*low, *reversed(high)] for low, high in zip(lows, highs, strict=True) if low]
    return plot.patches(outlines, heights, color=colour, alpha=BAND_ALPHA, line_width=0.6)


def _bars(
    plot: Figure,
    bars: Sequence[tuple[datetime, Decimal | float]],
    width: timedelta,
    colour: str,
    label: str,
) -> Any:
    source = ColumnDataSource(
        {
            "x": [milliseconds(start + width / 2) for start, _ in bars],
            "y": [float(value) for _, value in bars],
            "time": [_utc(start) for start, _ in bars],
            "text": [f"{value:,f}" if not isinstance(value, float) else f"{value:,.4g}" for _, value in bars],
        }
    )
    _pointer(plot, source, {label: "@text"})
    return plot.vbar("x", width.total_seconds() * 1000, "y", source=source, color=colour, alpha=0.7)


def _hover(plot: Figure, series: Series, line: MetricLine) -> None:
    """Show the exact values of the ticks' buckets under the pointer."""
    shown = [metric for metric in EXACT if metric in series.metrics]
    columns: dict[str, Any] = {
        metric: [_exact(metric, value) for value in series.metrics[metric].last] for metric in shown
    }
    values = series.metrics[line.metric].last
    columns |= {
        "x": [milliseconds(at) for at in series.last_at],
        "y": [float(value) for value in (in_bps(series, values) if line.in_bps else values)],
        "time": [_utc(at) for at in series.last_at],
    }
    _pointer(plot, ColumnDataSource(columns), {metric.replace("_", " "): f"@{metric}" for metric in shown})


def _candle_pointer(
    plot: Figure, series: Candles, heights: list[float], texts: Mapping[str, list[str]]
) -> None:
    columns: dict[str, Any] = {name.replace(" ", "_"): values for name, values in texts.items()}
    columns |= {
        "x": [_middle(c) for c in series.candles],
        "y": heights,
        "time": [_utc(c.start) for c in series.candles],
        "ticks": [f"{c.ticks:,}" for c in series.candles],
    }
    tips = {name: f"@{name.replace(' ', '_')}" for name in texts} | {"ticks": "@ticks"}
    _pointer(plot, ColumnDataSource(columns), tips)


def _pointer(plot: Figure, source: ColumnDataSource, tips: Mapping[str, str]) -> None:
    """Show texts of the point that is nearest in time; the points themselves are invisible."""
    is_single = len(source.data["x"]) == 1  # a line of one point is none
    points: Any = (
        plot.scatter("x", "y", source=source, size=9, alpha=0)
        if is_single
        else plot.line("x", "y", source=source, alpha=0)
    )
    tooltips = [("time (UTC)", "@time"), *tips.items()]
    plot.add_tools(HoverTool(renderers=[points], mode="vline", line_policy="nearest", tooltips=tooltips))


def _right(plot: Figure, value: float, text: str, colour: str) -> None:
    """Write the last value on the right axis."""
    plot.add_layout(
        LinearAxis(
            ticker=FixedTicker(ticks=[value]),  # type: ignore[arg-type]
            major_label_overrides={value: text},
            major_label_text_color=colour,
            major_tick_line_color=colour,
            axis_line_color=None,
        ),
        "right",
    )


def _spans(
    plot: Figure,
    silent: Iterable[tuple[datetime, datetime]],
    doubtful: Iterable[tuple[datetime, datetime]],
    theme: Theme,
) -> None:
    """Hatch the time without ticks, and the time in which the feed may have missed something."""
    looks: tuple[tuple[Iterable[tuple[datetime, datetime]], dict[str, Any]], ...] = (
        (silent, {"fill_color": theme.silence, "hatch_color": theme.silence_edge, "hatch_pattern": "/"}),
        (
            doubtful,
            {"fill_color": DOUBT["facecolor"], "hatch_color": DOUBT["edgecolor"], "hatch_pattern": "\\"},
        ),
    )
    for spans, look in looks:
        for before, after in spans:
            edges: dict[str, Any] = {"left": milliseconds(before), "right": milliseconds(after)}
            plot.add_layout(BoxAnnotation(**edges, **look, line_color=None, level="underlay"))


def _legend(plot: Figure, entries: Sequence[tuple[str, list[Any]]], theme: Theme) -> None:
    """Write the legend above the panel; a click on an entry hides what it names."""
    plot.add_layout(
        Legend(
            items=[LegendItem(label=text, renderers=drawn) for text, drawn in entries],
            orientation="horizontal",
            location="left",
            click_policy="hide",
            label_text_font_size="11px",
            label_text_color=theme.foreground,
            background_fill_alpha=0,
            border_line_color=None,
        ),
        "above",
    )


def _exact(metric: str, value: Decimal) -> str:
    if value.is_nan():
        return "not known"
    return f"{value:,.4f}" if metric == "spread_bps" else f"{value:,f}"


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}".rstrip("0").rstrip(".")


def _middle(candle: Candle) -> float:
    return milliseconds(middle(candle))


def _widths(series: Candles) -> dict[datetime, float]:
    return {start: width * DAY_MS for start, width in widths(series).items()}
