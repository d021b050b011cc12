"""Charts of risk: the matrix of correlations, and how forecasts of value at risk held."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from cryptometrics.market.venues import venue_label
from cryptometrics.plot.axes import time_axis
from cryptometrics.plot.figure import STYLE, render
from cryptometrics.plot.layout import GREY, grid, header, is_wide, legend
from cryptometrics.plot.points import day_number
from cryptometrics.risk.lines import MINUTE
from cryptometrics.times import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from cryptometrics.risk.backtest import Backtest, Walk
    from cryptometrics.risk.lines import CorrelationMatrix, MarketRange
    from cryptometrics.risk.tail_risk import Method

__all__ = ["draw_backtest", "draw_correlation", "render"]

MAX_LABELLED = 20
"""Pairs up to which each cell of the matrix has its number."""
FORECAST, LOSS, FAILURE = "#1F77B4", "#9A9A9A", "#D62728"


def draw_correlation(matrix: CorrelationMatrix) -> Figure:
    """Return a chart of the matrix: red moves together, blue against each other, grey is unknown."""
    count = len(matrix.pairs)
    values = np.array([[_number(each.correlation) for each in row] for row in matrix.rows])
    with matplotlib.style.context(STYLE):
        side = max(4.5, 0.55 * count + 2)
        figure = Figure(figsize=(side + 1, side), layout="constrained")
        axes = figure.add_subplot()
        axes.set_facecolor("#DDDDDD")
        image = axes.imshow(np.ma.masked_invalid(values), vmin=-1, vmax=1, cmap="RdBu_r")
        axes.set_xticks(range(count), matrix.pairs, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(count), matrix.pairs)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        if count <= MAX_LABELLED:
            for row, column in np.ndindex(values.shape):
                value = values[row, column]
                text = "–" if np.isnan(value) else f"{value:.2f}"
                colour = "white" if abs(value) > 0.6 else "black"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
        figure.colorbar(image, ax=axes, shrink=0.8, label="correlation")
        market = matrix.market
        length, bar = (format_duration(minutes * MINUTE) for minutes in (market.minutes, matrix.bar))
        axes.set_title(
            f"Correlation · {venue_label(market.venue)}\n{bar} returns, {length} up to "
            f"{market.as_of:%Y-%m-%d %H:%M} UTC",
            loc="left",
        )
    return figure


def draw_backtest(
    pair: str,
    market: MarketRange,
    walks: Mapping[Method, Walk],
    results: Mapping[Method, Backtest],
    confidence: float,
    horizon: int,
) -> Figure:
    """Return a chart with a panel per method: each loss as a point, the forecast as a line, failures marked.

    market: the whole past; the minutes of the walks count from its start.
    """
    figure = Figure()
    with matplotlib.style.context(STYLE):
        (block,) = grid(figure, 1, 1.4 + 2.2 * len(walks))
        panels = list(block.subplots(len(walks), sharex=True, squeeze=False)[:, 0])
        for axes, method in zip(panels, walks, strict=True):
            _draw_walk(axes, method, walks[method], results[method], market, horizon)
        length = format_duration(horizon * MINUTE)
        header(
            block,
            panels,
            f"{pair} · value at risk {confidence:.4g} over {length} · {venue_label(market.venue)}",
            [
                f"{market.start:%Y-%m-%d %H:%M} to {market.as_of:%Y-%m-%d %H:%M} UTC",
                f"group {market.group}",
            ],
        )
        time_axis(panels[-1], market.start, market.as_of, wide=is_wide(block))
        block.align_ylabels(panels)
    return figure


def _draw_walk(
    axes: Axes, method: str, walk: Walk, result: Backtest, market: MarketRange, horizon: int
) -> None:
    # A loss is known at the end of its horizon, and so belongs there; its forecast was made before it.
    times = [day_number(market.start + (int(minute) + 1 + horizon) * MINUTE) for minute in walk.minutes]
    failed = walk.losses > walk.forecasts
    (losses,) = axes.plot(times, walk.losses, ".", color=LOSS, markersize=4, label="realised loss")
    (forecast,) = axes.plot(times, walk.forecasts, color=FORECAST, linewidth=1.3, label="value at risk")
    (failures,) = axes.plot(
        np.array(times)[failed],
        walk.losses[failed],
        "o",
        color=FAILURE,
        markersize=6,
        fillstyle="none",
        markeredgewidth=1.5,
        label=f"{result.failures:,} failures of {result.forecasts:,}\n({result.expected:.3g} expected)",
    )
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel("loss")
    legend(axes, [forecast, losses, failures])
    zone = f" · {result.traffic_light.zone}" if result.traffic_light else ""
    axes.text(0.005, 0.97, f"{method}{zone}", transform=axes.transAxes, va="top", weight="bold")
    if not times:
        axes.text(0.5, 0.6, "no forecast: too few returns", transform=axes.transAxes, ha="center")
        axes.set_yticks([])


def _number(value: float | None) -> float:
    return np.nan if value is None else value
