"""Candlesticks, one per window; below them the volume, and the mean and largest spread of each window."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

import matplotlib.style
from matplotlib.patches import Patch

from cryptometrics.market.pauses import after_gaps
from cryptometrics.market.venues import venue_label
from cryptometrics.plot.axes import time_axis, value_axis
from cryptometrics.plot.labels import shortened
from cryptometrics.plot.layout import grid, hatch, header, is_wide, last_value, legend, shade
from cryptometrics.plot.panels import GREEN, PURPLE, VERMILLION
from cryptometrics.plot.points import DAY, day_number
from cryptometrics.plot.theme import LIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from cryptometrics.plot.theme import Theme
    from cryptometrics.store.candles import Candle, Candles

BODY = 0.7
"""Width of a candle's body as a share of the window."""
HEIGHTS = (2.6, 0.8, 1.0)
RISES = ((True, GREEN, "close ≥ open"), (False, VERMILLION, "close < open"))
"""Whether a candle rises, its colour, and what the legend says."""
MIN_WINDOWS = 20
"""Windows that the time axis has room for: a few candles do not fill it."""


def draw(
    figure: Figure, pairs: Sequence[Candles], theme: Theme = LIGHT, size: tuple[int, int] | None = None
) -> None:
    """Draw the candles of each pair on the empty `figure`, and set its size.

    size: width and height in dots, instead of what suits the charts.
    """
    with matplotlib.style.context(theme.style):
        blocks = grid(figure, len(pairs), theme=theme, size=size, heights=HEIGHTS)
        for block, each in zip(blocks, pairs, strict=True):
            _draw_pair(block, each, theme)


def _draw_pair(block: SubFigure, series: Candles, theme: Theme) -> None:
    price, volume, spread = block.subplots(3, sharex=True, height_ratios=HEIGHTS)
    candles = series.candles
    base, _, quote = series.market.pair.partition("-")
    _draw_candles(price, series, theme)
    price.set_ylabel(f"mid price ({quote})")
    _draw_volumes(volume, series, theme)
    volume.set_ylabel(f"volume ({base})")
    _draw_spreads(spread, series, theme)
    spread.set_ylabel(f"spread ({quote})")
    start, end = candles[0].start, candles[-1].end
    last = candles[-1]
    until = f"{end:%H:%M}" if start.date() == end.date() else f"{end:%Y-%m-%d %H:%M}"
    header(
        block,
        [price, volume, spread],
        f"{series.market.pair} · {venue_label(series.market.venue)} · {series.name} {series.kind}",
        [
            f"{start:%Y-%m-%d %H:%M} to {until} UTC",
            content(series),
            f"group {shortened(series.group)}",
            f"last open {last.open:,f} high {last.high:,f} low {last.low:,f} close {last.close:,f}",
        ],
        theme,
    )
    spare = max(MIN_WINDOWS * series.size - (end - start), timedelta()) / 2
    time_axis(spread, start - spare, end + spare, wide=is_wide(block))
    block.align_ylabels([price, volume, spread])


def silences(series: Candles) -> list[tuple[datetime, datetime]]:
    """Return the gaps, each from the end of a candle to the start of the next; a window or more is empty."""
    candles = series.candles
    after = after_gaps(
        [c.open_at for c in candles], [c.close_at for c in candles], [c.ticks for c in candles]
    )
    spans = [(candles[i - 1].end, candles[i].start) for i in after]
    return [(before, start) for before, start in spans if before < start]


def _draw_candles(axes: Axes, series: Candles, theme: Theme) -> None:
    candles = series.candles
    low, high = float(min(c.low for c in candles)), float(max(c.high for c in candles))
    value_axis(axes, low, high, from_zero=False)
    handles, width = [], widths(series)
    # A window that opens and closes at one price is still visible, as a line.
    least = (high - low or high * 1e-4) / 400
    for rises, name, label in RISES:
        colour = theme.line(name)
        chosen = [c for c in candles if is_rising(c) is rises]
        middles = _middles(chosen)
        axes.vlines(
            middles, [float(c.low) for c in chosen], [float(c.high) for c in chosen], colour, linewidth=0.9
        )
        bottoms = [float(min(c.open, c.close)) for c in chosen]
        heights = [max(float(abs(c.close - c.open)), least) for c in chosen]
        bars = axes.bar(
            middles,
            heights,
            [width[c.start] for c in chosen],
            bottoms,
            color=colour,
            edgecolor=colour,
            linewidth=0.9,
            zorder=3,
        )
        for candle, bar in zip(chosen, bars, strict=True):
            if not candle.complete:
                bar.set_facecolor(theme.background)
        handles.append(Patch(color=colour, label=label))
    if not all(c.complete for c in candles):
        handles.append(Patch(facecolor=theme.background, edgecolor=theme.muted, label="not complete yet"))
    legend(axes, [*handles, *_spans(axes, series, theme)])
    last = candles[-1]
    colour = theme.line(GREEN if is_rising(last) else VERMILLION)
    last_value(axes, float(last.close), f"{last.close:,f}", colour, theme)


def _draw_volumes(axes: Axes, series: Candles, theme: Theme) -> None:
    """Draw the volume of each candle in its colour."""
    known = [(c, float(c.volume)) for c in series.candles if c.volume is not None]
    value_axis(axes, 0, max((volume for _, volume in known), default=1.0), from_zero=True)
    width = widths(series)
    for rises, name, _ in RISES:
        chosen = [(c, volume) for c, volume in known if is_rising(c) is rises]
        middles, wide = _middles([c for c, _ in chosen]), [width[c.start] for c, _ in chosen]
        axes.bar(middles, [volume for _, volume in chosen], wide, color=theme.line(name), alpha=0.7)
    label = "volume of the trades" if known else "volume: not known"
    if 0 < len(known) < len(series.candles):
        label += f", not known in {len(series.candles) - len(known):,} of {len(series.candles):,}"
    legend(axes, [Patch(color=theme.muted, alpha=0.7, label=label), *_spans(axes, series, theme)])


def _draw_spreads(axes: Axes, series: Candles, theme: Theme) -> None:
    means, largest_of = (
        [math.nan if spread is None else float(spread) for spread in spreads]
        for spreads in zip(*((c.avg_spread, c.max_spread) for c in series.candles), strict=True)
    )
    value_axis(axes, 0, max(filter(math.isfinite, largest_of), default=1.0), from_zero=True)
    middles, width, colour = _middles(series.candles), list(widths(series).values()), theme.line(PURPLE)
    largest = axes.bar(middles, largest_of, width, color=colour, alpha=0.35, label="largest")
    mean = axes.bar(middles, means, width, color=colour, label="mean")
    legend(axes, [largest, mean, *_spans(axes, series, theme)])


def _spans(axes: Axes, series: Candles, theme: Theme) -> list[Patch]:
    return [*shade(axes, silences(series), theme), *hatch(axes, series.doubtful)]


def is_rising(candle: Candle) -> bool:
    """Return whether a candle closes at its open or above."""
    return candle.close >= candle.open


def middle(candle: Candle) -> datetime:
    """Return the middle of a candle's window."""
    return candle.start + candle.length / 2


def widths(series: Candles) -> dict[datetime, float]:
    """Return the width of each body in days, by the start of its window. Bodies never overlap."""
    same = series.size if series.overlap else None
    return {candle.start: (same or candle.length) / DAY * BODY for candle in series.candles}


def content(series: Candles) -> str:
    """Return how much the candles hold; windows that overlap share ticks."""
    if series.overlap:
        return f"{len(series.candles):,} windows"
    return f"{sum(candle.ticks for candle in series.candles):,} ticks"


def _middles(candles: Sequence[Candle]) -> list[float]:
    return [day_number(middle(candle)) for candle in candles]
