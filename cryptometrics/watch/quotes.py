"""Render the quotes as a table: one line per pair, or two on a narrow terminal with room for them. Pure.

Columns are dropped before a price is cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

from cryptometrics.market.venues import is_simulated, venue_label
from cryptometrics.text import percent
from cryptometrics.watch.fitted_table import FittedColumn, fitted_table, window
from cryptometrics.watch.price_bars import BARS, sparkline
from cryptometrics.watch.terminal_text import age, bps, line, time_span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.table import Table

    from cryptometrics.market.venues import Market
    from cryptometrics.store.stored_sessions import SessionRow
    from cryptometrics.watch.fitted_table import Cell
    from cryptometrics.watch.screen_data import ScreenData

WIDE = 149
"""Minimum width at which all values of a pair fit into one line."""
MAX_VENUE = 18
"""Characters of a venue in the table."""


class QuoteTable(NamedTuple):
    """The quotes of the pairs that fit."""

    table: Table
    lines: int
    """Lines of the table below its head."""
    above: int
    """Pairs that do not fit, and come before those that are shown."""
    below: int
    """Pairs that do not fit, and come after them."""


def quote_table(
    data: ScreenData, room: int, width: int, bars: str = BARS, selected: Market | None = None
) -> QuoteTable:
    """Return a table of the pairs that fit into `room` lines; the selected one is always among them."""
    every = data.snapshot.rows
    stacked = width < WIDE and 2 * len(every) <= room
    place = next((number for number, row in enumerate(every) if row.market == selected), 0)
    shown = range(len(every)) if stacked else window(len(every), place, room)
    rows = [every[number] for number in shown]
    cells = [_cells(data, row, is_selected=row.market == selected) for row in rows]
    if stacked:
        columns = _stacked(data, rows, cells, bars)
        styles = [style for c in cells for style in (c.style, "dim")]
    else:
        columns = (_wide if width >= WIDE else _short)(data, rows, cells, bars)
        styles = [c.style for c in cells]
    table = fitted_table(columns, styles, width)
    return QuoteTable(table, len(styles), shown.start, len(every) - shown.stop)


class _Cells(NamedTuple):
    """The values of a pair as text."""

    pair: Text
    venue: Text
    bid: str
    ask: str
    mid: str
    bps: str
    high: str
    from_high: str
    low: str
    from_low: str
    max_spread: str
    age: Text
    rate: str
    volatility: str
    """Annualised, of the last 24 hours."""
    drawdown: str
    """From the highest mid price of the last 24 hours."""
    style: str
    """Of the whole line."""


def _cells(data: ScreenData, row: SessionRow, *, is_selected: bool) -> _Cells:
    mid, rate = row.mid_price, data.history.rate(row.market)
    risk = data.snapshot.risk.get(row.market)
    return _Cells(
        pair=line((row.pair, "bold reverse" if is_selected else "bold")),
        venue=_venue(row.venue),
        bid=f"{row.bid:,f}",
        ask=f"{row.ask:,f}",
        mid=f"{mid:,f}",
        bps=f"{bps(row.spread, mid):.2f}",
        high=f"{row.highest_bid:,f}",
        from_high=f"{bps(row.bid - row.highest_bid, mid):+.0f}",
        low=f"{row.lowest_ask:,f}",
        from_low=f"{bps(row.ask - row.lowest_ask, mid):+.0f}",
        max_spread=f"{row.max_spread:,f}",
        age=age(data.quote_age(row)),
        rate="-" if rate is None else f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}",
        volatility=percent(risk.volatility if risk else None, nothing="-"),
        drawdown=percent(risk.drawdown if risk else None, nothing="-"),
        style="dim" if data.is_old(row) else "",
    )


def _venue(venue: str) -> Text:
    text = line((venue_label(venue), "yellow" if is_simulated(venue) else ""))
    text.truncate(MAX_VENUE, overflow="ellipsis")
    return text


def _bars(data: ScreenData, rows: Sequence[SessionRow], bars: str, below: Sequence[str] = ()) -> FittedColumn:
    """Return the column of sparklines; below: the text of a second line of each row, or nothing."""

    def cells(room: int) -> list[Text]:
        found = []
        for number, row in enumerate(rows):
            found.append(Text(sparkline(data.history.mids(row.market, room), bars), "cyan"))
            found += [Text(below[number])] if below else []
        return found

    seconds = data.history.span()
    title = f"mid, {time_span(seconds)}" if seconds >= 1 else "mid"
    return FittedColumn(title, below, right=False, drop=4, bars=cells)


def _venue_column(data: ScreenData, cells: Sequence[_Cells]) -> list[FittedColumn]:
    """Return the column of the venues; none if there is one venue, because the head names it."""
    if len(data.venues) < 2:
        return []
    return [FittedColumn("venue", [c.venue for c in cells], right=False)]


def _wide(
    data: ScreenData, rows: Sequence[SessionRow], cells: Sequence[_Cells], bars: str
) -> list[FittedColumn]:
    return [
        FittedColumn("pair", [c.pair for c in cells], right=False),
        *_venue_column(data, cells),
        FittedColumn("bid", [c.bid for c in cells]),
        FittedColumn("ask", [c.ask for c in cells]),
        FittedColumn("mid", [c.mid for c in cells]),
        FittedColumn("spread bps", [c.bps for c in cells], drop=1),
        _bars(data, rows, bars),
        FittedColumn("highest bid", [c.high for c in cells]),
        FittedColumn("bps off", [c.from_high for c in cells], drop=3),
        FittedColumn("lowest ask", [c.low for c in cells]),
        FittedColumn("bps off", [c.from_low for c in cells], drop=3),
        FittedColumn("max spread", [c.max_spread for c in cells], drop=2),
        FittedColumn("vol 24h", [c.volatility for c in cells], drop=5),
        FittedColumn("drawdown", [c.drawdown for c in cells], drop=5),
        FittedColumn("age", [c.age for c in cells]),
        FittedColumn("ticks/s", [c.rate for c in cells], drop=6),
    ]


def _stacked(
    data: ScreenData, rows: Sequence[SessionRow], cells: Sequence[_Cells], bars: str
) -> list[FittedColumn]:
    """Return columns with two lines per pair: the quote, and the session's extremes."""

    def two(
        title: str, lines: Iterable[tuple[Cell, Cell]], *, right: bool = True, drop: int = 0
    ) -> FittedColumn:
        return FittedColumn(title, [cell for pair in lines for cell in pair], right, drop)

    return [
        two("pair", ((c.pair, c.venue) for c in cells), right=False),
        two("bid/high", ((c.bid, c.high) for c in cells)),
        two("ask/low", ((c.ask, c.low) for c in cells)),
        two("mid/widest", ((c.mid, c.max_spread) for c in cells), drop=1),
        two("bps", ((c.bps, "") for c in cells), drop=3),
        _bars(data, rows, bars, [f"{c.from_high}/{c.from_low} bps" for c in cells]),
        two("age/vol", ((c.age, c.volatility) for c in cells), drop=2),
        two("tps/down", ((c.rate, c.drawdown) for c in cells), drop=5),
    ]


def _short(
    data: ScreenData, rows: Sequence[SessionRow], cells: Sequence[_Cells], bars: str
) -> list[FittedColumn]:
    return [
        FittedColumn("pair", [c.pair for c in cells], right=False),
        *_venue_column(data, cells),
        FittedColumn("mid", [c.mid for c in cells]),
        FittedColumn("bps", [c.bps for c in cells], drop=1),
        _bars(data, rows, bars),
        FittedColumn("high bps", [c.from_high for c in cells], drop=3),
        FittedColumn("low bps", [c.from_low for c in cells], drop=3),
        FittedColumn("vol 24h", [c.volatility for c in cells], drop=6),
        FittedColumn("drawdown", [c.drawdown for c in cells], drop=6),
        FittedColumn("age", [c.age for c in cells], drop=2),
        FittedColumn("ticks/s", [c.rate for c in cells], drop=5),
    ]
