"""Render a page of the live view: the names of the pages, the head, and what the page shows. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from cryptometrics.watch.firing_alerts import alert_page
from cryptometrics.watch.partitions import partition_table
from cryptometrics.watch.portfolios import portfolio_page
from cryptometrics.watch.screen import market
from cryptometrics.watch.status_lines import head, notes, pipeline_lines
from cryptometrics.watch.terminal_text import line
from cryptometrics.watch.view import ORDERS, PAGES, chosen

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cryptometrics.watch.screen_data import ScreenData
    from cryptometrics.watch.view import WatchView

TOP = 2
"""Lines above each page: the names of the pages, and the head."""


def page(
    data: ScreenData, view: WatchView, width: int, height: int, *, ascii_only: bool = False
) -> RenderableType:
    """Return the page of a view, in at most `height` lines."""
    mark = ("  PAUSED", "bold reverse") if view.is_paused else ("", "")
    top = [_tabs(data, view), head(data, mark)]
    if view.page == "market":
        return Group(*top, _market(data, view, width, max(height - TOP, 1), ascii_only=ascii_only))
    room = _room(data, view, width, height)
    first = min(view.top, last_top(data, view, width, height))
    foot = _foot(data, view, width)
    if view.page == "pipeline":
        partitions = data.snapshot.partitions[first : first + room]
        return Group(*top, Text(""), partition_table(data, partitions, width), *foot)
    lines = _lines(data, view, width, ascii_only=ascii_only)
    shown = lines[first : first + room]
    if left := len(lines) - first - len(shown):
        shown[-1] = line((f"{left + 1} more lines", "dim"))
    return Group(*top, Text(""), *shown, *foot)


def last_top(data: ScreenData, view: WatchView, width: int, height: int) -> int:
    """Return the largest useful `WatchView.top` of a page of lines: it shows the last one."""
    if view.page == "market":
        return 0
    pipeline = view.page == "pipeline"
    count = len(data.snapshot.partitions if pipeline else _lines(data, view, width))
    return max(count - _room(data, view, width, height), 0)


def _room(data: ScreenData, view: WatchView, width: int, height: int) -> int:
    """Return the lines for what scrolls: below an empty line, and the head of a table."""
    used = TOP + 1 + (view.page == "pipeline") + len(_foot(data, view, width))
    return max(height - used, 1)


def _foot(data: ScreenData, view: WatchView, width: int) -> list[Text]:
    if view.page == "pipeline":
        return [Text(""), *pipeline_lines(data, width), *notes(data)]
    found = notes(data)
    return [Text(""), *found] if found else []


def _lines(data: ScreenData, view: WatchView, width: int, *, ascii_only: bool = False) -> list[Text]:
    """Return the lines of the portfolios or of the alerts, or why there are none."""
    snapshot = chosen(data, view).snapshot
    if view.page == "portfolio":
        lines = portfolio_page(snapshot.portfolios, snapshot.at, width, ascii_only=ascii_only)
        nothing = "no portfolio: load one with `cryptometrics positions load`"
    else:
        lines = alert_page(snapshot.alerts, snapshot.at)
        nothing = "no alert fires"
    return lines or [line((f"nothing matches {view.filter}" if view.filter else nothing, "dim"))]


def _market(data: ScreenData, view: WatchView, width: int, room: int, *, ascii_only: bool) -> RenderableType:
    shown = chosen(data, view)
    rows = shown.snapshot.rows
    if data.snapshot.rows and not rows:
        return Group(Text(""), line((f"no pair matches {view.filter}", "dim")), Text(""), *notes(data))
    selected = view.selected if any(row.market == view.selected for row in rows) else None
    first = rows[0].market if rows else None
    return market(shown, width, room, ascii_only=ascii_only, selected=selected or first, is_live=True)


def _tabs(data: ScreenData, view: WatchView) -> Text:
    """Return the names of the pages, the present one marked, and how pairs are sorted and filtered."""
    parts: list[str | tuple[str, str]] = []
    for name in PAGES:
        count = f" {len(data.snapshot.alerts)}" if name == "alerts" and data.snapshot.alerts else ""
        style = "bold reverse" if name == view.page else "yellow" if count else ""
        parts.append((f" {name}{count} ", style))
    if view.filter:
        parts.append((f"  /{view.filter}", "bold cyan"))
    if view.page == "market" and (view.order, view.is_reversed) != (ORDERS[0], False):
        descending = (view.order != ORDERS[0]) != view.is_reversed
        parts.append((f"  by {view.order}, {'descending' if descending else 'ascending'}", "cyan"))
    return line(*parts)
