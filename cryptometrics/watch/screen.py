"""Render the screen with Rich. Pure.

It fits the given width and height. On a narrow terminal each pair has two lines if all of them fit, otherwise
one; a note counts the pairs that do not fit. Columns are dropped before a price is cut. Portfolios take only
lines that no pair needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.console import Group
from rich.text import Text

from cryptometrics.market.venues import is_simulated, venue_label
from cryptometrics.text import escape, listed, percent
from cryptometrics.watch.fitted_table import FittedColumn, fitted_table
from cryptometrics.watch.portfolios import portfolio_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from rich.console import RenderableType
    from rich.table import Table

    from cryptometrics.kafka.open_transactions import OpenTransaction
    from cryptometrics.store.live_snapshot import FiringAlert, Snapshot
    from cryptometrics.store.stored_sessions import SessionRow
    from cryptometrics.watch.fitted_table import Cell
    from cryptometrics.watch.history import History

WIDE = 149
"""Minimum width at which all values of a pair fit into one line."""
BARS, PLAIN_BARS = "▁▂▃▄▅▆▇█", "_.-=+*%#"
SLOW_S, STALE_S = 5.0, 30.0
"""Ages from which a quote is yellow, or red and old."""
HIGH_LAG = 10_000
"""A larger lag is yellow."""
MAX_ALERTS = 5
MAX_AUTHOR = 16
"""Characters of the name of a person who acknowledged an alert."""
MAX_VENUE = 18
"""Characters of a venue in the table."""
SEVERITIES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}


class ScreenData(NamedTuple):
    """The data of one rendering."""

    snapshot: Snapshot
    history: History
    lags: Mapping[tuple[str, int], int]
    """(topic, partition) → messages that are not stored yet; only known ones."""
    trouble: str | None = None
    """Why something is not up to date, for the viewer."""
    parts: Sequence[tuple[str, str]] = ()
    """What runs beside the screen: name and state."""
    since: datetime | None = None
    """When the feed beside the screen began: older quotes are not its own."""
    open_transactions: Mapping[tuple[str, int], OpenTransaction | None] = {}
    """(topic, partition) → the open transaction that holds back its readers, or None; only known ones."""


def render(data: ScreenData, width: int, height: int, *, ascii_only: bool = False) -> RenderableType:
    """Return the screen for a terminal of this size."""
    snapshot = data.snapshot
    head = _head(data)
    foot = [_lag(data, width), *_open_transactions(data), _outcomes(snapshot)]
    foot += _alerts(snapshot.alerts, max(height // 4, 2))
    foot += _old_quotes(data)
    foot += [_line((f"{name} ", "dim"), state) for name, state in data.parts]
    if data.trouble:
        foot.append(_line((data.trouble, "bold red")))
    room = max(height - len(foot) - 4, 1)  # the head, two lines of the table, an empty line
    pairs = len(snapshot.rows)
    needed = 2 * pairs if width < WIDE and 2 * pairs <= room else pairs
    portfolios = portfolio_lines(snapshot.portfolios, snapshot.at, max(room - needed, 0))
    room -= len(portfolios)
    foot = portfolios + foot
    bars = PLAIN_BARS if ascii_only else BARS
    if not snapshot.rows:
        return Group(head, Text(""), _line(("waiting for the first ticks", "dim")), Text(""), *foot)
    if width >= WIDE:
        table, shown = _wide(data, room, bars, width)
    elif len(snapshot.rows) * 2 <= room:
        table, shown = _stacked(data, bars, width), len(snapshot.rows)
    else:
        table, shown = _short(data, room, bars, width)
    left = len(snapshot.rows) - shown
    note = f"{left} more pairs: enlarge the window, or choose with --pair" if left else ""
    return Group(head, table, _line((note, "dim")), *foot)


def sparkline(values: Sequence[Decimal | None], bars: str = BARS) -> str:
    """Return one character per value, as high as the value is between the lowest and the highest."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    last = len(bars) - 1
    return "".join(
        " " if value is None else bars[last // 2 if not span else int((value - low) / span * last)]
        for value in values
    )


def bps(part: Decimal, mid: Decimal) -> float:
    """Return a part of a mid price in basis points, for display only."""
    return float(part / mid) * 10_000


def age(seconds: float) -> Text:
    """Return the age of a quote, in its colour."""
    style = "red" if seconds >= STALE_S else "yellow" if seconds >= SLOW_S else "green"
    if seconds < 60:
        text = f"{max(seconds, 0):.1f}s"
    elif seconds < 3600:
        text = f"{seconds / 60:.0f}m"
    elif seconds < 48 * 3600:
        text = f"{seconds / 3600:.0f}h"
    else:
        text = f"{seconds / 86400:.0f}d"
    return Text(text, style)


def _age(data: ScreenData, row: SessionRow) -> float:
    return (data.snapshot.at - row.last_at).total_seconds()


def _is_old(data: ScreenData, row: SessionRow) -> bool:
    """Return whether a quote is not the market of this moment."""
    return _age(data, row) >= STALE_S or (data.since is not None and row.last_at < data.since)


def _old_quotes(data: ScreenData) -> list[Text]:
    """Return a line that names the old quotes, if there are any."""
    several = len(_venues(data.snapshot)) > 1
    old = [
        f"{row.pair}{f' {venue_label(row.venue)}' if several else ''} {age(_age(data, row)).plain}"
        for row in data.snapshot.rows
        if _is_old(data, row)
    ]
    return [_line((f"old quotes: {listed(old)}", "red"))] if old else []


def _line(*parts: str | tuple[str, str]) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    for part in parts:
        text, style = (part, "") if isinstance(part, str) else part
        line.append(escape(text), style)
    return line


def _head(data: ScreenData) -> Text:
    snapshot = data.snapshot
    sessions = sorted({row.session for row in snapshot.rows})
    session = sessions[-1] if len(sessions) == 1 else f"{len(sessions)} sessions" if sessions else "none yet"
    rates = [rate for row in snapshot.rows if (rate := data.history.rate(row.market)) is not None]
    venues = _venues(snapshot)
    simulated = any(map(is_simulated, venues))
    speed = f"{sum(rates):,.0f} ticks/s" if rates else "- ticks/s"
    return _line(
        (f"{snapshot.at:%H:%M:%S} UTC", "bold"),
        "  ", (listed(map(venue_label, venues)) or "no venue yet", "bold yellow" if simulated else "bold"),
        "  group ", (snapshot.group, "bold"), "  session ", (session, "bold"), f"  {speed}",
    )  # fmt: skip


def _venue(venue: str) -> Text:
    text = _line((venue_label(venue), "yellow" if is_simulated(venue) else ""))
    text.truncate(MAX_VENUE, overflow="ellipsis")
    return text


def _venues(snapshot: Snapshot) -> list[str]:
    return sorted({row.venue for row in snapshot.rows})


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


def _cells(data: ScreenData, row: SessionRow) -> _Cells:
    mid, rate = row.mid_price, data.history.rate(row.market)
    risk = data.snapshot.risk.get(row.market)
    return _Cells(
        pair=_line((row.pair, "bold")),
        venue=_venue(row.venue),
        bid=f"{row.bid:f}",
        ask=f"{row.ask:f}",
        mid=f"{mid:f}",
        bps=f"{bps(row.spread, mid):.2f}",
        high=f"{row.highest_bid:f}",
        from_high=f"{bps(row.bid - row.highest_bid, mid):+.0f}",
        low=f"{row.lowest_ask:f}",
        from_low=f"{bps(row.ask - row.lowest_ask, mid):+.0f}",
        max_spread=f"{row.max_spread:f}",
        age=age(_age(data, row)),
        rate="-" if rate is None else f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}",
        volatility=percent(risk.volatility if risk else None, nothing="-"),
        drawdown=percent(risk.drawdown if risk else None, nothing="-"),
        style="dim" if _is_old(data, row) else "",
    )


def _bars(data: ScreenData, rows: Sequence[SessionRow], bars: str, below: Sequence[str] = ()) -> FittedColumn:
    """Return the column of sparklines; below: the text of a second line of each row, or nothing."""

    def cells(room: int) -> list[Text]:
        found = []
        for number, row in enumerate(rows):
            found.append(Text(sparkline(data.history.mids(row.market, room), bars), "cyan"))
            found += [Text(below[number])] if below else []
        return found

    seconds = data.history.span()
    span = f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"
    return FittedColumn(f"mid, {span}" if seconds >= 1 else "mid", below, right=False, drop=4, bars=cells)


def _venue_column(data: ScreenData, cells: Sequence[_Cells]) -> list[FittedColumn]:
    """Return the column of the venues; none if there is one venue, because the head names it."""
    if len(_venues(data.snapshot)) < 2:
        return []
    return [FittedColumn("venue", [c.venue for c in cells], right=False)]


def _wide(data: ScreenData, room: int, bars: str, width: int) -> tuple[Table, int]:
    rows = data.snapshot.rows[:room]
    cells = [_cells(data, row) for row in rows]
    columns = [
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
    return fitted_table(columns, [c.style for c in cells], width), len(rows)


def _stacked(data: ScreenData, bars: str, width: int) -> Table:
    """Return a table with two lines per pair: the quote, and the session's extremes."""
    rows = data.snapshot.rows
    cells = [_cells(data, row) for row in rows]

    def two(
        title: str, lines: Iterable[tuple[Cell, Cell]], *, right: bool = True, drop: int = 0
    ) -> FittedColumn:
        return FittedColumn(title, [cell for pair in lines for cell in pair], right, drop)

    columns = [
        two("pair", ((c.pair, c.venue) for c in cells), right=False),
        two("bid/high", ((c.bid, c.high) for c in cells)),
        two("ask/low", ((c.ask, c.low) for c in cells)),
        two("mid/widest", ((c.mid, c.max_spread) for c in cells), drop=1),
        two("bps", ((c.bps, "") for c in cells), drop=3),
        _bars(data, rows, bars, [f"{c.from_high}/{c.from_low} bps" for c in cells]),
        two("age/vol", ((c.age, c.volatility) for c in cells), drop=2),
        two("tps/down", ((c.rate, c.drawdown) for c in cells), drop=5),
    ]
    return fitted_table(columns, [style for c in cells for style in (c.style, "dim")], width)


def _short(data: ScreenData, room: int, bars: str, width: int) -> tuple[Table, int]:
    rows = data.snapshot.rows[:room]
    cells = [_cells(data, row) for row in rows]
    columns = [
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
    return fitted_table(columns, [c.style for c in cells], width), len(rows)


def _lag(data: ScreenData, width: int) -> Text:
    partitions = data.snapshot.partitions
    lags = {
        part.partition: lag
        for part in partitions
        if (lag := data.lags.get((part.topic, part.partition))) is not None
    }
    if not partitions:
        return _line(("lag ", "dim"), "nothing read yet")
    if not lags:
        return _line(("lag ", "dim"), "unknown: Kafka has not answered yet")
    total = sum(lags.values())
    parts: list[str | tuple[str, str]] = [
        ("lag ", "dim"),
        (f"{total:,}", "yellow" if total > HIGH_LAG else "bold"),
    ]
    used = len(f"lag {total:,}")
    for number, (partition, lag) in enumerate(sorted(lags.items())):
        text = f"  p{partition} {lag:,}"
        left = len(lags) - number
        more = f"  and {left} more"
        if used + len(text) + (len(more) if left > 1 else 0) > width:
            parts.append((more, "dim"))
            break
        used += len(text)
        parts += [(f"  p{partition} ", "dim"), f"{lag:,}"]
    return _line(*parts)


def _open_transactions(data: ScreenData) -> list[Text]:
    """Return a line if open transactions hold messages back, none otherwise."""
    found = {
        part.partition: transaction
        for part in data.snapshot.partitions
        if (transaction := data.open_transactions.get((part.topic, part.partition))) is not None
    }
    if not found:
        return []
    messages = sum(transaction.messages for transaction in found.values())
    since = min(transaction.since for transaction in found.values())
    places = " ".join(f"p{partition}" for partition in sorted(found))
    text = f"{messages:,} messages since {since:%H:%M:%S} UTC in {places}"
    return [_line(("held back by open transactions ", "yellow"), text)]


def _outcomes(snapshot: Snapshot) -> Text:
    parts: list[str | tuple[str, str]] = []
    for outcome, style in (
        *(("metrics", ""), ("rejected", "yellow"), ("gaps", "yellow"), ("duplicates", ""), ("holes", "")),
    ):
        count = snapshot.total(outcome)
        title = {"metrics": "stored"}.get(outcome, outcome)
        parts += [(f"{'  ' if parts else ''}{title} ", "dim"), (f"{count:,}", style if count else "")]
    return _line(*parts)


def _people(alert: FiringAlert) -> str:
    """Return whether a person looks after an alert; before its message, which may be cut."""
    seen = f"acknowledged by {alert.acknowledged_by[:MAX_AUTHOR]} " if alert.acknowledged_by else ""
    return ("silenced " if alert.silenced else "") + seen


def _alerts(alerts: Sequence[FiringAlert], limit: int) -> list[Text]:
    """Return one line per firing alert, newest first."""
    shown = alerts[: min(limit, MAX_ALERTS)]
    lines = [
        _line(
            (f"{alert.severity.upper():<8} ", SEVERITIES.get(alert.severity, "yellow")),
            f"{alert.fired_at:%H:%M:%S} ",
            (_people(alert), "dim"),
            f"{alert.pair or '*'} {alert.rule}: {alert.message}",
        )
        for alert in shown
    ]
    if len(alerts) > len(shown):
        lines.append(_line((f"and {len(alerts) - len(shown)} more firing alerts", "dim")))
    return lines
