"""The figure: a block per pair, its panels stacked on one time axis, with legends above them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import matplotlib.style

from cryptometrics.plot import labels
from cryptometrics.plot.axes import time_axis
from cryptometrics.plot.labels import shortened
from cryptometrics.plot.layout import grid, header, is_wide
from cryptometrics.plot.panel_drawing import draw_panel
from cryptometrics.plot.theme import LIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure, SubFigure

    from cryptometrics.plot.panels import Panel
    from cryptometrics.plot.theme import Theme
    from cryptometrics.store.tick_series import Series

__all__ = ["FORMATS", "STYLE", "draw", "render", "shortened"]

STYLE = LIGHT.style

# The same data give the same file, byte for byte: no time, no versions.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": "cryptometrics"},
    "svg": {"Creator": "cryptometrics", "Date": None},
    "pdf": {"Creator": "cryptometrics", "Producer": None, "CreationDate": None},
}
FORMATS = tuple(_METADATA)


def draw(
    figure: Figure,
    pairs: Sequence[Series],
    panels: Sequence[Panel],
    theme: Theme = LIGHT,
    size: tuple[int, int] | None = None,
) -> None:
    """Draw the `panels` of each pair on the empty `figure`, and set its size.

    size: width and height in dots, instead of what suits the charts.
    """
    with matplotlib.style.context(theme.style):
        heights = [panel.height for panel in panels]
        blocks = grid(figure, len(pairs), theme=theme, size=size, heights=heights)
        for block, series in zip(blocks, pairs, strict=True):
            _draw_pair(block, series, panels, theme)


def render(figure: Figure, suffix: str) -> bytes:
    """Return the file of a drawn figure; suffix: one of FORMATS."""
    file = io.BytesIO()
    with matplotlib.style.context(STYLE):
        figure.savefig(file, format=suffix, dpi=figure.dpi, metadata=_METADATA[suffix])
    return file.getvalue()


def _draw_pair(block: SubFigure, series: Series, panels: Sequence[Panel], theme: Theme) -> None:
    panels = known_panels(series, panels)
    heights = [panel.height for panel in panels]
    every = block.subplots(len(panels), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, panel in zip(every, panels, strict=True):
        draw_panel(axes, series, panel, theme)
    header(block, list(every), labels.title(series), labels.facts(series), theme)
    time_axis(every[-1], series.start, series.end, wide=is_wide(block))
    block.align_ylabels(every)


def known_panels(series: Series, panels: Sequence[Panel]) -> Sequence[Panel]:
    """Return the panels with the lines that a series has: minutes have no bid and ask."""
    if not series.of_minutes:
        return panels
    known = (
        panel._replace(
            lines=tuple(
                line
                for line in panel.lines
                if panel.is_volume or panel.is_risk or panel.is_rate or line.metric in series.metrics
            )
        )
        for panel in panels
    )
    return [panel for panel in known if panel.lines]
