"""`cryptometrics session`: the session's extremes and the newest quote of each venue and pair."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import click

from cryptometrics.cli import options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptometrics.market.venues import Market
    from cryptometrics.store.latest_risk import LatestRisk
    from cryptometrics.store.stored_sessions import SessionRow

    Figures = Mapping[Market, LatestRisk]

KEYS = (
    *("venue", "pair", "session", "consumer_group", "ticks", "late", "bid", "ask", "mid_price", "spread"),
    *("highest_bid", "highest_bid_at", "lowest_ask", "lowest_ask_at", "max_spread", "max_spread_at"),
    *("first_at", "last_at", "bid_size", "ask_size", "volatility", "drawdown"),
)
"""Keys of the JSON and columns of the plain table."""

RATIOS = ("volatility", "drawdown")
"""Keys of risk figures: None unless `risk --follow` has stored some."""

STACKS = {
    "pair\nsession": ("pair", "session"),
    "ticks\nlast at": ("ticks", "last_at"),
    "bid\nask": ("bid", "ask"),
    "mid\nspread": ("mid_price", "spread"),
    "highest bid\nat": ("highest_bid", "highest_bid_at"),
    "lowest ask\nat": ("lowest_ask", "lowest_ask_at"),
    "max spread\nat": ("max_spread", "max_spread_at"),
    "vol 24h\ndrawdown": ("volatility", "drawdown"),
}
"""Columns for people: two values share a column, so that the table fits into 80 characters."""
TALL = {
    "pair\nsession\nlate": ("pair", "session", "late"),
    "bid\nask\nmid": ("bid", "ask", "mid_price"),
    "highest bid\nat\nspread": ("highest_bid", "highest_bid_at", "spread"),
    "lowest ask\nat\nlast at": ("lowest_ask", "lowest_ask_at", "last_at"),
    "max spread\nat\nfirst at": ("max_spread", "max_spread_at", "first_at"),
    "vol 24h\ndrawdown\nticks": ("volatility", "drawdown", "ticks"),
}
"""The same for long prices, and for times that need their day."""
FLAT = {
    "pair": ("pair",),
    "session": ("session",),
    "ticks": ("ticks",),
    "last at": ("last_at",),
    "bid": ("bid",),
    "ask": ("ask",),
    "mid": ("mid_price",),
    "spread": ("spread",),
    "highest bid": ("highest_bid",),
    "highest at": ("highest_bid_at",),
    "lowest ask": ("lowest_ask",),
    "lowest at": ("lowest_ask_at",),
    "max spread": ("max_spread",),
    "widest at": ("max_spread_at",),
    "vol 24h": ("volatility",),
    "drawdown": ("drawdown",),
}
"""Each value in its own column, where the width allows it."""
ALL = FLAT | {
    "late": ("late",),
    "first at": ("first_at",),
    "bid size": ("bid_size",),
    "ask size": ("ask_size",),
}
"""Every value of a session."""


@click.command("session")
@options.pairs
@click.option(
    "--session", callback=options.name, metavar="NAME", help="Session to show. [default: the newest]"
)
@options.reading_group
@options.only_venue
@options.as_json
def session(
    pairs: tuple[str, ...], session: str | None, group: str | None, venue: str | None, as_json: bool
) -> None:
    """Show the session's extremes and the newest quote of each venue and pair.

    Volatility (realized, annualised) and drawdown are over 24 hours, as `risk --follow` has stored them.

    \b
    Example:
      cryptometrics session --pair BTC-USD
    """
    from cryptometrics.cli.connections import stored_group
    from cryptometrics.store import stored_sessions
    from cryptometrics.store.latest_risk import risk_of_sessions

    with stored_group(group, venue) as (connection, name):
        rows = stored_sessions.sessions(connection, name, venue=venue, pairs=pairs, session=session)
        risk = risk_of_sessions(connection, name, rows)
    if as_json:
        click.echo(as_text(rows, risk))
    else:
        show(rows, risk)


def as_text(rows: Sequence[SessionRow], risk: Figures) -> str:
    """Return a JSON list of objects named like the columns: decimals as exact strings, times as ISO 8601.

    risk: the newest figures of each market, as far as there are any.
    """
    from cryptometrics.cli.output import exact

    return json.dumps([{key: exact(_value(row, risk, key)) for key in KEYS} for row in rows], indent=2)


def show(rows: Sequence[SessionRow], risk: Figures) -> None:
    """Print a table per venue with two values per column for people, else one line per venue and pair."""
    from cryptometrics.cli.output import for_people, plain, print_table

    if not for_people():
        print_table(KEYS, [[plain(_value(row, risk, key)) for key in KEYS] for row in rows])
        return
    for venue, of_venue in itertools.groupby(rows, key=lambda row: row.venue):
        _show_venue(venue, list(of_venue), risk)


def _value(row: SessionRow, risk: Figures, key: str) -> Any:
    return getattr(risk.get(row.market), key, None) if key in RATIOS else getattr(row, key)


def _show_venue(venue: str, rows: Sequence[SessionRow], risk: Figures) -> None:
    from cryptometrics.cli.output import TIME, print_table, short, stacked, width
    from cryptometrics.cli.table_layout import natural_width, word_width
    from cryptometrics.market.venues import venue_label
    from cryptometrics.text import percent

    same_day = all(row.first_at.date() == row.last_at.date() for row in rows)
    time = "%H:%M:%S" if same_day else TIME.removeprefix("%Y-")

    def text(row: SessionRow, key: str) -> str:
        value = _value(row, risk, key)
        return percent(value) if key in RATIOS else short(value, time=time)

    caption = f"venue {venue_label(venue)}; prices in the quote currency, times in UTC"
    if known := [risk[row.market].as_of for row in rows if row.market in risk]:
        caption += f"; risk: 24h to {min(known):%Y-%m-%d %H:%M}"
    for columns in (ALL, FLAT, STACKS, TALL):
        values = [[[text(row, key) for key in keys] for keys in columns.values()] for row in rows]
        texts = [*zip(columns, *(["\n".join(cell) for cell in row] for row in values), strict=True)]
        needed = natural_width(texts, gap=1) if columns in (ALL, FLAT) else word_width(texts)
        if needed <= (width() or 0):
            break
    numbers = {head for head in columns if not head.startswith(("pair", "session"))}
    cells = [[stacked(*cell) for cell in row] for row in values]
    print_table([*columns], cells, numbers=numbers, caption=caption)
