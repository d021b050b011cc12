"""Render everything about one pair: quote, extremes, risk, and a chart of the recent mid prices. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from cryptometrics.market.venues import venue_label
from cryptometrics.text import percent
from cryptometrics.watch.price_bars import BARS, chart
from cryptometrics.watch.terminal_text import bps, line, time_span

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from cryptometrics.store.stored_sessions import SessionRow
    from cryptometrics.watch.screen_data import ScreenData

FACTS = 4
"""Lines above the chart, with the title."""
MIN_CHART, MAX_CHART = 3, 30
"""Lines of the chart."""
MIN_DETAIL_LINES = FACTS + MIN_CHART + 1
"""The fewest lines in which the details are readable: with an empty line before them."""


def pair_details(data: ScreenData, row: SessionRow, width: int, room: int, bars: str = BARS) -> list[Text]:
    """Return at most `room` lines, with a chart as wide as the terminal."""
    lines = [Text(""), _title(data, row), _quote(row), _extremes(row), _risk(data, row)]
    return lines + _chart(data, row, width, min(room - len(lines), MAX_CHART), bars)


def _title(data: ScreenData, row: SessionRow) -> Text:
    seconds = data.history.span()
    return line(
        (row.pair, "bold"),
        f"  {venue_label(row.venue)}",
        ("  chart ", "dim"),
        f"mid, {time_span(seconds)}" if seconds >= 1 else "mid",
        ("  session ", "dim"),
        row.session,
        ("  ticks ", "dim"),
        f"{row.ticks:,}",
        ("  late ", "dim"),
        f"{row.late:,}",
    )


def _quote(row: SessionRow) -> Text:
    return line(
        ("bid ", "dim"),
        f"{row.bid:,f}{_size(row.bid_size)}",
        ("  ask ", "dim"),
        f"{row.ask:,f}{_size(row.ask_size)}",
        ("  spread ", "dim"),
        f"{row.spread:,f}",
        f" ({bps(row.spread, row.mid_price):.3g} bps)",
    )


def _extremes(row: SessionRow) -> Text:
    parts: list[str | tuple[str, str]] = []
    for title, value, at in (
        ("highest bid ", row.highest_bid, row.highest_bid_at),
        ("  lowest ask ", row.lowest_ask, row.lowest_ask_at),
        ("  max spread ", row.max_spread, row.max_spread_at),
    ):
        parts += [(title, "dim"), f"{value:,f}", (f" {_time(at, row.last_at)}", "dim")]
    return line(*parts)


def _risk(data: ScreenData, row: SessionRow) -> Text:
    risk = data.snapshot.risk.get(row.market)
    if risk is None:
        return line(("no risk stored: run `cryptometrics risk --follow`", "dim"))
    return line(
        ("24 h: volatility ", "dim"),
        percent(risk.volatility, nothing="-"),
        ("  drawdown ", "dim"),
        percent(risk.drawdown, nothing="-"),
        ("  VaR 1 h 99 % ", "dim"),
        percent(risk.value_at_risk, nothing="-"),
        ("  coverage ", "dim"),
        percent(risk.coverage),
        ("  gap minutes ", "dim"),
        (f"{risk.gap_minutes:,}", "yellow" if risk.gap_minutes else ""),
    )


def _chart(data: ScreenData, row: SessionRow, width: int, height: int, bars: str) -> list[Text]:
    """Return a chart with its highest and its lowest price at the left."""
    mids = data.history.mids(row.market, width)
    known = [mid for mid in mids if mid is not None]
    if height < MIN_CHART or not known:
        return []
    labels = [f"{max(known):,f}", f"{min(known):,f}"]
    room = max(map(len, labels)) + 1
    mids = data.history.mids(row.market, max(width - room, 1))
    drawn = chart(mids, height, bars)
    left = [labels[0], *[""] * (height - 2), labels[1]]
    return [
        line((f"{label:>{room - 1}} ", "dim"), (text, "cyan"))
        for label, text in zip(left, drawn, strict=True)
    ]


def _size(size: Decimal | None) -> str:
    return "" if size is None else f" × {size:,f}"


def _time(at: datetime, newest: datetime) -> str:
    """Return the time of an extreme, with its day if that is not the day of the newest quote."""
    return f"{at:%H:%M:%S}" if at.date() == newest.date() else f"{at:%Y-%m-%d %H:%M}"
