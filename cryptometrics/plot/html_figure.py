"""A chart as one self-contained page: no file beside it and no request to anybody (extra `web`).

It has the content of the pictures, and exact values under the pointer, zoom, and a crosshair.
"""

from __future__ import annotations

from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from bokeh.embed import file_html
from bokeh.layouts import column, gridplot, row
from bokeh.models import CrosshairTool, NumeralTickFormatter, Range1d
from bokeh.models.annotations import Span
from bokeh.models.widgets import Div
from bokeh.plotting import figure
from bokeh.resources import INLINE

from cryptometrics.market.venues import venue_label
from cryptometrics.plot import labels
from cryptometrics.plot.candles import HEIGHTS, MIN_WINDOWS, content
from cryptometrics.plot.figure import known_panels
from cryptometrics.plot.html_panels import (
    draw_candle_spreads,
    draw_candle_volumes,
    draw_candles,
    draw_panel,
    milliseconds,
)
from cryptometrics.plot.layout import MAX_COLUMNS
from cryptometrics.store.candles import Candles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptometrics.plot.panels import Panel
    from cryptometrics.plot.theme import Theme
    from cryptometrics.store.tick_series import Series

WIDE, NARROW = 1200, 640
"""Dots of a block: alone, and beside others."""
PANEL = 170
"""Dots of a panel of height 1."""
MIN_PANEL = 50
HEADER, LEGEND, TIMES = 60, 46, 64
"""Dots of a block's title and facts, of the legend of each panel, and of the time axis."""
TOOLS = "xpan,xwheel_zoom,xbox_zoom,reset,save"


def page_of(
    together: Sequence[Series | Candles],
    panels: Sequence[Panel],
    theme: Theme,
    size: tuple[int, int] | None = None,
) -> str:
    """Return the page with a block per pair; size: its width and height in dots."""
    columns = 2 if len(together) == 4 else min(len(together), MAX_COLUMNS)
    rows = -(-len(together) // columns)
    width = size[0] // columns if size else WIDE if columns == 1 else NARROW
    height = None if size is None else size[1] // rows
    blocks = [_block(each, panels, theme, width, height) for each in together]
    lines = [row(*blocks[first : first + columns]) for first in range(0, len(blocks), columns)]
    pairs = ", ".join(each.market.pair for each in together)
    page = file_html(column(*lines), INLINE, title=f"{pairs} · cryptometrics")
    return page.replace("<head>", f"<head>\n<style>{_style(theme)}</style>", 1)


def _style(theme: Theme) -> str:
    return (
        f"body{{margin:12px;background:{theme.background};color:{theme.foreground};"
        "font-family:system-ui,sans-serif}"
    )


def _block(
    each: Series | Candles, panels: Sequence[Panel], theme: Theme, width: int, height: int | None
) -> Any:
    """Return title, facts and panels of a pair; the panels share the time axis and the crosshair."""
    draws: list[tuple[str, float, bool, Callable[[Any], None]]]
    base, _, quote = each.market.pair.partition("-")
    if isinstance(each, Candles):
        end = each.candles[-1].end
        spare = max(MIN_WINDOWS * each.size - (end - each.candles[0].start), 0 * each.size) / 2
        span = each.candles[0].start - spare, end + spare
        title = f"{each.market.pair} · {venue_label(each.market.venue)} · {each.name} {each.kind}"
        facts = [
            f"{each.candles[0].start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC",
            content(each),
            f"group {each.group}",
        ]
        names = (f"mid price ({quote})", f"volume ({base})", f"spread ({quote})")
        functions = (draw_candles, draw_candle_volumes, draw_candle_spreads)
        draws = [
            (name, share, function is not draw_candles, partial(function, series=each, theme=theme))
            for name, share, function in zip(names, HEIGHTS, functions, strict=True)
        ]
    else:
        span = each.start, each.end
        title, facts = labels.title(each), labels.facts(each)
        draws = [
            (
                panel.label.format(base=base, quote=quote),
                panel.height,
                panel.from_zero,
                partial(draw_panel, series=each, panel=panel, theme=theme),
            )
            for panel in known_panels(each, panels)
        ]
    unit: float = PANEL
    if height is not None:
        unit = (height - HEADER - TIMES - LEGEND * len(draws)) / sum(share for _, share, *_ in draws)
    left, right = map(milliseconds, span)
    free = max((right - left) * 0.01, 1.0)
    times = Range1d(start=left - free, end=right + free)
    pointer = Span(dimension="height", line_color=theme.muted, line_width=1)
    plots: list[Any] = []
    for name, share, is_from_zero, draw in draws:
        is_last = len(plots) == len(draws) - 1
        plot: Any = figure(
            width=width,
            height=LEGEND + max(MIN_PANEL, round(unit * share)) + TIMES * is_last,
            x_axis_type="datetime",
            x_range=times,
            tools=TOOLS,
            active_drag="xpan",
            active_scroll="xwheel_zoom",
        )
        plot.add_tools(CrosshairTool(overlay=pointer, dimensions="height"))
        _look(plot, name, theme)
        draw(plot)
        if is_from_zero:
            plot.y_range.start = 0
        plots.append(plot)
    plots[-1].xaxis.axis_label = "time (UTC)"
    for plot in plots[:-1]:
        plot.xaxis.visible = False
    # Names of sessions and groups are free text: shown as it is, and no formula.
    head = Div(
        text=f"<strong style='font-size:17px'>{escape(title)}</strong><br>"
        f"<span style='color:{theme.muted}'>{escape(' · '.join(facts))}</span>",
        disable_math=True,
        styles={"color": theme.foreground},
    )
    return column(head, gridplot([[plot] for plot in plots], toolbar_location="right"))


def _look(plot: Any, name: str, theme: Theme) -> None:
    plot.background_fill_color = plot.border_fill_color = theme.background
    plot.outline_line_color = None
    plot.grid.grid_line_color = theme.grid
    plot.min_border_left = 90
    plot.y_range.range_padding = 0.16  # the names of extremes have room
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0.[0000000000]")
    plot.yaxis.axis_label = name
    plot.axis.axis_label_text_color = theme.foreground
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.major_label_text_color = theme.foreground
    plot.axis.axis_line_color = theme.muted
    plot.axis.major_tick_line_color = theme.muted
    plot.axis.minor_tick_line_color = None
