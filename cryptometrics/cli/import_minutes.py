"""`cryptometrics import`: minutes from before the feed, so that risk has a past on the first day."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from cryptometrics.cli import completion, options, risk_options

DEFAULT_GROUP = "cryptometrics"
"""The group of `process` without a name."""


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--venue",
    required=True,
    callback=options.venue,
    shell_complete=completion.venues,
    metavar="NAME",
    help="Venue that the prices are of.",
)
@click.option(
    "--pair",
    required=True,
    callback=risk_options.pair,
    shell_complete=completion.pairs,
    metavar="BASE-QUOTE",
    help="Pair that the prices are of, such as BTC-USD.",
)
@click.option(
    "--group",
    callback=options.name,
    shell_complete=completion.groups,
    metavar="NAME",
    help="Consumer group to import for. [default: the only one, else the one with the newest row, else "
    f"{DEFAULT_GROUP}]",
)
@click.option(
    "--dry-run", is_flag=True, help="Check everything and say what would be imported; store nothing."
)
def import_minutes(file: Path, venue: str, pair: str, group: str | None, dry_run: bool) -> None:
    """Import minutes from before the feed, from FILE (.csv, .csv.gz or .parquet).

    Columns: time, open, high, low, close and, if known, volume, in any order; others are ignored. A time is
    the start of a minute with its zone, or whole seconds since 1970. All minutes are imported or none, and
    never over stored ones; the same file again changes nothing. Risk uses their prices, and labels them
    `imported`. Parquet needs the extra `data`.

    \b
    Example:
      cryptometrics import btc-2026-06.csv --venue coinbase --pair BTC-USD --dry-run
      cryptometrics import btc-2026-06.csv --venue coinbase --pair BTC-USD
    """
    from cryptometrics.cli.connections import database
    from cryptometrics.cli.progress import Progress
    from cryptometrics.errors import UserError
    from cryptometrics.market.price_bars import BarError, read_bars
    from cryptometrics.market.venues import Market
    from cryptometrics.store import imported_minutes
    from cryptometrics.store.bar_file import open_bars
    from cryptometrics.store.choose_source import group_to_import_for
    from cryptometrics.text import listed

    opened = open_bars(file)
    with Progress() as progress:
        progress.show(f"reading {file}")
        try:
            bars = read_bars(opened.rows, datetime.now(UTC))
        except BarError as error:
            raise UserError(f"{file}, {error}") from None
        if not bars:
            raise UserError(f"{file} has no minutes")
        with database() as connection:
            of_group = group_to_import_for(connection, group, DEFAULT_GROUP)
            done = imported_minutes.store(
                connection,
                of_group,
                Market(venue, pair),
                bars,
                dry_run=dry_run,
                progress=lambda count: progress.show(f"{count:,} of {len(bars):,} minutes"),
            )
    if opened.ignored:
        click.echo(f"ignored columns: {listed(opened.ignored)}", err=True)
    place = f"{pair} ({venue}, group {of_group})"
    span = f"from {bars[0].start:%Y-%m-%d %H:%M} to {bars[-1].start:%Y-%m-%d %H:%M} UTC"
    if not done.stored:
        click.echo(f"{place}: all {done.unchanged:,} minutes are imported already, nothing changed")
        return
    there = f"; {done.unchanged:,} were imported already" if done.unchanged else ""
    verb = "would be imported" if dry_run else "imported"
    click.echo(f"{place}: {done.stored:,} minutes {verb}, {span}{there}")
