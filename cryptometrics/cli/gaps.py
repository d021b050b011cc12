"""`cryptometrics gaps`: what the live feed missed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from cryptometrics.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from cryptometrics.market.venues import Market
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
LABELS = ("verified", "simulated", "imported", "unverified", "gap")
"""Labels of minutes in the order of the columns, the best first."""


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
@options.only_venue
@options.as_json
def gaps(
    *,
    pairs: tuple[str, ...],
    since: datetime | None,
    listing: bool,
    group: str | None,
    venue: str | None,
    as_json: bool,
) -> None:
    """Show what the live feed missed: gaps, trades, reconnects.

    Below it are the complete minutes of each venue and pair, and the share of each label of completeness.

    \b
    Example:
      cryptometrics gaps --since 1d
    """
    from cryptometrics.cli.connections import stored_group
    from cryptometrics.store import feed_gaps as store
    from cryptometrics.store.labelled_minutes import count_labels

    with stored_group(group, venue) as (connection, name):
        summary = store.by_pair(connection, name, pairs, since, venue=venue)
        rows = store.gaps(connection, name, pairs, since, venue=venue)
        labels = count_labels(connection, name, pairs, since, venue=venue)
    if as_json:
        click.echo(as_text(summary, rows, labels))
        return
    if not rows:
        click.echo("no gap records: the live feed (`cryptometrics ingest`) writes one at each start")
    else:
        if listing:
            _show(GAP_COLUMNS, rows, EXACT_GAP_COLUMNS)
        else:
            _show(PAIR_COLUMNS, summary, tuple(PAIR_COLUMNS))
        unknown = sum(row.unknown for row in summary)
        if unknown and not listing:
            click.echo(f"gaps and feed starts with an unknown number of missed trades: {unknown:,}")
    if labels and not listing:
        click.echo()
        _show_labels(labels)


def as_text(
    summary: Sequence[PairGaps], rows: Sequence[GapRow], labels: Mapping[Market, Mapping[str, int]]
) -> str:
    """Return a JSON object: the totals of each pair, every gap, and the share of each label of minutes."""
    from cryptometrics.cli.output import exact

    totals = (*PAIR_COLUMNS, "unknown", "first_at", "last_at")
    pairs = [{key: exact(getattr(row, key)) for key in totals} for row in summary]
    gaps = [{key: exact(getattr(row, key)) for key in EXACT_GAP_COLUMNS} for row in rows]
    return json.dumps({"pairs": pairs, "gaps": gaps, "completeness": list(_shares(labels))}, indent=2)


def _shares(labels: Mapping[Market, Mapping[str, int]]) -> Iterator[dict[str, Any]]:
    """Yield a row for each market: its minutes, and the share of each label from 0 to 1."""
    for market, counts in labels.items():
        minutes = sum(counts.values())
        shares = {label: round(counts[label] / minutes, 6) for label in LABELS}
        yield {"venue": market.venue, "pair": market.pair, "minutes": minutes} | shares


def _show_labels(labels: Mapping[Market, Mapping[str, int]]) -> None:
    from cryptometrics.cli.output import for_people, plain, print_table, short

    rows = list(_shares(labels))
    heads = list(rows[0])
    if for_people():
        cells = [[_percent(row[key]) if key in LABELS else short(row[key]) for key in heads] for row in rows]
        print_table(heads, cells, numbers=set(heads) - {"venue", "pair"}, uncut=heads)
    else:
        print_table(heads, [[plain(row[key]) for key in heads] for row in rows])


def _percent(share: float) -> str:
    """Return a share as text; only all is 100 %, and only nothing 0 %."""
    return f"{100 * share:.0f} %" if share in {0.0, 1.0} else f"{100 * min(max(share, 0.0001), 0.9999):.2f} %"


def _show(columns: dict[str, str], rows: Sequence[object], exact: Sequence[str]) -> None:
    from cryptometrics.cli.output import TIME, for_people, plain, print_table, short

    if for_people():
        cells = [[short(getattr(row, key), time=TIME.removeprefix("%Y-")) for key in columns] for row in rows]
        heads = list(columns.values())
        print_table(heads, cells, numbers=set(heads) - {"venue", "pair", "kind"}, uncut=heads)
    else:
        print_table(list(exact), [[plain(getattr(row, key)) for key in exact] for row in rows])
