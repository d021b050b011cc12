"""`cryptometrics gaps`: what the live feed has not heard, from PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import click

from cryptometrics.cli import options
from cryptometrics.times import iso

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptometrics.store.feed_gaps import GapRow, PairGaps

WIDE = 10_000
"""Columns of a console whose lines are read by a program: nothing is ever cut."""

PAIR_COLUMNS = {
    "pair": "pair",
    "covered_s": "covered s",
    "ticks": "ticks",
    "gaps": "gaps",
    "trades_missed": "trades missed",
    "longest_gap_s": "longest silence s",
    "reconnects": "reconnects",
}
GAP_COLUMNS = {
    "pair": "pair",
    "kind": "kind",
    "begins_at": "from (UTC)",
    "ends_at": "to",
    "first_trade_id": "first trade",
    "last_trade_id": "last trade",
    "trades_missed": "missed",
}
"""What is known of a gap: the key in the JSON, and the head of the column on a terminal."""


@click.command("gaps")
@options.pairs
@click.option(
    "--since",
    metavar="TIME",
    callback=options.time,
    help="Only from then on: 15m, 2h or 7d ago, or a time (UTC).",
)
@click.option("--list", "listing", is_flag=True, help="Each gap, not their sums.")
@options.reading_group
@options.as_json
def gaps(
    pairs: tuple[str, ...], since: datetime | None, listing: bool, group: str | None, as_json: bool
) -> None:
    """Show what the live feed has not heard: gaps, trades missed, reconnects.

    \b
    Example:
      cryptometrics gaps --since 1d
    """
    from cryptometrics import config
    from cryptometrics.cli.waiting import waiting
    from cryptometrics.store import catalog
    from cryptometrics.store import feed_gaps as store
    from cryptometrics.store.connection import connect, snapshot
    from cryptometrics.store.database_errors import explaining

    with (
        connect(config.load(), notice=waiting("PostgreSQL")) as connection,
        explaining(),
        snapshot(connection),
    ):
        chosen = catalog.resolve_group(connection, group)
        summary = store.by_pair(connection, chosen.name, pairs, since)
        rows = store.gaps(connection, chosen.name, pairs, since)
    if chosen.note:
        click.echo(chosen.note, err=True)
    if as_json:
        click.echo(as_text(summary, rows))
    elif not rows:
        click.echo("no gap records: the live feed (`cryptometrics ingest`) writes one at each start")
    else:
        if listing:
            _show(GAP_COLUMNS, rows)
        else:
            _show(PAIR_COLUMNS, summary)
        unknown = sum(row.unknown for row in summary)
        if unknown and not listing:
            click.echo(f"starts of which it is not known how much was missed before: {unknown}")


def as_text(summary: Sequence[PairGaps], rows: Sequence[GapRow]) -> str:
    """Return a JSON object: `pairs` with their sums, and every gap."""
    import json

    pairs = [
        {key: _plain(getattr(row, key)) for key in (*PAIR_COLUMNS, "unknown", "first_at", "last_at")}
        for row in summary
    ]
    gaps = [{key: _plain(getattr(row, key)) for key in GAP_COLUMNS} for row in rows]
    return json.dumps({"pairs": pairs, "gaps": gaps}, indent=2)


def _show(columns: dict[str, str], rows: Sequence[object]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    plain = not console.is_terminal
    if plain:
        console = Console(width=WIDE, highlight=False)
    table = Table(
        box=None if plain else box.SIMPLE_HEAD, padding=(0, 2 if plain else 1, 0, 0), pad_edge=False
    )
    for key, head in columns.items():
        justify: Literal["left", "right"] = "left" if plain or key in {"pair", "kind"} else "right"
        table.add_column(key if plain else head, justify=justify, no_wrap=True)
    for row in rows:
        values = (getattr(row, key) for key in columns)
        table.add_row(*(Text(_exact(value) if plain else _short(value)) for value in values))
    console.print(table)


def _plain(value: Any) -> Any:
    return iso(value) if isinstance(value, datetime) else value


def _exact(value: object) -> str:
    return "–" if value is None else str(_plain(value))


def _short(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%m-%d %H:%M:%S}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else _exact(value)
