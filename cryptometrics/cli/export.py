"""`cryptometrics export`: stored quotes as CSV or JSON lines."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from cryptometrics import files
from cryptometrics.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from cryptometrics.store.export import Format


@click.command("export")
@options.pairs
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
@options.one_venue
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
    help="Write to this .csv or .jsonl file instead of stdout; it appears once it is complete.",
)
def export(
    pairs: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    group: str | None,
    venue: str | None,
    form: Format | None,
    out: Path | None,
) -> None:
    """Export stored quotes as CSV or JSON lines, ordered by time.

    Prices are exact, times are UTC. Without options it exports everything of one group and venue. In CSV, a
    text that begins like a formula (= + - @) gets an apostrophe in front; JSON lines stay unchanged. The
    extremes of a row are in the order of the topic: `session` shows those of a whole session.

    \b
    Example:
      cryptometrics export --pair BTC-USD --since 2h --out btc.csv
    """
    from cryptometrics.cli.connections import database, report_choice
    from cryptometrics.cli.progress import Progress
    from cryptometrics.store import export as store
    from cryptometrics.store.choose_source import resolve_group, resolve_venue

    chosen, rows = _format_of(form, out), 0
    with database() as connection:
        of_group = resolve_group(connection, group)
        at = resolve_venue(connection, of_group.name, venue, pairs=pairs)
        report_choice(of_group, at)
        blocks = store.export(connection, of_group.name, at.name, pairs, since, until, chosen)
        # Close the generator first: until then, its COPY occupies the connection.
        with contextlib.closing(blocks), _written(out) as file, Progress() as progress:
            for block in blocks:
                file.write(block.data)
                rows += block.rows
                progress.show(f"{rows:,} quotes, up to {block.until:%Y-%m-%d %H:%M:%S} UTC")
    click.echo(f"{rows:,} quotes" + (f" in {out}" if out else ""), err=True)


def _format_of(form: Format | None, out: Path | None) -> Format:
    """Return the format to write; raise BadParameter if the suffix of the file says otherwise or nothing."""
    if out is None or (out.exists() and not out.is_file()):  # a pipe or a device has no suffix to go by
        return form or "csv"
    suffix = out.suffix.lower()
    by_suffix: Format | None = "csv" if suffix == ".csv" else "jsonl" if suffix == ".jsonl" else None
    if by_suffix is None:
        raise click.BadParameter(f"{str(out)!r} must end in .csv or .jsonl", param_hint="--out")
    if form not in (None, by_suffix):
        raise click.BadParameter(f"{str(out)!r} does not end in .{form}", param_hint="--out")
    return by_suffix


@contextlib.contextmanager
def _written(out: Path | None) -> Iterator[BinaryIO]:
    """Open the output: stdout, or a file that appears only once it is complete."""
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with files.whole(out) as file:
        yield file
