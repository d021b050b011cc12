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
    from cryptometrics.store.prune_portfolios import DroppedPortfolioRows
    from cryptometrics.store.prune_risk import DroppedRisk

MIN_KEEP = timedelta(days=1)
"""Days are dropped as a whole, and workers still write today's."""


def _keep_risk(_context: click.Context, _option: click.Parameter, text: str) -> timedelta:
    try:
        keep = parse_duration(text)
        if keep < MIN_KEEP:
            raise click.BadParameter(f"{text!r} is less than a day: keep 1d or more")
        _ = datetime.now(UTC) - keep
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    except OverflowError:
        raise click.BadParameter(f"{text!r} ago is before the year 1: nothing is that old") from None
    return keep


def _first_kept_day(_context: click.Context, _option: click.Parameter, text: str) -> date:
    from cryptometrics.store.prune import first_kept_day

    try:
        keep = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if keep < MIN_KEEP:
        raise click.BadParameter(f"{text!r} is less than a day: keep 1d or more")
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
    help="How much to keep, such as 30d or 12w; earlier days (UTC) are dropped.",
)
@click.option(
    "--keep-risk",
    default="365d",
    metavar="DURATION",
    callback=_keep_risk,
    help="How much of crypto_risk and portfolio_risk to keep. After 30 days, 24-hour rows and portfolios are "
    "thinned to one row an hour.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be dropped; drop nothing.")
@options.as_json
def prune(cutoff: date, keep_risk: timedelta, dry_run: bool, as_json: bool) -> None:
    """Drop whole days of old metrics, of all groups, but keep their counts; and old figures of risk.

    Workers can keep running, and `verify` still balances. Sessions, rejected messages and minutes stay. If it
    is interrupted, the next call finishes the work.

    \b
    Example:
      cryptometrics prune --keep 30d --dry-run
    """
    from cryptometrics import config
    from cryptometrics.cli.connections import database, waiting
    from cryptometrics.store import prune as store
    from cryptometrics.store.prune_portfolios import prune_portfolios
    from cryptometrics.store.prune_risk import prune_risk

    settings = config.load()
    pieces: list[Piece] = []
    with database(settings) as connection:
        for piece in (
            store.prunable(connection, cutoff)
            if dry_run
            else store.prune(connection, cutoff, wait=settings.wait, notice=waiting("the table"))
        ):
            pieces.append(piece)
            if not as_json:
                click.echo(f"{'would drop' if dry_run else 'dropped'} {_described(str(piece), [piece])}")
        older, first_day = store.remaining(connection, cutoff)
        now = datetime.now(UTC)
        risk = list(prune_risk(connection, now, keep_risk, dry_run=dry_run))
        valued = list(prune_portfolios(connection, now, keep_risk, dry_run=dry_run))
    if dry_run:
        older -= sum(piece.rows for piece in pieces)
    if as_json:
        click.echo(_as_text(pieces, risk, valued, older, dry_run))
        return
    for dropped in risk:
        what = "would drop" if dry_run else "dropped"
        click.echo(f"{what} {dropped.rows:,} rows of crypto_risk: group {dropped.group}, {dropped.venue}")
    for each in valued:
        what = "would drop" if dry_run else "dropped"
        click.echo(
            f"{what} {each.rows:,} rows of portfolio_risk: {each.portfolio}, {each.venue} in {each.group}"
        )
    if pieces:
        click.echo(_described("would drop in all" if dry_run else "dropped in all", pieces))
    elif not older:
        click.echo(f"nothing to prune: no metrics are older than {cutoff}")
    if older:
        click.echo(
            f"{older:,} rows older than {cutoff} remain: the days before {first_day} share one table "
            f"partition, which is emptied only as a whole, once all of them may go"
        )


def _described(what: str, pieces: list[Piece]) -> str:
    from rich.filesize import decimal

    rows, size = sum(piece.rows for piece in pieces), sum(piece.bytes for piece in pieces)
    return f"{what}: {rows:,} rows, {decimal(size)}"


def _as_text(
    pieces: list[Piece],
    risk: list[DroppedRisk],
    portfolios: list[DroppedPortfolioRows],
    older: int,
    dry_run: bool,
) -> str:
    return json.dumps(
        {
            "dry_run": dry_run,
            "dropped": [
                {"day": str(piece.day), "before": piece.before, "rows": piece.rows, "bytes": piece.bytes}
                for piece in pieces
            ],
            "risk": [
                {"group": dropped.group, "venue": dropped.venue, "rows": dropped.rows} for dropped in risk
            ],
            "portfolios": [
                {"portfolio": each.portfolio, "group": each.group, "venue": each.venue, "rows": each.rows}
                for each in portfolios
            ],
            "older_rows_remaining": older,
        },
        indent=2,
    )
