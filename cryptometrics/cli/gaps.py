"""`cryptometrics gaps`: what the live feed missed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptometrics.store.feed_gaps import GapRow, PairGaps

PAIR_COLUMNS = {
    "venue": "venue",
    "pair": "pair",
    "covered_s": "covered s",
    "ticks": "ticks",
    "gaps": "gaps",
    "trades_missed": "trades missed",
    "longest_gap_s": "longest silence s",
    "reconnects": "reconnects",
}
GAP_COLUMNS = {
    "venue": "venue",
    "pair": "pair",
    "kind": "kind",
    "begins_at": "from (UTC)",
    "ends_at": "to",
    "first_trade_id": "first trade",
    "last_trade_id": "last trade",
    "trades_missed": "missed",
}
"""Keys of the JSON, and the heads of the columns for people."""
EXACT_GAP_COLUMNS = (*GAP_COLUMNS, "proves")
"""Columns for programs: whether a feed that starts can prove that it misses nothing."""


@click.command("gaps")
@options.pairs
@click.option(
    "--since",
    metavar="TIME",
    callback=options.time,
    help="Only gaps since this time: 15m, 2h or 7d ago, or an ISO time (UTC).",
)
@click.option("--list", "listing", is_flag=True, help="List every gap instead of totals per pair.")
@options.reading_group
@options.as_json
def gaps(
    pairs: tuple[str, ...], since: datetime | None, listing: bool, group: str | None, as_json: bool
) -> None:
    """Show what the live feed missed: gaps, trades, reconnects.

    \b
    Example:
      cryptometrics gaps --since 1d
    """
    from cryptometrics.cli.connections import stored_group
    from cryptometrics.store import feed_gaps as store

    with stored_group(group) as (connection, name):
        summary = store.by_pair(connection, name, pairs, since)
        rows = store.gaps(connection, name, pairs, since)
    if as_json:
        click.echo(as_text(summary, rows))
    elif not rows:
        click.echo("no gap records: the live feed (`cryptometrics ingest`) writes one at each start")
    else:
        if listing:
            _show(GAP_COLUMNS, rows, EXACT_GAP_COLUMNS)
        else:
            _show(PAIR_COLUMNS, summary, tuple(PAIR_COLUMNS))
        unknown = sum(row.unknown for row in summary)
        if unknown and not listing:
            click.echo(f"gaps and feed starts with an unknown number of missed trades: {unknown:,}")


def as_text(summary: Sequence[PairGaps], rows: Sequence[GapRow]) -> str:
    """Return a JSON object: the totals of each pair, and every gap."""
    from cryptometrics.cli.output import exact

    totals = (*PAIR_COLUMNS, "unknown", "first_at", "last_at")
    pairs = [{key: exact(getattr(row, key)) for key in totals} for row in summary]
    gaps = [{key: exact(getattr(row, key)) for key in EXACT_GAP_COLUMNS} for row in rows]
    return json.dumps({"pairs": pairs, "gaps": gaps}, indent=2)


def _show(columns: dict[str, str], rows: Sequence[object], exact: Sequence[str]) -> None:
    from cryptometrics.cli.output import TIME, for_people, plain, print_table, short

    if for_people():
        cells = [[short(getattr(row, key), time=TIME.removeprefix("%Y-")) for key in columns] for row in rows]
        heads = list(columns.values())
        print_table(heads, cells, numbers=set(heads) - {"venue", "pair", "kind"}, uncut=heads)
    else:
        print_table(list(exact), [[plain(getattr(row, key)) for key in exact] for row in rows])
