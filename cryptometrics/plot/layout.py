"""The layout of all charts: a grid of blocks, one per pair, with a header, panels and legends beside them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from matplotlib.font_manager import FontProperties
from matplotlib.patches import Patch
from matplotlib.textpath import TextPath

from cryptometrics.plot.points import day_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.container import Container
    from matplotlib.figure import Figure, SubFigure

MAX_COLUMNS = 3
"""Maximum of pairs side by side."""
WIDE, NARROW = 12.0, 8.0
"""Inches of a block: alone, and beside others."""
TITLE = FontProperties(size=13, weight="bold")
TEXT = FontProperties(size=9)
LINE = 13
"""Points from one line of the header to the next."""
GREY = "#555555"
SILENCE: dict[str, Any] = {"facecolor": "#F4F4F4", "edgecolor": "#D5D5D5", "hatch": "//", "linewidth": 0}
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


def grid(figure: Figure, count: int, height: float) -> list[SubFigure]:
    """Divide the empty `figure` into one block per pair, and set its size; height: of a block, in inches."""
    columns = 2 if count == 4 else min(count, MAX_COLUMNS)
    rows = math.ceil(count / columns)
    figure.set_layout_engine("constrained")
    figure.set_size_inches(_block_width(columns) * columns, height * rows)
    blocks: list[SubFigure] = list(figure.subfigures(rows, columns, squeeze=False).flat)
    return blocks[:count]


def is_wide(block: SubFigure) -> bool:
    """Return whether a block has the width of the figure for itself."""
    return _width(block) > NARROW


def header(block: SubFigure, panels: Sequence[Axes], title: str, facts: Iterable[str]) -> None:
    """Write a title and facts above the panels, in as many lines as the block's width makes necessary."""
    labels = [label for axes in panels for label in _labels(axes)]
    room = _width(block) - _BESIDE - max((_length(label, TEXT) for label in labels), default=0)
    lines = wrapped(facts, " · ", room, TEXT)
    top = panels[0]
    top.set_title(
        "\n".join(wrapped(title.split(" "), " ", room, TITLE)),
        loc="left",
        fontproperties=TITLE,
        pad=9 + LINE * len(lines),
    )
    top.annotate(
        "\n".join(lines),
        (0, 1),
        (0, 8),
        xycoords="axes fraction",
        textcoords="offset points",
        color=GREY,
        fontproperties=TEXT,
    ).set_in_layout(False)  # it fits; the layout would narrow the panels for it


def legend(axes: Axes, handles: Sequence[Artist | Container]) -> None:
    """Draw the legend of a panel to the right of it."""
    axes.legend(handles=list(handles), loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)


def shade(axes: Axes, silences: Sequence[tuple[datetime, datetime]]) -> list[Patch]:
    """Shade the time without ticks; return its handle for the legend, none without silences."""
    for before, after in silences:
        axes.axvspan(day_number(before), day_number(after), zorder=0.5, **SILENCE)
    return [Patch(label="no ticks", **SILENCE | {"linewidth": 0.5})] if silences else []


def hatch(axes: Axes, doubtful: Sequence[tuple[datetime, datetime]]) -> list[Patch]:
    """Hatch the time in which the feed may have missed something; return its handle, none without any."""
    for before, after in doubtful:
        axes.axvspan(day_number(before), day_number(after), zorder=0.6, **DOUBT)
    return [Patch(label="not verified", **DOUBT)] if doubtful else []


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
    path = TextPath((0, 0), text, size=font.get_size_in_points(), prop=font)
    return float(path.get_extents().x1) / _POINTS


def _labels(axes: Axes) -> list[str]:
    return axes.yaxis.get_major_formatter().format_ticks(list(axes.get_yticks()))


def _block_width(columns: int) -> float:
    return WIDE if columns == 1 else NARROW


def _width(block: SubFigure) -> float:
    return float(block.bbox.width / block.figure.dpi)
