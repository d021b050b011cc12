"""`cryptometrics prune`: drop whole days of old metrics while workers write."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import options
from cryptometrics.times import parse_duration

if TYPE_CHECKING:
    from cryptometrics.store.prune import Piece

LEAST = timedelta(days=1)
"""Days are dropped whole, and today's is being written."""


def _first_kept_day(_context: click.Context, _option: click.Parameter, text: str) -> date:
    from cryptometrics.store.prune import first_kept_day

    try:
        keep = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if keep < LEAST:
        raise click.BadParameter(f"{text!r} is less than a day: days are dropped whole, so keep 1d or more")
    try:
        return first_kept_day(datetime.now(UTC), keep)
    except OverflowError:
        raise click.BadParameter(f"{text!r} ago is before the year 1: nothing is that old") from None


@click.command("prune")
@click.option(
    "--keep",
    "cutoff",
    required=True,
    metavar="DURATION",
    callback=_first_kept_day,
    help="How much stays, such as 30d or 12w: days (UTC) that lie wholly before are dropped.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be dropped, and drop nothing.")
@options.as_json
def prune(cutoff: date, dry_run: bool, as_json: bool) -> None:
    """Drop days of old metrics, of all groups, and keep their counts.

    Workers go on meanwhile, and `verify` still balances. Sessions, rejected messages and minutes stay.
    Interrupted, it is finished by the next call.

    \b
    Example:
      cryptometrics prune --keep 30d --dry-run
    """
    from cryptometrics import config
    from cryptometrics.cli.waiting import waiting
    from cryptometrics.store import prune as store
    from cryptometrics.store.connection import connect
    from cryptometrics.store.database_errors import explaining

    settings = config.load()
    pieces: list[Piece] = []
    with connect(settings, notice=waiting("PostgreSQL")) as connection, explaining():
        for piece in (
            store.prunable(connection, cutoff)
            if dry_run
            else store.prune(connection, cutoff, wait=settings.wait, notice=waiting("the table"))
        ):
            pieces.append(piece)
            if not as_json:
                click.echo(f"{'would drop' if dry_run else 'dropped'} {_described(str(piece), [piece])}")
    click.echo(_as_text(pieces, dry_run) if as_json else _summary(pieces, cutoff, dry_run))


def _summary(pieces: list[Piece], cutoff: date, dry_run: bool) -> str:
    if not pieces:
        return f"nothing to prune: nothing is stored of before {cutoff}"
    return _described("would drop in all" if dry_run else "dropped in all", pieces)


def _described(what: str, pieces: list[Piece]) -> str:
    from rich.filesize import decimal

    rows, size = sum(piece.rows for piece in pieces), sum(piece.bytes for piece in pieces)
    return f"{what}: {rows:,} rows, {decimal(size)}"


def _as_text(pieces: list[Piece], dry_run: bool) -> str:
    return json.dumps(
        {
            "dry_run": dry_run,
            "dropped": [
                {"day": str(piece.day), "before": piece.before, "rows": piece.rows, "bytes": piece.bytes}
                for piece in pieces
            ],
        },
        indent=2,
    )
