"""The figure: a block per pair, its panels stacked on one time axis, with legends beside them."""

from __future__ import annotations

import functools
import io
import math
from decimal import Context
from typing import TYPE_CHECKING, Any

import matplotlib.style
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cryptometrics.market.venues import venue_label
from cryptometrics.market.windows import MINUTE
from cryptometrics.plot.axes import time_axis, value_axis
from cryptometrics.plot.layout import GREY, grid, hatch, header, is_wide, legend, shade
from cryptometrics.plot.points import DAY, band, day_number, gaps, steps
from cryptometrics.store.running_extremes import EXTREMES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta
    from decimal import Decimal

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from cryptometrics.plot.panels import MetricLine, Panel
    from cryptometrics.store.tick_series import Series

MAX_DOTS = 60
"""Up to this many points are drawn as dots, too."""
MAX_NAME = 40
"""Characters of a session's or group's name in a title."""
BAND_ALPHA = 0.4

# Based on matplotlib's defaults, not on the user's: a chart looks the same on every machine.
STYLE: list[Any] = [
    "default",
    {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": GREY,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#DDDDDD",
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "savefig.dpi": 150,
        "svg.hashsalt": "cryptometrics",
        "pdf.fonttype": 42,
        # Names of sessions and groups are free text; `$` must not start a formula.
        "text.parse_math": False,
    },
]

# The same data give the same file, byte for byte: no time, no versions.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": "cryptometrics"},
    "svg": {"Creator": "cryptometrics", "Date": None},
    "pdf": {"Creator": "cryptometrics", "Producer": None, "CreationDate": None},
}
FORMATS = tuple(_METADATA)


def draw(figure: Figure, pairs: Sequence[Series], panels: Sequence[Panel]) -> None:
    """Draw the `panels` of each pair on the empty `figure`, and set its size."""
    with matplotlib.style.context(STYLE):
        height = 1.4 + 1.8 * sum(panel.height for panel in panels)
        for block, series in zip(grid(figure, len(pairs), height), pairs, strict=True):
            _draw_pair(block, series, panels)


def render(figure: Figure, suffix: str) -> bytes:
    """Return the file of a drawn figure; suffix: one of FORMATS."""
    file = io.BytesIO()
    with matplotlib.style.context(STYLE):
        figure.savefig(file, format=suffix, metadata=_METADATA[suffix])
    return file.getvalue()


def _draw_pair(block: SubFigure, series: Series, panels: Sequence[Panel]) -> None:
    if series.of_minutes:  # minutes have no bid and ask
        known = (
            p._replace(
                lines=tuple(
                    line for line in p.lines if p.is_volume or p.is_risk or line.metric in series.metrics
                )
            )
            for p in panels
        )
        panels = [panel for panel in known if panel.lines]
    heights = [panel.height for panel in panels]
    every = block.subplots(len(panels), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, panel in zip(every, panels, strict=True):
        _draw_panel(axes, series, panel)
    title = f"{series.market.pair} · {venue_label(series.market.venue)} · {_sessions(series)}"
    header(block, list(every), title, [*_range(series), f"group {shortened(series.group)}"])
    time_axis(every[-1], series.start, series.end, wide=is_wide(block))
    block.align_ylabels(every)


def _draw_panel(axes: Axes, series: Series, panel: Panel) -> None:
    if panel.is_volume:
        _draw_volume(axes, series, panel)
        return
    if panel.is_risk:
        _draw_risk(axes, series, panel)
        return
    low, high = _limits(series, panel)
    value_axis(axes, low, high, from_zero=panel.from_zero)
    axes.set_ylabel(panel.label.format(quote=series.market.pair.partition("-")[2]))
    handles: list[Artist] = []
    for line in panel.lines:
        handle = _draw_extreme(axes, series, line) if line.is_extreme else _draw_quote(axes, series, line)
        handle.set_label(_legend_label(series, line, low, high))
        handles.append(handle)
    if _has_band(series) and not all(line.is_extreme for line in panel.lines):
        handles.append(Patch(color=GREY, alpha=BAND_ALPHA, label=f"range within {_length(series.width)}"))
    if any(line.metric == "spread" for line in panel.lines) and any(series.locked):
        handles.append(_draw_locked(axes, series))
    legend(axes, [*handles, *shade(axes, gaps(series)), *hatch(axes, series.doubtful)])


def _draw_quote(axes: Axes, series: Series, line: MetricLine) -> Line2D:
    values = series.metrics[line.metric]
    if _has_band(series):
        # Without the edge, the spike of one bucket could be thinner than a pixel.
        axes.fill_between(
            *band(series, values), step="post", color=line.colour, alpha=BAND_ALPHA, linewidth=0.5
        )
    look: dict[str, Any] = {
        "color": line.colour,
        "linewidth": line.width,
        "zorder": 3 - line.width,  # the thin line on top
        "marker": "." if len(series.ticks) <= MAX_DOTS else "",
    }
    axes.plot(*steps(series, values), drawstyle="steps-post", label=line.label, **look)
    return Line2D([], [], **(look | {"linewidth": 1.2}))


def _draw_volume(axes: Axes, series: Series, panel: Panel) -> None:
    assert series.volume is not None  # noqa: S101  (it was asked for)
    width, starts, values = series.volume
    known = [(start, value) for start, value in zip(starts, values, strict=True) if not value.is_nan()]
    value_axis(axes, 0.0, float(max((value for _, value in known), default=1)), from_zero=True)
    axes.set_ylabel(panel.label.format(base=series.market.pair.partition("-")[0]))
    (line,) = panel.lines
    axes.bar(
        [day_number(start) for start, _ in known],
        [float(value) for _, value in known],
        width=width / DAY,
        align="edge",
        color=line.colour,
        linewidth=0,
    )
    total = sum(value for _, value in known)
    label = f"{line.label} {total:,f}\nin bars of {_length(width)}" if known else f"{line.label}: not known"
    if known and len(known) < len(values):
        label += f"\nnot known in {len(values) - len(known):,} of {len(values):,}"
    legend(
        axes,
        [Patch(color=line.colour, label=label), *shade(axes, gaps(series)), *hatch(axes, series.doubtful)],
    )


def _draw_risk(axes: Axes, series: Series, panel: Panel) -> None:
    assert series.risk is not None  # noqa: S101  (it was asked for)
    curves, (line,) = series.risk, panel.lines
    values = [100 * value for value in curves.values[line.metric]]
    times = [day_number(at) for at in curves.as_of]
    known = [value for value in values if not math.isnan(value)]
    value_axis(axes, 0.0, max(known, default=1.0), from_zero=True)
    axes.set_ylabel(panel.label)
    label = f"{line.label} {values[-1]:.3g} %" if known and values[-1] == known[-1] else line.label
    label += "\nover the 24 h before" if known else ": not known"
    if known and curves.width > MINUTE:
        label += f"\nlargest within {_length(curves.width)}"
    for number in reversed(curves.after_pauses()):
        times.insert(number, times[number])
        values.insert(number, math.nan)
    look: dict[str, Any] = {"color": line.colour, "linewidth": 1.2}
    axes.plot(times, values, marker="." if len(known) <= MAX_DOTS else "", **look)
    handle = Line2D([], [], label=label, **look)
    legend(axes, [handle, *shade(axes, gaps(series)), *hatch(axes, series.doubtful)])


def _has_band(series: Series) -> bool:
    """Return whether a bucket has several values of a quote."""
    return max(series.ticks) > 1


def _draw_extreme(axes: Axes, series: Series, line: MetricLine) -> Line2D:
    look: dict[str, Any] = {"color": line.colour, "linestyle": "--", "linewidth": line.width}
    values = series.metrics[line.metric]
    axes.plot(*steps(series, values, series.session_starts), drawstyle="steps-post", label=line.label, **look)
    marks = _set_at(series, line)
    if not marks:
        return Line2D([], [], **look)
    axes.plot(
        [day_number(at) for at, _ in marks],
        [float(value) for _, value in marks],
        linestyle="",
        marker=line.marker,
        zorder=4,  # above every line
        color=line.colour,
        markersize=6,
        # With few points, a filled mark would hide the quote.
        fillstyle="none" if len(series.ticks) <= MAX_DOTS else "full",
    )
    return Line2D([], [], marker=line.marker, markersize=5, **look)


def _draw_locked(axes: Axes, series: Series) -> Line2D:
    times = [day_number(at) for at, locked in zip(series.first_at, series.locked, strict=True) if locked]
    look: dict[str, Any] = {"linestyle": "", "marker": "|", "color": "black", "markersize": 5}
    axes.plot(times, [0.0] * len(times), **look)
    return Line2D([], [], label=f"locked (bid = ask): {sum(series.locked):,}", **look)


def _limits(series: Series, panel: Panel) -> tuple[float, float]:
    """Return the limits of the quotes and of the extremes set in the chart.

    An extreme set long before must not flatten the quotes.
    """
    lines = [line for line in panel.lines if not line.is_extreme] or panel.lines
    every = [value for line in lines for values in series.metrics[line.metric][:2] for value in values]
    drawn = [value for value in every if not value.is_nan()]
    drawn += [value for line in panel.lines if line.is_extreme for _, value in _set_at(series, line)]
    low, high = float(min(drawn, default=0)), float(max(drawn, default=1))
    return low, high if panel.top is None else panel.top


def _set_at(series: Series, line: MetricLine) -> list[tuple[datetime, Decimal]]:
    """Return time and value of the sessions' extremes that were set within the chart."""
    found = [(getattr(row, f"{line.metric}_at"), getattr(row, line.metric)) for row in series.sessions]
    return [(at, value) for at, value in found if series.start <= at <= series.end]


def _legend_label(series: Series, line: MetricLine, low: float, high: float) -> str:
    values = series.metrics[line.metric]
    if line.is_extreme:
        # Of all sessions, and not that of the newest tick.
        extreme = functools.reduce(EXTREMES[line.metric].better, values.last)
        label = f"{line.label} {extreme:,f}"
        if not low <= float(extreme) <= high:
            return f"{label}\n{'above' if float(extreme) > high else 'below'} this chart"
        format_ = "%H:%M:%S" if series.start.date() == series.end.date() else "%Y-%m-%d %H:%M:%S"
        at = [at for at, value in _set_at(series, line) if value == extreme]
        return f"{label}\nat {min(at):{format_}}" if at else label
    value = values.last[-1]
    if value.is_nan():
        return f"{line.label}: not known"
    if line.metric in {"weighted_mid", "imbalance"}:
        value = Context(prec=4 if line.metric == "imbalance" else 12).plus(value).normalize()
    if series.of_minutes and line.metric != "mid_price":
        line = line._replace(label=f"mean {line.label}")
        value = Context(prec=6).plus(value).normalize()  # a quotient may have any number of digits
    if line.metric == "spread_bps":
        return f"{line.label} {f'{value:,.2f}' if value >= 1 else f'{float(value):.2g}'} bps"
    return f"{line.label} {value:,f}"


def _sessions(series: Series) -> str:
    names = [shortened(row.session) for row in reversed(series.sessions)]
    return f"session {names[0]}" if len(names) == 1 else f"{len(names)} sessions, {names[0]} to {names[-1]}"


def _range(series: Series) -> tuple[str, str]:
    ticks = sum(series.ticks)
    one_day = series.start.date() == series.end.date()
    end = f"{series.end:%H:%M:%S}" if one_day else f"{series.end:%Y-%m-%d %H:%M:%S}"
    until = f" to {end}" if ticks > 1 else ""
    count = f"{ticks:,} tick{'' if ticks == 1 else 's'}"
    count += ", from their minutes" if series.of_minutes else ""
    return f"{series.start:%Y-%m-%d %H:%M:%S}{until} UTC", count


def shortened(name: str) -> str:
    """Return a name that fits into a title."""
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"


def _length(width: timedelta) -> str:
    seconds = width.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds * 1e6:g} µs"
