"""Render one frame: the quotes, and around them portfolios, lag, outcomes and alerts. Pure.

It fits the given width and height; a note counts the pairs that do not fit. Portfolios take only lines that
no pair needs, and in a live view the details of the selected pair take those that are left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from cryptometrics.watch.firing_alerts import alert_lines
from cryptometrics.watch.pair_details import MIN_DETAIL_LINES, pair_details
from cryptometrics.watch.portfolios import portfolio_lines
from cryptometrics.watch.price_bars import BARS, PLAIN_BARS
from cryptometrics.watch.quotes import WIDE, quote_table
from cryptometrics.watch.status_lines import head, notes, pipeline_lines
from cryptometrics.watch.terminal_text import line

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cryptometrics.market.venues import Market
    from cryptometrics.watch.screen_data import ScreenData

MAX_ALERTS = 5
"""Alerts below the quotes."""
LOW = 12
"""In fewer lines, a live view leaves to its other pages what the quotes need."""


def render(data: ScreenData, width: int, height: int, *, ascii_only: bool = False) -> RenderableType:
    """Return the frame for a terminal of this size: the head, and the market."""
    return Group(head(data), market(data, width, height - 1, ascii_only=ascii_only))


def market(
    data: ScreenData,
    width: int,
    height: int,
    *,
    ascii_only: bool = False,
    selected: Market | None = None,
    is_live: bool = False,
) -> RenderableType:
    """Return the quotes and what is below them.

    selected: the pair that is marked. is_live: show its details where there is room.
    """
    snapshot = data.snapshot
    bars = PLAIN_BARS if ascii_only else BARS
    foot = _foot(data, width, height, is_live=is_live)
    room = max(height - len(foot) - 2, 1)  # the head of the table, and an empty line
    pairs = len(snapshot.rows)
    needed = max(2 * pairs if width < WIDE and 2 * pairs <= room else pairs, 1)
    portfolios = portfolio_lines(snapshot.portfolios, snapshot.at, max(room - needed, 0))
    room -= len(portfolios)
    foot = portfolios + foot
    if not snapshot.rows:
        return Group(Text(""), line(("waiting for the first ticks", "dim")), Text(""), *foot)
    quotes = quote_table(data, room, width, bars, selected)
    details: list[Text] = []
    if is_live and (left := room - quotes.lines) >= MIN_DETAIL_LINES:
        rows = [row for row in snapshot.rows if row.market == selected] or snapshot.rows
        details = pair_details(data, rows[0], width, left, bars)
    return Group(quotes.table, *details, _more(quotes.above, quotes.below, is_live=is_live), *foot)


def _foot(data: ScreenData, width: int, height: int, *, is_live: bool) -> list[Text]:
    """Return the lines below the quotes and the portfolios."""
    if is_live and height < LOW:
        return [pipeline_lines(data, width)[0], *alert_lines(data.snapshot.alerts[:1], 1), *notes(data)]
    alerts = alert_lines(data.snapshot.alerts, min(max(height // 4, 2), MAX_ALERTS))
    return [*pipeline_lines(data, width), *alerts, *notes(data)]


def _more(above: int, below: int, *, is_live: bool) -> Text:
    """Return how many pairs are not shown, and how to see them."""
    if not above + below:
        return Text("")
    if is_live:
        return line((f"{above + below} more pairs: {above} above, {below} below", "dim"))
    return line((f"{below} more pairs: enlarge the window, or choose with --pair", "dim"))
