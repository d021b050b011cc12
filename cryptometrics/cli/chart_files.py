"""Files of charts: draw pairs into a picture or a page, choose its file, and write it."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics import files
from cryptometrics.cli import options
from cryptometrics.errors import UserError
from cryptometrics.market.ticks import is_pair

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.figure import Figure

    from cryptometrics.plot.panels import Panel
    from cryptometrics.store.candles import Candles
    from cryptometrics.store.tick_series import Series

CHARTS = Path("charts")
"""The folder of charts without --out; it is created."""
WINDOW_DPI = 100
"""Dots per inch of a chart in a window."""


class Look(NamedTuple):
    """How a chart looks: the name of its theme, and its size in dots if it is not the usual one."""

    theme: str = "light"
    size: tuple[int, int] | None = None


DEFAULT = Look()


def is_page(out: Path | None) -> bool:
    """Return whether a chart is to be a page for a browser, by its suffix."""
    return out is not None and out.suffix.lower() == options.PAGE


def file_of(pair: str, suffix: str) -> Path:
    """Return the path of a pair's chart; raise UserError if a stored pair could escape the folder."""
    if not is_pair(pair):
        raise UserError(f"the stored pair {pair!a} cannot be a file name: set --out")
    return CHARTS / f"{pair}{suffix}.png"


def figure_of(
    together: Sequence[Series | Candles], panels: Sequence[Panel], look: Look = DEFAULT, *, show: bool = False
) -> Figure:
    """Return a chart with one column of panels, or of candles, per pair."""
    from cryptometrics.plot.candles import draw as draw_candles
    from cryptometrics.plot.figure import draw
    from cryptometrics.plot.theme import THEMES
    from cryptometrics.store.candles import Candles

    figure = empty_figure(show=show)
    candles = [each for each in together if isinstance(each, Candles)]
    if candles:
        draw_candles(figure, candles, THEMES[look.theme], look.size)
    else:
        series = [each for each in together if not isinstance(each, Candles)]
        draw(figure, series, panels, THEMES[look.theme], look.size)
    return figure


def empty_figure(*, show: bool) -> Figure:
    """Return an empty figure, which has a window if it is to be shown."""
    if show:
        import matplotlib.pyplot as plt

        return plt.figure()
    from matplotlib.figure import Figure

    return Figure()


def charts_of(
    loaded: Sequence[Series | Candles],
    out: Path | None,
    suffix: str,
    panels: Sequence[Panel],
    look: Look,
    *,
    show: bool,
) -> Iterator[tuple[Path, Figure | bytes]]:
    """Yield one chart of all pairs for the file `out`; without it, one per pair with its file.

    suffix: what the names of such files have after the pair.
    """
    together = {out: loaded} if out is not None else {file_of(e.market.pair, suffix): [e] for e in loaded}
    for path, each in together.items():
        yield path, chart_of(path, each, panels, look, show=show)


def chart_of(
    path: Path, together: Sequence[Series | Candles], panels: Sequence[Panel], look: Look, *, show: bool
) -> Figure | bytes:
    """Return a chart as a picture or as a page for a browser, by the suffix of its file."""
    if not is_page(path):
        return figure_of(together, panels, look, show=show)
    if find_spec("bokeh") is None:
        raise UserError(
            "a chart as a page needs bokeh, which is not installed: pip install 'cryptometrics[web]'"
        )
    from cryptometrics.plot.html_figure import page_of
    from cryptometrics.plot.theme import THEMES

    return page_of(together, panels, THEMES[look.theme], look.size).encode()


def save(path: Path, figure: Figure) -> None:
    """Write a chart in the format of the suffix; raise UserError if that is not possible."""
    from cryptometrics.plot.figure import render

    chart = render(figure, path.suffix.lower().removeprefix("."))
    if path.parent == CHARTS:
        try:
            CHARTS.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot create {CHARTS}: {error.strerror}") from None
    files.write(path, chart)


def write(path: Path, chart: Figure | bytes) -> None:
    """Write a picture or a page."""
    if isinstance(chart, bytes):
        files.write(path, chart)
    else:
        save(path, chart)
        chart.set_dpi(WINDOW_DPI)


def need_display(out: Path | None) -> None:
    """Raise UserError if no window can be opened, before any work is done."""
    if is_page(out):
        raise UserError("--show opens a window with a picture: remove it and open the page in a browser")
    # If there is no display server, the library that looks for it writes to stderr.
    possible = sys.platform != "linux" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")
    )
    if possible:
        try:
            import matplotlib.pyplot as plt

            figure = plt.figure()
        except (ImportError, RuntimeError, ValueError):  # a missing toolkit, or a wrong MPLBACKEND
            possible = False
        else:
            # Without a toolkit, matplotlib falls back to a backend that only writes files.
            possible = figure.canvas.required_interactive_framework is not None
            plt.close(figure)
    if not possible:
        raise UserError("--show needs a display and a toolkit such as Tk: remove it and open the file")
