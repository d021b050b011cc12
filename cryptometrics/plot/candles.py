"""Candlesticks, one per window, and below them the mean and largest spread of each window."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import matplotlib.style
from matplotlib.patches import Patch

from cryptometrics.market.venues import venue_label
from cryptometrics.plot.axes import time_axis, value_axis
from cryptometrics.plot.figure import STYLE, shortened
from cryptometrics.plot.layout import GREY, grid, hatch, header, is_wide, legend, shade
from cryptometrics.plot.panels import GREEN, VERMILLION
from cryptometrics.plot.points import DAY, after_gaps, day_number

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from cryptometrics.store.candles import Candle, Candles

BODY = 0.7
"""Width of a candle's body as a share of the window."""
HEIGHTS = (2.6, 1.0)
SPREAD = "#CC79A7"


def draw(figure: Figure, pairs: Sequence[Candles]) -> None:
    """Draw the candles of each pair on the empty `figure`, and set its size."""
    with matplotlib.style.context(STYLE):
        height = 1.2 + 1.6 * sum(HEIGHTS)
        for block, each in zip(grid(figure, len(pairs), height), pairs, strict=True):
            _draw_pair(block, each)


def _draw_pair(block: SubFigure, series: Candles) -> None:
    price, spread = block.subplots(2, sharex=True, height_ratios=HEIGHTS)
    candles = series.candles
    quote = series.market.pair.partition("-")[2]
    _draw_candles(price, series)
    price.set_ylabel(f"mid price ({quote})")
    _draw_spreads(spread, series)
    spread.set_ylabel(f"spread ({quote})")
    start, end = candles[0].start, candles[-1].start + series.size
    last = candles[-1]
    until = f"{end:%H:%M}" if start.date() == end.date() else f"{end:%Y-%m-%d %H:%M}"
    header(
        block,
        [price, spread],
        f"{series.market.pair} · {venue_label(series.market.venue)} · {series.name} candles",
        [
            f"{start:%Y-%m-%d %H:%M} to {until} UTC",
            f"{sum(c.ticks for c in candles):,} ticks",
            f"group {shortened(series.group)}",
            f"last open {last.open:,f} high {last.high:,f} low {last.low:,f} close {last.close:,f}",
        ],
    )
    time_axis(spread, start, end, wide=is_wide(block))
    block.align_ylabels([price, spread])


def silences(series: Candles) -> list[tuple[datetime, datetime]]:
    """Return the gaps, each from the end of a candle to the start of the next; a window or more is empty."""
    candles = series.candles
    after = after_gaps(
        [c.open_at for c in candles], [c.close_at for c in candles], [c.ticks for c in candles]
    )
    spans = [(candles[i - 1].start + series.size, candles[i].start) for i in after]
    return [(before, start) for before, start in spans if before < start]


def _draw_candles(axes: Axes, series: Candles) -> None:
    candles = series.candles
    low, high = float(min(c.low for c in candles)), float(max(c.high for c in candles))
    value_axis(axes, low, high, from_zero=False)
    handles = []
    # A window that opens and closes at one price is still visible, as a line.
    least = (high - low or high * 1e-4) / 400
    for rises, colour, label in ((True, GREEN, "close ≥ open"), (False, VERMILLION, "close < open")):
        chosen = [c for c in candles if (c.close >= c.open) is rises]
        middles = _middles(chosen, series)
        axes.vlines(
            middles, [float(c.low) for c in chosen], [float(c.high) for c in chosen], colour, linewidth=0.9
        )
        bottoms = [float(min(c.open, c.close)) for c in chosen]
        heights = [max(float(abs(c.close - c.open)), least) for c in chosen]
        bars = axes.bar(
            middles, heights, _width(series), bottoms, color=colour, edgecolor=colour, linewidth=0.9, zorder=3
        )
        for candle, bar in zip(chosen, bars, strict=True):
            if not candle.complete:
                bar.set_facecolor("white")
        handles.append(Patch(color=colour, label=label))
    if not all(c.complete for c in candles):
        handles.append(Patch(facecolor="white", edgecolor=GREY, label="not complete yet"))
    legend(axes, [*handles, *shade(axes, silences(series)), *hatch(axes, series.doubtful)])


def _draw_spreads(axes: Axes, series: Candles) -> None:
    means, largest_of = (
        [math.nan if spread is None else float(spread) for spread in spreads]
        for spreads in zip(*((c.avg_spread, c.max_spread) for c in series.candles), strict=True)
    )
    value_axis(axes, 0, max(filter(math.isfinite, largest_of), default=1.0), from_zero=True)
    middles, width = _middles(series.candles, series), _width(series)
    largest = axes.bar(middles, largest_of, width, color=SPREAD, alpha=0.35, label="largest")
    mean = axes.bar(middles, means, width, color=SPREAD, label="mean")
    legend(axes, [largest, mean, *shade(axes, silences(series)), *hatch(axes, series.doubtful)])


def _middles(candles: Sequence[Candle], series: Candles) -> list[float]:
    return [day_number(candle.start + series.size / 2) for candle in candles]


def _width(series: Candles) -> float:
    return series.size / DAY * BODY
