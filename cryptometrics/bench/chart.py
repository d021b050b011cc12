"""Draw the benchmark's result."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from cryptometrics.bench.benchmark import Result


def draw(result: Result) -> Figure:
    """Return a chart of each part's rate with its spread."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    parts = list(result.rates)[::-1]
    medians = [statistics.median(result.rates[part]) for part in parts]
    spread = [
        [median - min(result.rates[part]) for part, median in zip(parts, medians, strict=True)],
        [max(result.rates[part]) - median for part, median in zip(parts, medians, strict=True)],
    ]
    bars = axes.barh(
        parts, medians, xerr=spread, color="#56B4E9", error_kw={"ecolor": "#444444", "capsize": 3}
    )
    axes.bar_label(bars, [f"  {result.ratio(part):.2f}" for part in parts], padding=4)
    axes.set_xlabel("ticks or rows per second; the numbers are ratios to the limit")
    axes.set_title(f"cryptometrics bench: {result.ticks:,} ticks, {result.cores} cores")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    return figure
