"""`cryptometrics export`: stored quotes, candles, figures and records as CSV, JSON lines or Parquet."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import completion, options

if TYPE_CHECKING:
    from datetime import datetime

    from cryptometrics.store.datasets import Name
    from cryptometrics.store.export import Format
    from cryptometrics.store.export_file import TextForm

KINDS = ("quotes", "candles", "risk", "portfolio", "alerts", "gaps")
NOUNS = {"risk": "rows of risk figures", "portfolio": "rows of portfolios"}
"""What the rows are called in messages, where that is not the name."""
INTERVALS = ("1m", "5m", "15m", "1h", "4h", "1d")


@click.command("export")
@click.option(
    "--what",
    type=click.Choice(KINDS),
    help="What to export: each is a table or a view with the same column names. [default: quotes]",
)
@options.pairs
@click.option(
    "--portfolio",
    "portfolios",
    multiple=True,
    callback=options.names,
    metavar="NAME",
    help="Export the rows of this portfolio, as with --what portfolio; repeatable.",
)
@click.option(
    "--interval",
    type=click.Choice(INTERVALS),
    help="Length of a candle, for --what candles. [default: 1m]",
)
@click.option(
    "--since",
    metavar="TIME",
    callback=options.time,
    help="Export from this time on: 2h or 7d ago, or 2026-07-01T12:00 (UTC).",
)
@click.option(
    "--until",
    metavar="TIME",
    callback=options.time,
    help="Export up to this time (exclusive), in the same format.",
)
@options.reading_group
@click.option(
    "--venue",
    callback=options.venue,
    shell_complete=completion.venues,
    metavar="NAME",
    help="Venue to read. [default: for quotes and candles the only one, else the one with the newest row; "
    "for the rest all]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "jsonl"]),
    help="Output format. [default: by the suffix of --out, else csv]",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to this file instead of stdout; it appears once it is complete. The suffix says how: "
    ".csv or .jsonl, which .gz or .zst may follow, or .parquet.",
)
def export(
    *,
    what: Name | None,
    pairs: tuple[str, ...],
    portfolios: tuple[str, ...],
    interval: str | None,
    since: datetime | None,
    until: datetime | None,
    group: str | None,
    venue: str | None,
    form: Format | None,
    out: Path | None,
) -> None:
    """Export stored rows as CSV, JSON lines or Parquet, ordered by time.

    Prices are exact, times are UTC. Without options it exports all quotes of one group and venue. In CSV, a
    text that begins like a formula (= + - @) gets an apostrophe in front; the other formats leave it as it
    is. The extremes of a quote are in the order of the topic: `session` shows those of a whole session.

    \b
    Example:
      cryptometrics export --pair BTC-USD --since 2h --out btc.csv
      cryptometrics export --what candles --interval 1h --out candles.parquet
      cryptometrics export --portfolio treasury --since 7d --out treasury.csv
    """
    from cryptometrics.cli.connections import database, report_choice
    from cryptometrics.cli.progress import Progress
    from cryptometrics.store import export_file
    from cryptometrics.store.choose_source import Choice, resolve_group, resolve_venue
    from cryptometrics.store.datasets import DATASETS, Selection
    from cryptometrics.store.portfolio_history import group_of

    if portfolios and what not in (None, "portfolio"):
        raise click.UsageError(f"--portfolio does not go with --what {what}")
    what = what or ("portfolio" if portfolios else "quotes")
    if interval and what != "candles":
        raise click.UsageError("--interval goes with --what candles")
    if pairs and what == "portfolio":
        raise click.UsageError("--pair does not go with --what portfolio")
    text = _form_of(form, out)
    dataset, noun, rows = DATASETS[what], NOUNS.get(what, what), 0
    with database() as connection, contextlib.ExitStack() as stack:
        if portfolios and group is None:
            of_group = Choice(group_of(connection, portfolios), note="")
        else:
            of_group = resolve_group(connection, group, with_imported=dataset.minutes)
        at = venue
        report_choice(of_group)
        if dataset.one_venue or venue:
            chosen = resolve_venue(
                connection, of_group.name, venue, pairs=pairs, with_imported=dataset.minutes
            )
            report_choice(chosen)
            at = chosen.name
        selection = Selection(what, of_group.name, at, portfolios or pairs, since, until, interval or "1m")
        sessions = [connection]
        if what == "quotes":  # the only rows that come in parts
            sessions.append(stack.enter_context(database()))
        states = (
            export_file.write_file(sessions, selection, out, text)
            if out is not None
            else export_file.write_text(sessions, selection, sys.stdout.buffer, form or "csv")
        )
        with contextlib.closing(states), Progress() as progress:
            for state in states:
                rows = state.rows
                if progress.due():
                    until_when = f", up to {state.until:%Y-%m-%d %H:%M:%S} UTC" if state.until else ""
                    progress.show(f"{rows:,} {noun}{until_when}")
    sys.stdout.buffer.flush()
    click.echo(f"{rows:,} {noun}" + (f" in {out}" if out else ""), err=True)


def _form_of(form: Format | None, out: Path | None) -> TextForm | None:
    """Return the form of text to write, None for Parquet; raise BadParameter if the suffix does not fit."""
    from cryptometrics.errors import UserError
    from cryptometrics.store.export_file import TextForm, text_form

    if out is None or (out.exists() and not out.is_file()):  # a pipe or a device has no suffix to go by
        return TextForm(form or "csv")
    try:
        by_suffix = text_form(out)
    except UserError as error:
        raise click.BadParameter(str(error), param_hint="--out") from None
    if form is not None and (by_suffix is None or by_suffix.form != form):
        raise click.BadParameter(f"{str(out)!r} is not a name of a .{form} file", param_hint="--out")
    return by_suffix
