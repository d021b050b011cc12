"""`cryptometrics status`: what runs, how far it is, and when something was last heard."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import options

if TYPE_CHECKING:
    from rich.text import Text

    from cryptometrics.cli.status_report import FeedState, StatusReport

TITLES = {"kafka": "Kafka", "postgres": "PostgreSQL"}
HEAD = 11
"""Width of the names before the lines."""


@click.command()
@options.as_json
def status(as_json: bool) -> None:
    """Show whether Kafka and PostgreSQL run, and what is stored: schema, topic, groups and feeds.

    Groups have their lag and the age of their newest tick. The commands that `demo --keep` left are listed,
    too. Exit code 1 if a service is down or the schema is behind; lag and a silent feed do not count.

    \b
    Example:
      cryptometrics status --json
    """
    from cryptometrics.cli.status_report import StatusReport, as_dict
    from cryptometrics.config import load

    report = StatusReport(load())
    if as_json:
        click.echo(json.dumps(as_dict(report), indent=2))
    else:
        _show(report)
    if report.has_problem:
        raise click.exceptions.Exit(1)


def _show(report: StatusReport) -> None:
    _show_services(report)
    # Below the table: in a cell, a long text would be folded and an address could not be copied.
    for name, service in report.services.items():
        _line(TITLES[name], str(service.problem or service.address))
    schema = report.schema
    version = f" ({schema.version})" if schema.version else ""
    state = "up to date" if schema.up_to_date else "unknown"
    _line("schema", schema.problem or state + version)
    _line("topic", _topic(report))
    for feed in report.feeds or ():
        _line("feed", _feed(feed))
    for command in report.commands:
        _line("command", f"{command.name} {'runs' if command.running else 'has ended'}, log {command.log}")
    _show_groups(report)


def _line(head: str, text: str) -> None:
    click.echo(f"{head:<{HEAD}} {text}")


def _show_services(report: StatusReport) -> None:
    from rich.filesize import decimal
    from rich.text import Text

    from cryptometrics.cli.output import NOTHING, print_table

    rows: list[list[str | Text]] = []
    for name, service in report.services.items():
        uptime, size = service.uptime_seconds, service.bytes_on_disk
        rows.append(
            [
                TITLES[name],
                Text("running", "green") if service.running else Text("stopped", "red"),
                service.version or NOTHING,
                NOTHING if uptime is None else str(timedelta(seconds=int(uptime))),
                NOTHING if size is None else decimal(size),
            ]
        )
    print_table(("service", "state", "version", "up for", "on disk"), rows)


def _topic(report: StatusReport) -> str:
    topic = report.topic
    if topic.problem is not None or topic.partitions is None:
        return topic.problem or f"{topic.name}: unknown"
    newest = "no records" if topic.age_seconds is None else f"newest record {_ago(topic.age_seconds)}"
    return f"{topic.name}, {topic.partitions} partitions, {newest}"


def _feed(feed: FeedState) -> str:
    from cryptometrics.cli.output import short
    from cryptometrics.market.venues import venue_label

    text = f"{venue_label(feed.venue)}: newest tick {_ago(feed.age_seconds)}"
    if feed.newest_gap is None:
        return text
    return f"{text}; newest gap record: {feed.newest_gap}, {short(feed.newest_gap_at)} UTC"


def _show_groups(report: StatusReport) -> None:
    from cryptometrics.cli.output import NOTHING, print_table, short

    if report.groups is None:
        return
    if not report.groups:
        _line("groups", "none yet: run `cryptometrics process`")
        return
    rows = [
        [
            group.group,
            short(group.lag),
            short(group.newest_tick),
            NOTHING if group.age_seconds is None else _age(group.age_seconds),
        ]
        for group in report.groups
    ]
    print_table(("group", "lag", "newest tick (UTC)", "age"), rows, numbers={"lag"}, uncut={"group"})


def _age(seconds: float) -> str:
    """Return an age in whole seconds; a time ahead of the clock counts as now."""
    from cryptometrics.times import format_duration

    return format_duration(timedelta(seconds=max(seconds, 0))) or "0s"


def _ago(seconds: float) -> str:
    return f"{_age(seconds)} ago"
