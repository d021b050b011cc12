"""`cryptometrics alerts`: list alerts, check the rules; see also `alert_silences` and `alert_test`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cryptometrics.cli import alert_silences, alert_test, completion, options
from cryptometrics.text import escape

if TYPE_CHECKING:
    from datetime import datetime

    from cryptometrics.store.alerts import Alert

COLOURS = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
"""Colours of firing alerts, by severity."""


@click.group("alerts")
def alerts() -> None:
    """List, acknowledge and silence alerts, check rules, test the channels.

    \b
    Example:
      cryptometrics alerts list
    """


@alerts.command("list")
@click.option(
    "--group",
    callback=options.name,
    shell_complete=completion.groups,
    metavar="NAME",
    help="Only alerts of this group.",
)
@options.only_venue
@click.option(
    "--since",
    callback=options.time,
    metavar="TIME",
    help="Only alerts that are firing or fired since this time: 15m, 2h ago, 2026-07-01.",
)
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, help="Maximum number of alerts.")
@options.as_json
def list_(group: str | None, venue: str | None, since: datetime | None, limit: int, as_json: bool) -> None:
    """List alerts: firing ones first, then the newest.

    \b
    Example:
      cryptometrics alerts list --since 1h
    """
    from cryptometrics.cli.connections import database
    from cryptometrics.store import alerts as store

    with database() as connection:
        found = store.listed(connection, group, since, limit, venue=venue)
    if as_json:
        click.echo(json.dumps([_as_dict(alert) for alert in found], indent=2))
    elif not found:
        click.echo("no alerts")
    else:
        _print(found)


@alerts.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
def check(file: Path | None) -> None:
    """Check a file of rules and channels and list every problem with its line and key.

    Without FILE it checks the file that `process` would read. Exit code 2 if there is a problem.

    \b
    Example:
      cryptometrics alerts check alerts.toml
    """
    from cryptometrics import config
    from cryptometrics.alerts.messages import condition
    from cryptometrics.alerts.toml_lines import RulesError
    from cryptometrics.cli.rule_file import place_of, read
    from cryptometrics.errors import UserError

    path = file or place_of(config.load(), None)
    if path is None:
        raise UserError(
            "there is no alerts.toml here: `cryptometrics alerts example` prints one to start from"
        )
    try:
        found = read(path)
    except RulesError as error:
        for problem in error.problems[:-1]:
            click.echo(f"error: {path}, {problem}", err=True)
        raise UserError(f"{path}, {error.problems[-1]}") from None
    for rule in found.rules:
        about = f" on {', '.join(rule.pairs)}" if rule.pairs else ""
        click.echo(f"{rule.name}: {rule.severity} when {condition(rule)}{about}")
    for channel in found.channels:
        click.echo(f"{channel.name}: gets {channel.min_severity} and above on {', '.join(channel.pairs)}")
    counts = _count(len(found.rules), "rule")
    if found.channels:
        counts += f" and {_count(len(found.channels), 'channel')}"
    click.echo(f"{path}: {counts}, all valid")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


@alerts.command()
def example() -> None:
    """Print a commented file of rules to start from.

    \b
    Example:
      cryptometrics alerts example > alerts.toml
    """
    from cryptometrics.alerts.rules import example as text

    click.echo(text(), nl=False)


def _as_dict(alert: Alert) -> dict[str, Any]:
    from cryptometrics.cli.output import exact

    names = {"consumer_group": "group"}
    values = {names.get(key, key): exact(value) for key, value in vars(alert).items()}
    acknowledged = {key: values.pop(f"acknowledged_{key}") for key in ("by", "at", "why")}
    return {
        "status": _status(alert),
        **values,
        "acknowledged": None if alert.acknowledged_by is None else acknowledged,
    }


def _status(alert: Alert) -> str:
    return "firing" if alert.resolved_at is None else "resolved"


def _delivery(alert: Alert) -> str:
    """Return whether the webhook and the channels have received the alert."""
    if alert.silenced:
        return "silenced"
    if not alert.notifications:
        return "no channel"
    if alert.delivered == alert.notifications:
        return "delivered"
    return "waiting" + (f": {escape(alert.last_error)}" if alert.last_error else "")


def _print(found: list[Alert]) -> None:
    from rich.text import Text

    from cryptometrics.cli.output import NOTHING, for_people, plain, print_table, short, stacked

    rows: list[list[str | Text]] = []
    if not for_people():
        for alert in found:
            times = plain(alert.fired_at), plain(alert.resolved_at)
            about = alert.severity, alert.rule, escape(alert.message)
            said = escape(alert.acknowledged_by or NOTHING)
            rows.append([str(alert.id), _status(alert), *about, *times, _delivery(alert), said])
        names = "id status severity rule what fired_at resolved_at delivery acknowledged"
        print_table(names.split(), rows, numbers=("id",))
        return
    for alert in found:
        colour = COLOURS[alert.severity] if alert.resolved_at is None else "dim"
        what = stacked(alert.rule, escape(alert.message))
        if alert.acknowledged_by is not None:
            said = f"{short(alert.acknowledged_at)} by {alert.acknowledged_by}: {alert.acknowledged_why}"
            what.append(f"\nacknowledged {escape(said)}", "green")
        rows.append(
            [
                str(alert.id),
                Text(f"{_status(alert)}\n{alert.severity}", colour),
                what,
                stacked(short(alert.fired_at), short(alert.resolved_at)),
                _delivery(alert),
            ]
        )
    heads = ("id", "status\nseverity", "rule\nmessage", "fired at\nresolved at", "delivery")
    print_table(heads, rows, numbers=("id",), uncut=heads[3:4], caption="times in UTC")


alerts.add_command(alert_silences.ack)
alerts.add_command(alert_silences.silence)
alerts.add_command(alert_silences.silences)
alerts.add_command(alert_silences.unsilence)
alerts.add_command(alert_test.test)
