"""`cryptometrics session`: the session's extremes and the newest quote of each venue and pair."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptometrics.store.stored_sessions import SessionRow

KEYS = (
    *("venue", "pair", "session", "consumer_group", "ticks", "late", "bid", "ask", "mid_price", "spread"),
    *("highest_bid", "highest_bid_at", "lowest_ask", "lowest_ask_at", "max_spread", "max_spread_at"),
    *("first_at", "last_at", "bid_size", "ask_size"),
)
"""Keys of the JSON and columns of the plain table."""

STACKS = {
    "pair\nsession": ("pair", "session"),
    "ticks\nlast at": ("ticks", "last_at"),
    "bid\nask": ("bid", "ask"),
    "mid\nspread": ("mid_price", "spread"),
    "highest bid\nat": ("highest_bid", "highest_bid_at"),
    "lowest ask\nat": ("lowest_ask", "lowest_ask_at"),
    "max spread\nat": ("max_spread", "max_spread_at"),
}
"""Columns for people: two values share a column, so that the table fits into 80 characters."""


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

    \b
    Example:
      cryptometrics session --pair BTC-USD
    """
    from cryptometrics.cli.connections import stored_group
    from cryptometrics.store import stored_sessions

    with stored_group(group, venue) as (connection, name):
        rows = stored_sessions.sessions(connection, name, venue=venue, pairs=pairs, session=session)
    if as_json:
        click.echo(as_text(rows))
    else:
        show(rows)


def as_text(rows: Sequence[SessionRow]) -> str:
    """Return a JSON list of objects named like the columns: decimals as exact strings, times as ISO 8601."""
    from cryptometrics.cli.output import exact

    return json.dumps([{key: exact(getattr(row, key)) for key in KEYS} for row in rows], indent=2)


def show(rows: Sequence[SessionRow]) -> None:
    """Print a table per venue with two values per column for people, else one line per venue and pair."""
    from cryptometrics.cli.output import for_people, plain, print_table

    if not for_people():
        print_table(KEYS, [[plain(getattr(row, key)) for key in KEYS] for row in rows])
        return
    for venue, of_venue in itertools.groupby(rows, key=lambda row: row.venue):
        _show_venue(venue, list(of_venue))


def _show_venue(venue: str, rows: Sequence[SessionRow]) -> None:
    from cryptometrics.cli.output import TIME, print_table, short, stacked
    from cryptometrics.market.venues import venue_label

    cells = []
    for row in rows:
        time = "%H:%M:%S" if row.first_at.date() == row.last_at.date() else TIME.removeprefix("%Y-")
        values = ([short(getattr(row, key), time=time) for key in keys] for keys in STACKS.values())
        cells.append([stacked(above, below) for above, below in values])
    heads = list(STACKS)
    caption = f"venue {venue_label(venue)}; prices in the quote currency, times in UTC"
    print_table(heads, cells, numbers=heads[1:], caption=caption)
