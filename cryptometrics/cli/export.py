"""`cryptometrics export`: stored quotes as CSV or JSON lines."""

from __future__ import annotations

import contextlib
import os
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
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", help="Output format.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to this file instead of stdout; it appears once it is complete.",
)
def export(
    pairs: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    group: str | None,
    form: Format,
    out: Path | None,
) -> None:
    """Export stored quotes as CSV or JSON lines, ordered by time.

    Prices are exact, times are UTC. Without options it exports everything. In CSV, a text that begins like a
    formula (= + - @) gets an apostrophe in front; JSON lines stay unchanged. The extremes of a row are in the
    order of the topic: `session` shows those of a whole session.

    \b
    Example:
      cryptometrics export --pair BTC-USD --since 2h --out btc.csv
    """
    from cryptometrics.cli.connections import choose_group, database
    from cryptometrics.cli.progress import Progress
    from cryptometrics.store import export as store

    rows = 0
    with database() as connection:
        blocks = store.export(connection, choose_group(connection, group), pairs, since, until, form)
        # Close the generator first: until then, its COPY occupies the connection.
        with contextlib.closing(blocks), _written(out) as file, Progress() as progress:
            for block in blocks:
                file.write(block.data)
                rows += block.rows
                progress.show(f"{rows:,} quotes, up to {block.until:%Y-%m-%d %H:%M:%S} UTC")
    click.echo(f"{rows:,} quotes" + (f" in {out}" if out else ""), err=True)


@contextlib.contextmanager
def _written(out: Path | None) -> Iterator[BinaryIO]:
    """Open the output: stdout, or a file that appears only once it is complete."""
    if out is None:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # the reader (`… | head`) has enough; Python must not flush at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    with files.whole(out) as file:
        yield file
