"""`cryptometrics verify`: prove that the stored data is complete and right, or list what is wrong."""

from __future__ import annotations

import contextlib
import threading
import time
from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

from cryptometrics.cli import completion, options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cryptometrics.verify.findings import Finding
    from cryptometrics.verify.verification import GroupReport

COLUMNS = ("metrics", "rejected", "gaps", "duplicates", "holes", "first_offset", "next_offset")


@click.command("verify")
@click.option(
    "--group",
    callback=options.name,
    shell_complete=completion.groups,
    metavar="NAME",
    help="Consumer group to verify. [default: all]",
)
@click.option("--topic", is_flag=True, help="Also read the topic again and compare it with the stored rows.")
@click.option(
    "--since-last",
    is_flag=True,
    help="Verify only what came after the last run with this option that found nothing wrong, and that as "
    "many outcomes as then come before it.",
)
@options.as_json
def verify(group: str | None, topic: bool, since_last: bool, as_json: bool) -> None:
    """Prove that every offset has exactly one outcome and every stored number is right.

    Workers may keep running. Exit code 1 if something is wrong. Without --topic, the quotes themselves (and
    the time, kind and trade_id of a row) are trusted as stored.

    \b
    Example:
      cryptometrics verify --group g1
    """
    from cryptometrics import config
    from cryptometrics.cli.connections import database, wait_for_kafka
    from cryptometrics.verify import verification
    from cryptometrics.verify.mark import save_mark

    settings = config.load()
    if topic:
        wait_for_kafka(settings)
    with database(settings) as connection, _timed_progress() as progress:
        reports = list(
            verification.verify(
                connection,
                group=group,
                settings=settings if topic else None,
                since_last=since_last,
                progress=progress,
            )
        )
        kept = [
            save_mark(connection, report.group, report.mark) for report in reports if report.mark is not None
        ]
    if not all(kept):
        click.echo("the mark was not kept: this user may only read", err=True)
    click.echo(as_text(reports)) if as_json else show(reports, topic=topic)
    if any(report.findings for report in reports):
        raise click.exceptions.Exit(1)


@contextlib.contextmanager
def _timed_progress() -> Iterator[Callable[[str], None]]:
    """Yield a function that names the current step; the progress line shows it and the time it takes."""
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
    """Return the JSON object: the verdict, the books of each group, and the findings."""
    import json

    from cryptometrics.times import iso

    return json.dumps(
        {
            "ok": not any(report.findings for report in reports),
            "groups": [
                {
                    "group": report.group,
                    "ok": not report.findings,
                    "offsets": report.offsets,
                    "since": None if report.since is None else iso(report.since),
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
    topic, partition = finding.partition or (None, None)
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
    """Print one line per partition, then notes, findings and the verdict."""
    if not reports:
        click.echo("nothing to verify: no group has processed anything yet")
        return
    _print_table(reports)
    for report in reports:
        if report.since is not None:
            since = report.since.astimezone(UTC)
            click.echo(f"note: group {report.group}: only what came after {since:%Y-%m-%d %H:%M:%S} UTC")
        for note in report.notes:
            click.echo(f"note: group {report.group}: {note}")
        for finding in report.findings:
            click.echo(_line(finding))
    click.echo(_verdict(reports, topic=topic))


def _print_table(reports: Sequence[GroupReport]) -> None:
    from rich.text import Text

    from cryptometrics.cli.output import for_people, plain, print_table, short

    wide = not for_people()
    number = plain if wide else short
    rows: list[list[str | Text]] = []
    for report in reports:
        wrong = {finding.partition for finding in report.findings}
        for book in report.books:
            counts = (number(getattr(book, column)) for column in COLUMNS)
            verdict = Text("FAILED", "bold red") if book.topic_partition in wrong else Text("ok", "green")
            rows.append([report.group, str(book.topic_partition), *counts, verdict])
    heads = ["rows" if column == "metrics" else column for column in COLUMNS]
    heads = heads if wide else [head.replace("_", "\n") for head in heads]
    print_table(("group", "partition", *heads, "verdict"), rows, numbers=heads)


def _line(finding: Finding) -> str:
    from cryptometrics.verify.findings import MEANING

    where = f"group {finding.group}" + (f", {finding.partition}" if finding.partition else "")
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
    also = f"; {compared:,} of them match the topic" if topic else ""
    return f"verified: {offsets:,} offsets of {groups}, each with exactly one outcome{also}"
