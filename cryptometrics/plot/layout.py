"""The layout of all charts: a grid of blocks, one per pair, with a header, panels and legends above them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from matplotlib.font_manager import FontProperties
from matplotlib.patches import Patch
from matplotlib.textpath import text_to_path

from cryptometrics.plot.points import day_number
from cryptometrics.plot.theme import LIGHT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.container import Container
    from matplotlib.figure import Figure, SubFigure

    from cryptometrics.plot.theme import Theme

MAX_COLUMNS = 3
"""Maximum of pairs side by side."""
WIDE, NARROW = 12.0, 8.5
"""Inches of a block: alone, and beside others."""
FRAME = 1.5
"""Inches of a block's height that its panels do not fill."""
UNIT, NARROW_UNIT = 1.75, 2.25
"""Inches of a panel of height 1: alone, and beside others, where texts take a larger share of the width."""
TITLE = FontProperties(size=13, weight="bold")
TEXT = FontProperties(size=9)
LINE = 13
"""Points from one line of the header to the next."""
LEGEND = FontProperties(size=8.5)
LEGEND_LINE = 15
"""Points from one row of a legend to the next."""
DPI = 150
"""Dots per inch of a chart, unless --size asks for fewer dots than its texts need."""
MIN_DPI = 60
GREY = LIGHT.muted
SILENCE_HATCH = "//"
DOUBT: dict[str, Any] = {
    "facecolor": "#D55E0014",
    "edgecolor": "#D55E0055",
    "hatch": "\\\\\\\\",
    "linewidth": 0.4,
}
"""An edge shows a minute that is thinner than the hatching."""
_POINTS = 72
"""Points of an inch."""
_BESIDE = 0.55
"""Inches beside the labels of the vertical axis: its name, and the margins of the block."""
_HANDLE = 0.42
"""Inches of an entry of a legend beside its text."""


def grid(
    figure: Figure,
    count: int,
    height: float | None = None,
    theme: Theme = LIGHT,
    size: tuple[int, int] | None = None,
    *,
    heights: Iterable[float] = (),
) -> list[SubFigure]:
    """Divide the empty `figure` into one block per pair, and set its size.

    height: of a block, in inches; by default what panels of these heights need. size: width and height of
    the figure in dots, instead of what suits it.
    """
    columns = 2 if count == 4 else min(count, MAX_COLUMNS)
    rows = math.ceil(count / columns)
    if height is None:
        height = FRAME + (UNIT if columns == 1 else NARROW_UNIT) * sum(heights)
    wide, high = _block_width(columns) * columns, height * rows
    figure.set_dpi(DPI)
    if size is not None:
        # Texts keep their size in inches: a chart of few dots gets fewer of them an inch.
        dpi = min(DPI, max(MIN_DPI, min(size[0] / wide, size[1] / high)))
        figure.set_dpi(dpi)
        wide, high = size[0] / dpi, size[1] / dpi
    figure.set_facecolor(theme.background)
    figure.set_layout_engine("constrained")
    figure.set_size_inches(wide, high)
    blocks: list[SubFigure] = list(figure.subfigures(rows, columns, squeeze=False).flat)
    return blocks[:count]


def is_wide(block: SubFigure) -> bool:
    """Return whether a block has the width of the figure for itself."""
    return _width(block) > NARROW


def header(
    block: SubFigure, panels: Sequence[Axes], title: str, facts: Iterable[str], theme: Theme = LIGHT
) -> None:
    """Write a title and facts above the panels, in as many lines as the block's width makes necessary."""
    labels = [label for axes in panels for label in _labels(axes)]
    room = _width(block) - _BESIDE - max((_length(label, TEXT) for label in labels), default=0)
    lines = wrapped(facts, " · ", room, TEXT)
    top = panels[0]
    above = LEGEND_LINE * _rows(top)
    top.set_title(
        "\n".join(wrapped(title.split(" "), " ", room, TITLE)),
        loc="left",
        fontproperties=TITLE,
        pad=9 + above + LINE * len(lines),
    )
    top.annotate(
        "\n".join(lines),
        (0, 1),
        (0, 8 + above),
        xycoords="axes fraction",
        textcoords="offset points",
        color=theme.muted,
        fontproperties=TEXT,
    ).set_in_layout(False)  # it fits; the layout would narrow the panels for it


def legend(axes: Axes, handles: Sequence[Artist | Container]) -> None:
    """Draw the legend of a panel above it, in as many rows as its width makes necessary."""
    if not handles:
        return
    labels = [str(handle.get_label()).replace("\n", ", ") for handle in handles]
    room = _width(axes.figure) - 3 * _BESIDE
    widths = [_length(label, LEGEND) + _HANDLE for label in labels]
    columns = next(
        (
            count
            for count in range(len(labels), 1, -1)
            if sum(max(column) for column in _columns(widths, count)) <= room
        ),
        1,
    )
    axes.legend(
        list(handles),
        labels,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        borderpad=0.1,
        ncols=columns,
        handlelength=1.6,
        handletextpad=0.5,
        columnspacing=1.2,
        labelspacing=0.3,
        prop=LEGEND,
    )


def last_value(axes: Axes, value: float, text: str, colour: str, theme: Theme = LIGHT) -> None:
    """Write the last value of a panel on its right axis, at its height."""
    axes.annotate(
        text,
        (1, value),
        (5, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        color=theme.background,
        fontproperties=LEGEND,
        bbox={"boxstyle": "round,pad=0.25", "facecolor": colour, "linewidth": 0},
        annotation_clip=False,
    )


def shade(axes: Axes, silences: Sequence[tuple[datetime, datetime]], theme: Theme = LIGHT) -> list[Patch]:
    """Shade the time without ticks; return its handle for the legend, none without silences."""
    look: dict[str, Any] = {
        "facecolor": theme.silence,
        "edgecolor": theme.silence_edge,
        "hatch": SILENCE_HATCH,
    }
    for before, after in silences:
        axes.axvspan(day_number(before), day_number(after), zorder=0.5, linewidth=0, **look)
    return [Patch(label="no ticks", linewidth=0.5, **look)] if silences else []


def hatch(axes: Axes, doubtful: Sequence[tuple[datetime, datetime]]) -> list[Patch]:
    """Hatch the time in which the feed may have missed something; return its handle, none without any."""
    for before, after in doubtful:
        axes.axvspan(day_number(before), day_number(after), zorder=0.6, **DOUBT)
    return [Patch(label="not verified", **DOUBT)] if doubtful else []


def _rows(axes: Axes) -> int:
    """Return the rows of the legend above a panel."""
    found = axes.get_legend()
    return 0 if found is None else -(-len(found.get_texts()) // found._ncols)  # type: ignore[attr-defined]


def _columns(widths: Sequence[float], count: int) -> Iterator[Sequence[float]]:
    """Yield the columns of a legend as matplotlib fills them: one after the other, the first ones longer."""
    deep, longer = divmod(len(widths), count)
    first = 0
    for column in range(count):
        end = first + deep + (column < longer)
        yield widths[first:end]
        first = end


def wrapped(parts: Iterable[str], between: str, room: float, font: FontProperties) -> list[str]:
    """Join parts to lines of at most `room` inches; a part that is longer is shortened."""
    lines: list[str] = []
    for part in parts:
        joined = f"{lines[-1]}{between}{part}" if lines else ""
        if joined and _length(joined, font) <= room:
            lines[-1] = joined
        else:
            lines.append(_shortened(part, room, font))
    return lines


def _shortened(text: str, room: float, font: FontProperties) -> str:
    if _length(text, font) <= room:
        return text
    while text and _length(f"{text}…", font) > room:
        text = text[:-1]
    return f"{text}…"


def _length(text: str, font: FontProperties) -> float:
    """Return the width of a text in inches."""
    if not text.strip():
        return 0
    # From the font's own metrics: to measure the outlines took a third of a chart's time.
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / _POINTS


def _labels(axes: Axes) -> list[str]:
    return axes.yaxis.get_major_formatter().format_ticks(list(axes.get_yticks()))


def _block_width(columns: int) -> float:
    return WIDE if columns == 1 else NARROW


def _width(block: Figure | SubFigure) -> float:
    """Return the width of a block, or of a figure without blocks, in inches."""
    return float(block.bbox.width / block.get_figure(root=True).dpi)
