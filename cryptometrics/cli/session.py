"""`cryptometrics session`: the extremes and the newest quote of each pair."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import options
from cryptometrics.times import iso

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from rich.table import Table

    from cryptometrics.store.catalog import SessionRow

WIDE = 10_000
"""Columns of a console whose lines are read by a program: nothing is ever cut."""

KEYS = (
    *("pair", "session", "consumer_group", "ticks", "late", "bid", "ask", "mid_price", "spread"),
    *("highest_bid", "highest_bid_at", "lowest_ask", "lowest_ask_at", "max_spread", "max_spread_at"),
    *("first_at", "last_at"),
)
"""What is known of a pair's session: the keys of the JSON and, one column each, of the plain table."""

STACKS = {
    "pair\nsession": ("pair", "session"),
    "ticks\nlast at": ("ticks", "last_at"),
    "bid\nask": ("bid", "ask"),
    "mid\nspread": ("mid_price", "spread"),
    "highest bid\nat": ("highest_bid", "highest_bid_at"),
    "lowest ask\nat": ("lowest_ask", "lowest_ask_at"),
    "max spread\nat": ("max_spread", "max_spread_at"),
}
"""On a terminal two values share a column, one above the other, so that 80 characters hold them."""


@click.command("session")
@options.pairs
@click.option(
    "--session", callback=options.name, metavar="NAME", help="A session; without it the newest one."
)
@options.reading_group
@options.as_json
def session(pairs: tuple[str, ...], session: str | None, group: str | None, as_json: bool) -> None:
    """Show the session's extremes and the last quote of each pair.

    \b
    Example:
      cryptometrics session --pair BTC-USD
    """
    from cryptometrics import config
    from cryptometrics.cli.waiting import waiting
    from cryptometrics.store import catalog
    from cryptometrics.store.connection import connect, snapshot
    from cryptometrics.store.database_errors import explaining

    with (
        connect(config.load(), notice=waiting("PostgreSQL")) as connection,
        explaining(),
        snapshot(connection),
    ):
        chosen = catalog.resolve_group(connection, group)
        rows = catalog.sessions(connection, chosen.name, pairs=pairs, session=session)
    if chosen.note:
        click.echo(chosen.note, err=True)
    if as_json:
        click.echo(as_text(rows))
    else:
        show(rows)


def as_text(rows: Sequence[SessionRow]) -> str:
    """Return a JSON list of objects named like the columns: decimals as exact strings, times as ISO 8601."""
    import json

    return json.dumps([{key: _exact(getattr(row, key)) for key in KEYS} for row in rows], indent=2)


def show(rows: Sequence[SessionRow]) -> None:
    """Print a table on stdout: for a person on a terminal, else one line a pair with nothing cut off."""
    from rich.console import Console

    console = Console(highlight=False)
    if console.is_terminal:
        table = _stacked(rows, gap=1)
        # Prices of many digits get the space between the columns rather than a second line.
        console.print(table if console.measure(table).maximum <= console.width else _stacked(rows, gap=0))
    else:
        Console(width=WIDE, highlight=False).print(_plain(rows))


def _stacked(rows: Sequence[SessionRow], *, gap: int) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, gap, 0, 0),
        pad_edge=False,
        caption="prices in the quote currency, times in UTC",
        caption_justify="left",
    )
    for number, header in enumerate(STACKS):
        table.add_column(header, justify="right" if number else "left", overflow="fold")
    for row in rows:
        cells = ([_short(getattr(row, key), row) for key in keys] for keys in STACKS.values())
        table.add_row(*(Text.assemble(above, "\n", (below, "dim")) for above, below in cells))
    return table


def _plain(rows: Sequence[SessionRow]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for key in KEYS:
        table.add_column(key, no_wrap=True)
    for row in rows:
        table.add_row(*(Text(str(_exact(getattr(row, key)))) for key in KEYS))
    return table


def _exact(value: str | int | Decimal | datetime) -> str | int:
    if isinstance(value, str | int):
        return value
    return iso(value) if isinstance(value, datetime) else f"{value:f}"


def _short(value: str | int | Decimal | datetime, row: SessionRow) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        within_a_day = row.first_at.date() == row.last_at.date()
        return f"{value:%H:%M:%S}" if within_a_day else f"{value:%m-%d %H:%M:%S}"
    return f"{value:,}" if isinstance(value, int) else f"{value:f}"
