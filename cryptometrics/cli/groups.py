"""`cryptometrics groups`: list the consumer groups, and delete one with everything it has stored."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import completion, options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptometrics.config import Settings
    from cryptometrics.kafka.partition_ends import Place
    from cryptometrics.store.group_overview import GroupOverview

ANSWER_S = 3.0
"""Seconds Kafka has to report the ends of partitions; without them the lag is not known."""


@click.group("groups")
def groups() -> None:
    """List consumer groups, and delete one with everything it has stored.

    \b
    Example:
      cryptometrics groups list
    """


@groups.command("list")
@options.as_json
def list_(as_json: bool) -> None:
    """Show what each group has stored: quotes, offsets, lag, sessions, newest tick and size.

    Rows are stored quotes, without pruned ones. The size is that of these quotes. The lag is a dash if Kafka
    does not answer.

    \b
    Example:
      cryptometrics groups list --json
    """
    from cryptometrics import config
    from cryptometrics.cli.connections import stored
    from cryptometrics.store.group_overview import overview

    settings = config.load()
    with stored() as connection:
        found = overview(connection)
    ends = _ends(settings, found)
    if as_json:
        click.echo(json.dumps([_as_dict(group, ends) for group in found], indent=2))
    elif not found:
        click.echo("no groups: nothing has been stored yet")
    else:
        _print_table(found, ends)
    for group in found:
        if group.deleting_since is not None:
            click.echo(
                f"group {group.name} is being deleted: finish with `cryptometrics groups delete "
                f"{group.name}`",
                err=True,
            )


@groups.command()
@click.argument("name", callback=options.name, shell_complete=completion.groups)
@click.option("--yes", is_flag=True, help="Do not ask before deleting.")
def delete(name: str, yes: bool) -> None:
    """Delete a group: its quotes, sessions, minutes, figures, alerts, rejects and books.

    Workers of other groups can keep running. Stop those of this group first, its `risk --follow` and its
    `aggregate`. If this is interrupted, the same command finishes the work; until then no worker can use the
    group. The topic and the versions of portfolios stay. Later, a worker of this name begins at the oldest
    record.

    \b
    Example:
      cryptometrics groups delete test-1 --yes
    """
    from cryptometrics.cli.connections import database
    from cryptometrics.errors import UserError
    from cryptometrics.store import group_deletion
    from cryptometrics.store.group_overview import find, overview

    if not yes and not sys.stdin.isatty():
        raise UserError("it asks before it deletes, but there is no terminal: add --yes")
    with database() as connection:
        group = find(overview(connection), name)
        group_deletion.refuse_in_use(connection, name)
        if not yes and not click.confirm(_question(group), err=True):
            click.echo("nothing was deleted", err=True)
            return
        days = quotes = others = 0
        for step in group_deletion.delete_group(connection, name):
            click.echo(f"deleted {step.what}: {step.rows:,} rows")
            if step.is_day:
                days, quotes = days + 1, quotes + step.rows
            else:
                others += step.rows
    click.echo(f"group {name} is deleted: {quotes:,} quotes of {days:,} days, {others:,} other rows")


def _question(group: GroupOverview) -> str:
    from rich.filesize import decimal

    if group.deleting_since is not None:
        return f"Finish the deletion of group {group.name}?"
    return (
        f"Delete group {group.name}: {group.rows:,} quotes ({decimal(group.size_bytes)}), "
        f"{group.sessions:,} sessions, and all else that it has stored?"
    )


def _ends(settings: Settings, found: Sequence[GroupOverview]) -> Mapping[Place, int]:
    """Return the ends of all partitions that the groups read, as far as Kafka reports them."""
    from cryptometrics.errors import CryptometricsError
    from cryptometrics.kafka.client import make_admin
    from cryptometrics.kafka.partition_ends import known_ends

    places = {place for group in found for place in group.next_offsets}
    if not places:
        return {}
    try:
        ends = known_ends(make_admin(settings), places, ANSWER_S)
    except CryptometricsError as error:
        click.echo(f"the lag is not known: {error}", err=True)
        return {}
    if missing := len(places - ends.keys()):
        click.echo(
            f"the lag is not known of {missing:,} of {len(places):,} partitions: Kafka did not report where "
            "they end",
            err=True,
        )
    return ends


def _as_dict(group: GroupOverview, ends: Mapping[Place, int]) -> dict[str, object]:
    from cryptometrics.cli.output import exact

    return {
        "group": group.name,
        "rows": group.rows,
        "offsets": group.offsets,
        "lag": group.lag(ends),
        "sessions": group.sessions,
        "newest_tick": exact(group.newest_tick),
        "size_bytes": group.size_bytes,
        "deleting_since": exact(group.deleting_since),
    }


def _print_table(found: Sequence[GroupOverview], ends: Mapping[Place, int]) -> None:
    from rich.filesize import decimal

    from cryptometrics.cli.output import for_people, plain, print_table, short

    people = for_people()
    text = short if people else plain
    print_table(
        ("group", "rows", "offsets", "lag", "sessions", "newest tick", "size"),
        [
            (
                group.name,
                text(group.rows),
                text(group.offsets),
                text(group.lag(ends)),
                text(group.sessions),
                text(group.newest_tick),
                decimal(group.size_bytes) if people else plain(group.size_bytes),
            )
            for group in found
        ],
        numbers={"rows", "offsets", "lag", "sessions", "size"},
        uncut={"newest tick"},
    )
