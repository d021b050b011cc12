"""`cryptometrics verify`: every offset has one fate and every number is right, or what is wrong."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import click

from cryptometrics.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.table import Table

    from cryptometrics.verify.findings import Finding
    from cryptometrics.verify.verification import GroupReport

WIDE = 10_000
"""Columns of a console whose lines are read by a program: nothing is ever cut."""

COLUMNS = ("metrics", "rejected", "gaps", "duplicates", "holes", "first_offset", "next_offset")


@click.command("verify")
@click.option(
    "--group", callback=options.name, metavar="NAME", help="Verify this group only; without it, all of them."
)
@click.option("--topic", is_flag=True, help="Read the topic again, too, and compare it with what is stored.")
@options.as_json
def verify(group: str | None, topic: bool, as_json: bool) -> None:
    """Prove that every offset has exactly one fate, and that every number stored is right.

    Workers may go on meanwhile. Exit code 1 when something is wrong. Without --topic the quotes
    themselves (time, kind and trade_id of a row) are taken as they are stored.

    \b
    Example:
      cryptometrics verify --group g1
    """
    from cryptometrics import config
    from cryptometrics.cli.waiting import waiting
    from cryptometrics.kafka.admin import wait_for_kafka
    from cryptometrics.store.connection import connect
    from cryptometrics.store.database_errors import explaining
    from cryptometrics.verify import verification

    settings = config.load()
    if topic:
        wait_for_kafka(settings, waiting("Kafka"))
    with (
        connect(settings, notice=waiting("PostgreSQL")) as connection,
        explaining(),
        _ticking() as progress,
    ):
        reports = list(
            verification.verify(
                connection, group=group, settings=settings if topic else None, progress=progress
            )
        )
    click.echo(as_text(reports)) if as_json else show(reports, topic=topic)
    if any(report.findings for report in reports):
        raise SystemExit(1)


@contextlib.contextmanager
def _ticking() -> Iterator[Callable[[str], None]]:
    """Yield a function that says what is being done; how long it takes is shown while a query runs."""
    from cryptometrics.cli.progress import LIVE_EVERY, Progress

    doing, start, ended = "", time.monotonic(), threading.Event()

    def say(text: str) -> None:
        nonlocal doing
        doing = text

    def show() -> None:
        while not ended.wait(LIVE_EVERY):
            if progress.due() and doing:
                progress.show(f"{doing}, {time.monotonic() - start:.0f} s")

    with Progress() as progress:
        thread = threading.Thread(target=show, name="progress", daemon=True)
        thread.start()
        try:
            yield say
        finally:
            ended.set()
            thread.join()


def as_text(reports: Sequence[GroupReport]) -> str:
    """Return the JSON object: whether all is right, the books of each group, and what was found."""
    import json

    return json.dumps(
        {
            "ok": not any(report.findings for report in reports),
            "groups": [
                {
                    "group": report.group,
                    "ok": not report.findings,
                    "offsets": report.offsets,
                    "unchecked": report.unchecked,
                    "partitions": [
                        {"topic": book.topic, "partition": book.partition}
                        | {column: getattr(book, column) for column in COLUMNS}
                        for book in report.books
                    ],
                    "notes": report.notes,
                }
                for report in reports
            ],
            "findings": [_as_dict(finding) for report in reports for finding in report.findings],
        },
        indent=2,
    )


def _as_dict(finding: Finding) -> dict[str, Any]:
    topic, partition = finding.place or (None, None)
    return {
        "kind": finding.kind,
        "group": finding.group,
        "topic": topic,
        "partition": partition,
        "column": finding.column,
        "count": finding.count,
        "first": finding.first,
    }


def show(reports: Sequence[GroupReport], *, topic: bool) -> None:
    """Print a line a partition, what was found, what is worth knowing, and the verdict."""
    from rich.console import Console

    if not reports:
        click.echo("nothing to verify: no group has processed anything yet")
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=WIDE, highlight=False)
    console.print(_table(reports, plain=not console.is_terminal))
    for report in reports:
        for note in report.notes:
            click.echo(f"note: group {report.group}: {note}")
        for finding in report.findings:
            click.echo(_line(finding))
    click.echo(_verdict(reports, topic=topic))


def _table(reports: Sequence[GroupReport], *, plain: bool) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None if plain else box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("group", no_wrap=plain, overflow="fold")
    table.add_column("partition", no_wrap=plain, overflow="fold")
    for column in COLUMNS:
        table.add_column("rows" if column == "metrics" else column, justify="left" if plain else "right")
    table.add_column("verdict")
    for report in reports:
        wrong = {finding.place for finding in report.findings}
        for book in report.books:
            counts = (f"{getattr(book, column)}" for column in COLUMNS)
            verdict = Text("FAILED", "bold red") if book.place in wrong else Text("ok", "green")
            table.add_row(Text(report.group), Text(str(book.place)), *counts, verdict)
    return table


def _line(finding: Finding) -> str:
    from cryptometrics.verify.findings import MEANING

    where = f"group {finding.group}" + (f", {finding.place}" if finding.place else "")
    column = f" ({finding.column})" if finding.column else ""
    more = finding.count - len(finding.first)
    first = "; ".join(map(str, finding.first)) + (f" and {more:,} more" if more else "")
    return f"{where}: {finding.kind}: {MEANING[finding.kind]}{column}: {first}"


def _verdict(reports: Sequence[GroupReport], *, topic: bool) -> str:
    findings = sum(len(report.findings) for report in reports)
    groups = f"{len(reports)} group{'s' * (len(reports) != 1)}"
    if findings:
        failed = sum(bool(report.findings) for report in reports)
        return f"FAILED: {findings} finding{'s' * (findings != 1)} in {failed} of {groups}"
    offsets = sum(report.offsets for report in reports)
    compared = offsets - sum(report.unchecked for report in reports)
    also = f"; {compared:,} of them as the topic has them" if topic else ""
    return f"verified: {offsets:,} offsets of {groups}, each with exactly one fate{also}"
