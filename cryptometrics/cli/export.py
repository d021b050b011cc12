"""`cryptometrics export`: stored quotes as CSV or JSON lines, of any amount."""

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
    help="Quotes from this time on: 2h, 7d or 2026-07-01T12:00.",
)
@click.option("--until", metavar="TIME", callback=options.time, help="Quotes before this time.")
@options.reading_group
@click.option(
    "--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", help="How it is written."
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write there, instead of to stdout; the file is there when it is whole.",
)
def export(
    pairs: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    group: str | None,
    form: Format,
    out: Path | None,
) -> None:
    """Export stored quotes as CSV or JSON lines, in the order of their time.

    Without --pair all pairs, without --since and --until everything. Prices are exact, times UTC. In CSV a
    text that begins like a formula (= + - @) gets an apostrophe before it; JSON lines are unchanged.

    \b
    Example:
      cryptometrics export --pair BTC-USD --since 2h --out btc.csv
    """
    from cryptometrics import config
    from cryptometrics.cli.progress import Progress
    from cryptometrics.cli.waiting import waiting
    from cryptometrics.store import catalog
    from cryptometrics.store import export as store
    from cryptometrics.store.connection import connect
    from cryptometrics.store.database_errors import explaining

    rows = 0
    with connect(config.load(), notice=waiting("PostgreSQL")) as connection, explaining():
        chosen = catalog.resolve_group(connection, group)
        if chosen.note:
            click.echo(chosen.note, err=True)
        blocks = store.export(connection, chosen.name, pairs, since, until, form)
        # Closed before the connection is, whatever happens: until then the COPY holds it.
        with contextlib.closing(blocks), _written(out) as file, Progress() as progress:
            for block in blocks:
                file.write(block.data)
                rows += block.rows
                progress.show(f"{rows:,} quotes, up to {block.until:%Y-%m-%d %H:%M:%S} UTC")
    click.echo(f"{rows:,} quotes" + (f" in {out}" if out else ""), err=True)


@contextlib.contextmanager
def _written(out: Path | None) -> Iterator[BinaryIO]:
    """Open the output: stdout, or a file that takes its place only when it is whole."""
    if out is None:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # `… | head`: whoever read has enough; at exit nothing can be written either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    with files.whole(out) as file:
        yield file
