"""`cryptometrics positions`: check, load, show and remove what is held."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cryptometrics.cli import completion, options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal

    import psycopg

    from cryptometrics.risk.portfolio.definition import Portfolio
    from cryptometrics.store.positions import PortfolioVersion

_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
_CSV_OPTIONS = (
    click.option(
        "--portfolio",
        callback=options.name,
        metavar="NAME",
        help="Portfolio of a CSV file. [default: the file's name without .csv]",
    ),
    click.option("--currency", metavar="CODE", help="Currency of a new portfolio from a CSV file."),
    click.option(
        "--group",
        callback=options.name,
        shell_complete=completion.groups,
        metavar="NAME",
        help="Consumer group of a CSV file.",
    ),
    click.option(
        "--venue",
        callback=options.venue,
        shell_complete=completion.venues,
        metavar="VENUE",
        help="Venue of a CSV file.",
    ),
)


def _csv_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_CSV_OPTIONS):
        command = option(command)
    return command


@click.group("positions")
def positions() -> None:
    """Check, load, show and remove the positions of portfolios.

    \b
    Example:
      cryptometrics positions load positions.toml
    """


@positions.command()
@_file
@_csv_options
def check(
    file: Path, portfolio: str | None, currency: str | None, group: str | None, venue: str | None
) -> None:
    """Check a file of positions, TOML or CSV, and list every problem with its line and key.

    Assets are looked up among the stored pairs. Nothing is stored. Exit code 2 if there is a problem.

    \b
    Example:
      cryptometrics positions check positions.toml
    """
    from cryptometrics.cli.connections import stored
    from cryptometrics.cli.positions_source import CsvOptions, pinned_file

    with stored() as connection:
        found = pinned_file(
            connection, file, datetime.now(UTC), CsvOptions(portfolio, currency, group, venue)
        )
    held = found.portfolio
    _note(found.note)
    for position in held.positions:
        click.echo(f"{position.asset}: {position.quantity:,f}, {_priced(held.pairs[position.asset], held)}")
    for code, amount in held.cash.items():
        click.echo(f"cash {code}: {amount:,f}, {_priced(held.pairs[code], held)}")
    count = len(held.positions)
    click.echo(f"{file}: portfolio {held.name}, {count} position{'s' * (count != 1)}, all valid")


@positions.command()
@_file
@click.option(
    "--effective-at",
    callback=options.time,
    metavar="TIME",
    help="From when on the positions are held: an ISO time (UTC), or 2h for that long ago. [default: now]",
)
@click.option(
    "--restate",
    is_flag=True,
    help="Allow a version from before rows that are stored; compute them again, and report what changes.",
)
@_csv_options
def load(
    file: Path,
    effective_at: datetime | None,
    restate: bool,
    portfolio: str | None,
    currency: str | None,
    group: str | None,
    venue: str | None,
) -> None:
    """Store a file of positions, TOML or CSV, as the next version of its portfolio.

    Earlier versions stay. The same file again changes nothing. The group is chosen when the portfolio is
    first loaded and stays; the venue must be named if there are several. A CSV file (asset,quantity,cost)
    replaces the positions and nothing else. A version from before what `risk --follow` has computed needs
    --restate.

    \b
    Example:
      cryptometrics positions load positions.toml
      cryptometrics positions load treasury.csv --effective-at 2026-07-01T08:00
    """
    from cryptometrics.cli.connections import database
    from cryptometrics.cli.positions_source import CsvOptions, pinned_file
    from cryptometrics.store import positions as store
    from cryptometrics.store.portfolio_rows import values_from

    at = effective_at or datetime.now(UTC)
    with database() as connection:
        found = pinned_file(connection, file, at, CsvOptions(portfolio, currency, group, venue))
        name = found.portfolio.name
        before = values_from(connection, name, at)
        loaded = store.load(connection, found.portfolio, at, restate=restate)
        _note(found.note)
        if not loaded.is_new:
            click.echo(f"portfolio {name}: version {loaded.version} is the same, nothing changed")
            return
        market = f"priced by {found.portfolio.venue} in group {found.portfolio.group}"
        click.echo(f"portfolio {name}: version {loaded.version} from {at:%Y-%m-%d %H:%M:%S} UTC on, {market}")
        if before:
            _restate(connection, found.portfolio, at, before)


def _restate(
    connection: psycopg.Connection,
    portfolio: Portfolio,
    since: datetime,
    before: Mapping[datetime, Decimal | None],
) -> None:
    """Compute the stored rows of a portfolio again, and print what has changed."""
    from cryptometrics.cli.output import short
    from cryptometrics.cli.progress import Progress
    from cryptometrics.follow.restatement import restate

    with Progress() as progress:

        def show(minutes: int) -> None:
            if progress.due():
                progress.show(f"portfolio {portfolio.name}: {minutes:,} minutes computed again")

        found = restate(connection, portfolio.name, since, before, show)
    if found.first is None:
        click.echo(f"{len(before):,} rows removed: the version has none")
        return
    text = f"{found.rows:,} rows computed again, from {short(found.first)} UTC on"
    if found.largest_change is None or found.largest_at is None:
        click.echo(f"{text}; {f'{found.changed:,} values' if found.changed else 'no value'} changed")
        return
    largest = f"{found.largest_change:+,.2f} {portfolio.currency} at {short(found.largest_at)} UTC"
    click.echo(f"{text}; {found.changed:,} values changed, the most by {largest}")


@positions.command()
@click.argument("name", required=False)
@click.option(
    "--at",
    callback=options.time,
    metavar="TIME",
    help="Moment whose version to show: an ISO time (UTC), or 2h for that long ago. [default: now]",
)
@options.as_json
def show(name: str | None, at: datetime | None, as_json: bool) -> None:
    """Show what is held: the version in force, of all portfolios or of one.

    \b
    Example:
      cryptometrics positions show treasury --at 2026-07-01
    """
    from cryptometrics.cli.connections import stored
    from cryptometrics.store import positions as store

    with stored() as connection:
        found = store.named_in_force(connection, at or datetime.now(UTC), name)
    if as_json:
        click.echo(json.dumps([_as_dict(version) for version in found], indent=2))
        return
    _print_positions(found)


@positions.command()
@click.argument("name", required=False)
@options.as_json
def history(name: str | None, as_json: bool) -> None:
    """List every version, of all portfolios or of one, the newest first.

    \b
    Example:
      cryptometrics positions history treasury
    """
    from cryptometrics.cli.connections import stored
    from cryptometrics.store import positions as store

    with stored() as connection:
        found = store.history(connection, name)
    if as_json:
        click.echo(json.dumps([_as_dict(version) for version in found], indent=2))
    elif not found:
        click.echo("no portfolios")
    else:
        _print_history(found)


@positions.command()
@click.argument("name")
def remove(name: str) -> None:
    """Remove a portfolio from now on. Its versions stay, and so does what was computed from them.

    \b
    Example:
      cryptometrics positions remove treasury
    """
    from cryptometrics.cli.connections import database
    from cryptometrics.store import positions as store

    at = datetime.now(UTC)
    with database() as connection:
        version = store.remove(connection, name, at)
    click.echo(f"portfolio {name}: removed from {at:%Y-%m-%d %H:%M:%S} UTC on, as version {version}")


@positions.command()
def example() -> None:
    """Print a commented file of positions to start from.

    \b
    Example:
      cryptometrics positions example > positions.toml
    """
    from cryptometrics.risk.portfolio.positions_file import example as text

    click.echo(text(), nl=False)


def _note(note: str) -> None:
    if note:
        click.echo(note, err=True)


def _priced(pair: str | None, held: Any) -> str:
    return f"priced by {pair}" if pair else f"counts as {held.currency}"


def _as_dict(version: PortfolioVersion) -> dict[str, Any]:
    from cryptometrics.cli.output import exact

    document = version.document or {}
    return {
        "portfolio": version.name,
        "version": version.version,
        "effective_at": exact(version.effective_at),
        "loaded_at": exact(version.loaded_at),
        "removed": version.document is None,
        "group": version.group,
        "venue": version.venue,
        "currency": version.currency,
        **{
            key: value
            for key, value in document.items()
            if key not in ("portfolio", "currency", "group", "venue")
        },
    }


def _print_positions(found: list[PortfolioVersion]) -> None:
    from cryptometrics.cli.output import plain, print_table, short

    rows = []
    for version in found:
        held = version.portfolio
        about = version.name, str(version.version)
        since = short(version.effective_at)
        for position in held.positions:
            cost = "–" if position.cost is None else f"{position.cost:,f}"
            priced = held.pairs[position.asset] or f"1 {held.currency}"
            rows.append([*about, position.asset, f"{position.quantity:,f}", plain(cost), priced, since])
        for code, amount in held.cash.items():
            priced = held.pairs[code] or f"1 {held.currency}"
            rows.append([*about, f"{code} (cash)", f"{amount:,f}", "–", priced, since])
    heads = ("portfolio", "version", "asset", "quantity", "cost", "priced by", "effective at")
    print_table(heads, rows, numbers=("version", "quantity", "cost"), caption="times in UTC")


def _print_history(found: list[PortfolioVersion]) -> None:
    from cryptometrics.cli.output import print_table, short

    rows = [
        [
            version.name,
            str(version.version),
            short(version.effective_at),
            short(version.loaded_at),
            "removed" if version.document is None else str(len(version.document["positions"])),
            f"{version.venue} in {version.group}",
        ]
        for version in found
    ]
    heads = ("portfolio", "version", "effective at", "loaded at", "positions", "priced by")
    print_table(heads, rows, numbers=("version", "positions"), caption="times in UTC")
