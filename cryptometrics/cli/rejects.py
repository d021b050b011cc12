"""`cryptometrics rejects`: list, show, export and requeue rejected messages."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import completion, options
from cryptometrics.cli.message_display import as_dict, readable
from cryptometrics.market.tick_decoder import Reason
from cryptometrics.text import escape

if TYPE_CHECKING:
    from cryptometrics.config import Settings
    from cryptometrics.pipeline.requeue import Requeued
    from cryptometrics.store.rejects import RejectCount, RejectedMessage

MAX_ID = 2**63 - 1

_group = click.option(
    "--group",
    callback=options.name,
    shell_complete=completion.groups,
    metavar="NAME",
    help="Only messages rejected by this group.",
)
_reason = click.option(
    "--reason",
    type=click.Choice([str(reason) for reason in Reason]),
    metavar="REASON",
    help="Only this reason, such as bad_price.",
)
_ids = click.argument("ids", nargs=-1, type=click.IntRange(1, MAX_ID), metavar="[ID]...")


@click.group("rejects")
def rejects() -> None:
    """Inspect rejected messages and requeue them.

    \b
    Example:
      cryptometrics rejects list
    """


@rejects.command("list")
@_group
@_reason
@click.option(
    "--limit", type=click.IntRange(0, 100_000), default=20, help="Number of the newest messages to show."
)
@options.as_json
def list_(group: str | None, reason: str | None, limit: int, as_json: bool) -> None:
    """Count rejected messages by reason and show the newest.

    \b
    Example:
      cryptometrics rejects list --reason bad_price
    """
    from cryptometrics.cli.connections import stored
    from cryptometrics.cli.output import exact
    from cryptometrics.store import rejects as store

    chosen = store.RejectFilter(group, reason)
    with stored() as connection:
        counts, newest = store.counts(connection, chosen), store.newest(connection, chosen, limit)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "reasons": [asdict(count) | {"newest": exact(count.newest)} for count in counts],
                    "newest": [as_dict(rejected) for rejected in newest],
                },
                indent=2,
            )
        )
    elif not counts:
        click.echo("no rejected messages")
    else:
        _print_list(counts, newest)


@rejects.command()
@click.argument("id", type=click.IntRange(1, MAX_ID))
def show(id: int) -> None:
    """Show a rejected message: the reason, its origin and its readable content.

    \b
    Example:
      cryptometrics rejects show 17
    """
    from cryptometrics.cli.connections import stored
    from cryptometrics.cli.output import exact
    from cryptometrics.errors import UserError
    from cryptometrics.store import rejects as store

    with stored() as connection:
        found = store.newest(connection, store.RejectFilter(ids=[id]), 1)
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
        ("sent at", exact(rejected.kafka_timestamp) or "unknown"),
        ("rejected at", exact(rejected.recorded_at)),
        ("requeued at", exact(rejected.requeued_at) or "never"),
        ("key", readable(rejected.key)),
        ("value", readable(rejected.value)),
    ):
        click.echo(f"{name:<12} " + text.replace("\n", "\n" + " " * 13))


@rejects.command()
@_ids
@_group
@_reason
def export(ids: tuple[int, ...], group: str | None, reason: str | None) -> None:
    """Print complete rejected messages as JSON lines.

    Key and value are in `key` and `value` if they are UTF-8, else in `key_base64` and `value_base64`.

    \b
    Example:
      cryptometrics rejects export --reason not_json > rejects.jsonl
    """
    from cryptometrics.cli.connections import stored
    from cryptometrics.store import rejects as store

    chosen = store.RejectFilter(group, reason, list(ids) or None)
    with stored() as connection:
        for rejected in store.stream(connection, chosen):
            sys.stdout.write(json.dumps(as_dict(rejected)) + "\n")


@rejects.command()
@_ids
@_group
@_reason
@click.option("--all", "every", is_flag=True, help="Requeue all messages that were not requeued before.")
@click.option("--again", is_flag=True, help="Also send messages again that were requeued before.")
def requeue(ids: tuple[int, ...], group: str | None, reason: str | None, every: bool, again: bool) -> None:
    """Send rejected messages to the topic again, after the cause is fixed.

    Key and value are the original ones. The command first finishes what an earlier call left unfinished;
    without IDs, --reason and --all, it does only that.

    \b
    Example:
      cryptometrics rejects requeue --reason implausible_time
    """
    from cryptometrics import config
    from cryptometrics.cli.connections import database, wait_for_kafka
    from cryptometrics.cli.progress import Progress
    from cryptometrics.cli.signals import stopping
    from cryptometrics.kafka import client
    from cryptometrics.pipeline import requeue as steps
    from cryptometrics.store import rejects as store

    if ids and (every or group or reason):
        raise click.UsageError(
            "IDs cannot be combined with --group, --reason and --all: remove one or the other"
        )
    if group and not (every or reason):
        raise click.UsageError("--group needs --reason or --all: add one of them")
    settings = config.load()
    wait_for_kafka(settings)
    chosen = None
    with (
        database(settings) as connection,
        stopping() as stop,
        Progress() as progress,
    ):
        if ids:
            chosen = store.RejectFilter(ids=sorted(set(ids)))
        elif every or reason:
            chosen = store.RejectFilter(group, reason)
            _report_skipped(store.counts(connection, chosen), again=again)
        result = steps.requeue(
            connection,
            client.make_producer(settings),
            chosen,
            again=again,
            patience=settings.wait,
            stop=stop,
            progress=lambda state: progress.show(f"{state.finished + state.sent:,} requeued"),
        )
    _report(result, settings, asked=chosen is not None)


def _report_skipped(counts: list[RejectCount], *, again: bool) -> None:
    from cryptometrics.errors import UserError
    from cryptometrics.text import listed

    groups = sorted({count.group for count in counts})
    if len(groups) > 1:
        raise UserError(
            f"{len(groups)} groups rejected such messages, perhaps the same ones: "
            f"choose one with --group, of {listed(groups)}"
        )
    before = sum(count.requeued for count in counts)
    if before and not again:
        click.echo(f"skipped {before:,} messages requeued before (--again sends them again)", err=True)


def _report(result: Requeued, settings: Settings, *, asked: bool) -> None:
    from cryptometrics.errors import CryptometricsError, ServiceUnavailableError

    if result.finished:
        click.echo(
            f"finished an earlier call: {result.finished:,} requeued "
            "(those that it had already sent are now on the topic twice)"
        )
    if asked:
        click.echo(f"requeued {result.sent:,}")
    elif not result.finished:
        click.echo("no earlier call was unfinished; choose messages by ID, --reason or --all")
    if result.undecided:
        raise ServiceUnavailableError(
            f"Kafka did not answer for {settings.wait:g} s, and {result.undecided:,} messages may or may "
            "not be on the topic: run `cryptometrics rejects requeue` again to finish them"
        )
    if result.refused:
        number, why = next(iter(result.refused.items()))
        raise CryptometricsError(
            f"Kafka refused {len(result.refused):,} of the messages, such as number {number:,}: {why}"
        )


def _print_list(counts: list[RejectCount], newest: list[RejectedMessage]) -> None:
    from cryptometrics.cli.output import for_people, plain, print_table, short

    text = short if for_people() else plain
    print_table(
        ("reason", "count", "requeued", "newest", "group"),
        [
            (each.reason, text(each.count), text(each.requeued), text(each.newest), each.group)
            for each in counts
        ],
        numbers={"count", "requeued"},
    )
    if newest:
        click.echo()
        print_table(
            ("id", "reason", "partition", "offset", "rejected at", "detail"),
            [
                (
                    *map(str, (each.id, each.reason, each.kafka_partition, each.kafka_offset)),
                    text(each.recorded_at),
                    escape(each.detail),
                )
                for each in newest
            ],
        )
