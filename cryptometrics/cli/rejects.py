"""`cryptometrics rejects`: the messages that were no valid ticks, and their way back to the topic."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import options
from cryptometrics.cli.message_display import as_dict, readable, time
from cryptometrics.market.tick_decoder import Reason
from cryptometrics.text import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from cryptometrics.config import Settings
    from cryptometrics.pipeline.requeue import Requeued
    from cryptometrics.store.rejects import Count, Rejected

WIDE = 10_000
"""Columns of a console whose lines are read by a program: nothing is ever cut."""
MOST_ID = 2**63 - 1

_group = click.option("--group", callback=options.name, metavar="NAME", help="Only what this group rejected.")
_reason = click.option(
    "--reason",
    type=click.Choice([str(reason) for reason in Reason]),
    metavar="REASON",
    help="Only this reason, such as bad_price.",
)
_ids = click.argument("ids", nargs=-1, type=click.IntRange(1, MOST_ID), metavar="[ID]...")


@click.group("rejects")
def rejects() -> None:
    """Look at rejected messages and put them back on the topic.

    \b
    Example:
      cryptometrics rejects list
    """


@rejects.command("list")
@_group
@_reason
@click.option("--limit", type=click.IntRange(0, 100_000), default=20, help="How many of the newest to show.")
@options.as_json
def list_(group: str | None, reason: str | None, limit: int, as_json: bool) -> None:
    """Count the rejected messages by reason and show the newest.

    \b
    Example:
      cryptometrics rejects list --reason bad_price
    """
    from cryptometrics.store import rejects as store

    chosen = store.Chosen(group, reason)
    with _reading() as connection:
        counts, newest = store.counts(connection, chosen), store.newest(connection, chosen, limit)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "reasons": [asdict(count) | {"newest": time(count.newest)} for count in counts],
                    "newest": [as_dict(rejected) for rejected in newest],
                },
                indent=2,
            )
        )
    elif not counts:
        click.echo("nothing is rejected")
    else:
        _print_list(counts, newest)


@rejects.command()
@click.argument("id", type=click.IntRange(1, MOST_ID))
def show(id: int) -> None:
    """Show a rejected message: why, where it came from, and its bytes made readable.

    \b
    Example:
      cryptometrics rejects show 17
    """
    from cryptometrics.errors import UserError
    from cryptometrics.store import rejects as store

    with _reading() as connection:
        found = store.newest(connection, store.Chosen(ids=[id]), 1)
    if not found:
        raise UserError(f"there is no rejected message {id}: see `cryptometrics rejects list`")
    (rejected,) = found
    for name, text in (
        ("id", str(rejected.id)),
        ("reason", rejected.reason),
        ("detail", escape(rejected.detail)),
        ("group", rejected.consumer_group),
        ("topic", rejected.topic),
        ("partition", str(rejected.kafka_partition)),
        ("offset", str(rejected.kafka_offset)),
        ("sent at", time(rejected.kafka_timestamp) or "unknown"),
        ("rejected at", time(rejected.recorded_at) or ""),
        ("requeued at", time(rejected.requeued_at) or "never"),
        ("key", readable(rejected.key)),
        ("value", readable(rejected.value)),
    ):
        click.echo(f"{name:<12} " + text.replace("\n", "\n" + " " * 13))


@rejects.command()
@_ids
@_group
@_reason
def export(ids: tuple[int, ...], group: str | None, reason: str | None) -> None:
    """Print the rejected messages as JSON lines, whole.

    Bytes are in `key` and `value` where they are UTF-8, else in `key_base64` and `value_base64`.

    \b
    Example:
      cryptometrics rejects export --reason not_json > rejects.jsonl
    """
    from cryptometrics.store import rejects as store

    chosen = store.Chosen(group, reason, list(ids) or None)
    with _reading() as connection:
        for rejected in store.stream(connection, chosen):
            sys.stdout.write(json.dumps(as_dict(rejected)) + "\n")


@rejects.command()
@_ids
@_group
@_reason
@click.option("--all", "every", is_flag=True, help="All that have not gone back yet.")
@click.option("--again", is_flag=True, help="Send those once more that went back before.")
def requeue(ids: tuple[int, ...], group: str | None, reason: str | None, every: bool, again: bool) -> None:
    """Put rejected messages back on the topic, after what was wrong is mended.

    Key and value are the original ones. What an earlier call left unfinished is finished first; without
    IDs, --reason and --all, that is all that is done.

    \b
    Example:
      cryptometrics rejects requeue --reason implausible_time
    """
    from cryptometrics import config
    from cryptometrics.cli.progress import Progress
    from cryptometrics.cli.signals import stopping
    from cryptometrics.cli.waiting import waiting
    from cryptometrics.kafka import client
    from cryptometrics.kafka.admin import wait_for_kafka
    from cryptometrics.pipeline import requeue as steps
    from cryptometrics.store import rejects as store
    from cryptometrics.store.connection import connect
    from cryptometrics.store.database_errors import explaining

    if ids and (every or group or reason):
        raise click.UsageError("IDs choose by themselves: leave out --group, --reason and --all")
    if group and not (every or reason):
        raise click.UsageError("--group narrows --reason or --all: add one of them")
    settings = config.load()
    wait_for_kafka(settings, waiting("Kafka"))
    chosen = None
    with (
        connect(settings, notice=waiting("PostgreSQL")) as connection,
        explaining(),
        stopping() as stop,
        Progress() as progress,
    ):
        if ids:
            chosen = store.Chosen(ids=sorted(set(ids)))
        elif every or reason:
            chosen = store.Chosen(group, reason)
            _say_what_is_passed_over(store.counts(connection, chosen), again=again)
        result = steps.requeue(
            connection,
            client.make_producer(settings),
            chosen,
            again=again,
            patience=settings.wait,
            stop=stop,
            progress=lambda state: progress.show(f"{state.finished + state.sent:,} requeued"),
        )
    _tell(result, settings, asked=chosen is not None)


def _say_what_is_passed_over(counts: list[Count], *, again: bool) -> None:
    from cryptometrics.errors import UserError
    from cryptometrics.text import listed

    groups = sorted({count.group for count in counts})
    if len(groups) > 1:
        raise UserError(
            f"{len(groups)} groups rejected these, each the same messages perhaps: "
            f"choose one with --group, of {listed(groups)}"
        )
    before = sum(count.requeued for count in counts)
    if before and not again:
        click.echo(f"passed over: {before:,} requeued before (--again sends them once more)", err=True)


def _tell(result: Requeued, settings: Settings, *, asked: bool) -> None:
    from cryptometrics.errors import CryptometricsError, ServiceUnavailableError

    if result.finished:
        click.echo(
            f"finished what an earlier call had begun: {result.finished:,} "
            "(what that call had already published is now on the topic twice)"
        )
    if asked:
        click.echo(f"requeued {result.sent:,}")
    elif not result.finished:
        click.echo("nothing was left unfinished; choose messages by ID, --reason or --all")
    if result.undecided:
        raise ServiceUnavailableError(
            f"Kafka did not answer for {settings.wait:g} s, and {result.undecided} messages may be on the "
            "topic or not: run `cryptometrics rejects requeue` again, which finishes them"
        )
    if result.refused:
        number, why = next(iter(result.refused.items()))
        raise CryptometricsError(
            f"Kafka does not take {len(result.refused)} of them, message {number} for one: {why}"
        )


@contextlib.contextmanager
def _reading() -> Iterator[psycopg.Connection]:
    from cryptometrics import config
    from cryptometrics.cli.waiting import waiting
    from cryptometrics.store.connection import connect, snapshot
    from cryptometrics.store.database_errors import explaining

    with (
        connect(config.load(), notice=waiting("PostgreSQL")) as connection,
        explaining(),
        snapshot(connection),
    ):
        yield connection


def _print_list(counts: list[Count], newest: list[Rejected]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    plain = not console.is_terminal
    if plain:
        console = Console(width=WIDE, highlight=False)

    def table(*columns: str) -> Table:
        made = Table(box=None if plain else box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
        for column in columns:
            made.add_column(column, no_wrap=plain, overflow="fold")
        return made

    reasons = table("reason", "count", "requeued", "newest", "group")
    for count in counts:
        cells = (count.reason, str(count.count), str(count.requeued), time(count.newest) or "", count.group)
        reasons.add_row(*map(Text, cells))
    console.print(reasons)
    if newest:
        messages = table("id", "reason", "partition", "offset", "rejected at", "detail")
        for each in newest:
            place = each.id, each.reason, each.kafka_partition, each.kafka_offset
            row = (*map(str, place), time(each.recorded_at) or "", escape(each.detail))
            messages.add_row(*map(Text, row))
        click.echo()
        console.print(messages)
