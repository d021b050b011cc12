"""`cryptometrics alerts`: what fires, whether the rules are right, whether the webhook answers."""

from __future__ import annotations

import json
import time as clock
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cryptometrics.cli import options
from cryptometrics.cli.message_display import time
from cryptometrics.text import escape

if TYPE_CHECKING:
    from cryptometrics.notify.outbox import Notification
    from cryptometrics.store.alerts import Alert

WIDE = 10_000
"""Columns of a console whose lines are read by a program: nothing is ever cut."""
COLOURS = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
"""Of what fires."""


@click.group("alerts")
def alerts() -> None:
    """See what fires, check rules, test the webhook.

    \b
    Example:
      cryptometrics alerts list
    """


@alerts.command("list")
@click.option("--group", callback=options.name, metavar="NAME", help="Only alerts of this group.")
@click.option(
    "--since",
    callback=options.time,
    metavar="TIME",
    help="Only what fires now or fired since: 15m, 2h, 2026-07-01.",
)
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, help="How many to show at most.")
@options.as_json
def list_(group: str | None, since: datetime | None, limit: int, as_json: bool) -> None:
    """Show alerts: those that fire first, then the newest.

    \b
    Example:
      cryptometrics alerts list --since 1h
    """
    from cryptometrics import config
    from cryptometrics.cli.waiting import waiting
    from cryptometrics.store import alerts as store
    from cryptometrics.store.connection import connect
    from cryptometrics.store.database_errors import explaining

    with connect(config.load(), notice=waiting("PostgreSQL")) as connection, explaining():
        found = store.listed(connection, group, since, limit)
    if as_json:
        click.echo(json.dumps([_as_dict(alert) for alert in found], indent=2))
    elif not found:
        click.echo("no alerts")
    else:
        _print(found)


@alerts.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
def check(file: Path | None) -> None:
    """Check a file of rules; exit code 2 and line and key of all that is wrong with it.

    Without FILE it is the one that `process` would read.

    \b
    Example:
      cryptometrics alerts check alerts.toml
    """
    from cryptometrics import config
    from cryptometrics.alerts.messages import condition
    from cryptometrics.alerts.rules import RulesError
    from cryptometrics.cli.rule_file import place_of, read
    from cryptometrics.errors import UserError

    path = file or place_of(config.load(), None)
    if path is None:
        raise UserError(
            "there is no alerts.toml here: `cryptometrics alerts example` prints one to begin with"
        )
    try:
        rules = read(path)
    except RulesError as error:
        for problem in error.problems[:-1]:
            click.echo(f"error: {path}, {problem}", err=True)
        raise UserError(f"{path}, {error.problems[-1]}") from None
    for rule in rules:
        about = f" on {', '.join(rule.pairs)}" if rule.pairs else ""
        click.echo(f"{rule.name}: {rule.severity} when {condition(rule)}{about}")
    click.echo(f"{path}: {len(rules)} rule{'s' * (len(rules) != 1)}, all valid")


@alerts.command()
def example() -> None:
    """Print a commented file of rules to begin with.

    \b
    Example:
      cryptometrics alerts example > alerts.toml
    """
    from cryptometrics.alerts.rules import example as text

    click.echo(text(), nl=False)


@alerts.command()
def test() -> None:
    """Post a test alert to the webhook and say what came back.

    The webhook is CRYPTOMETRICS_WEBHOOK_URL. Exit code 1 where it refuses, 3 where it does not answer.

    \b
    Example:
      cryptometrics alerts test
    """
    from cryptometrics import config
    from cryptometrics.errors import CryptometricsError, ServiceUnavailableError, UserError
    from cryptometrics.notify.webhook import NotDeliveredError, Webhook

    webhook = Webhook.configured(config.load())
    if webhook is None:
        raise UserError(
            "no webhook is configured: set CRYPTOMETRICS_WEBHOOK_URL, in the environment or in .env"
        )
    begun = clock.monotonic()
    try:
        answer = webhook.send(_test_alert())
    except NotDeliveredError as error:
        if error.answered:
            raise CryptometricsError(str(error)) from None
        raise ServiceUnavailableError(str(error)) from None
    took = clock.monotonic() - begun
    said = f": {answer.body}" if answer.body else ""
    click.echo(f"{webhook.address} answered {answer.status} {answer.reason} in {took:.2f} s{said}")


def _test_alert() -> Notification:
    from decimal import Decimal

    from cryptometrics.notify.outbox import Notification

    now = datetime.now(UTC)
    return Notification(
        id=0,
        status="firing",
        key=uuid.uuid4(),
        attempts=0,
        alert_id=0,
        consumer_group="test",
        rule="test",
        kind="spread_bps",
        pair="TEST-USD",
        severity="info",
        level=Decimal(25),
        value=Decimal(30),
        message="TEST-USD: this is a test, nothing has happened",
        started_at=now,
        fired_at=now,
        resolved_at=None,
        wait_s=None,
    )


def _as_dict(alert: Alert) -> dict[str, Any]:
    from decimal import Decimal

    def plain(value: object) -> object:
        if isinstance(value, datetime):
            return time(value)
        return f"{value:f}" if isinstance(value, Decimal) else value

    return {
        "status": _status(alert),
        **{("group" if k == "consumer_group" else k): plain(v) for k, v in vars(alert).items()},
    }


def _status(alert: Alert) -> str:
    return "firing" if alert.resolved_at is None else "resolved"


def _told(alert: Alert) -> str:
    """Return what has become of telling it."""
    if not alert.notifications:
        return "no webhook"
    if alert.delivered == alert.notifications:
        return "delivered"
    return "waiting" + (f": {alert.last_error}" if alert.last_error else "")


def _print(found: list[Alert]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=WIDE, highlight=False)
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for column in ("status", "severity", "rule", "what", "fired_at", "resolved_at", "webhook"):
            table.add_column(column, no_wrap=True)
        for alert in found:
            times = time(alert.fired_at) or "", time(alert.resolved_at) or ""
            what = escape(alert.message), *times, escape(_told(alert))
            table.add_row(*map(Text, (_status(alert), alert.severity, alert.rule, *what)))
    else:  # two values share a column, one above the other, so that 80 characters hold them
        table = Table(
            box=box.SIMPLE_HEAD,
            padding=(0, 2, 0, 0),
            pad_edge=False,
            caption="times in UTC",
            caption_justify="left",
        )
        for column in ("status\nseverity", "rule\nwhat", "fired at\nresolved at", "webhook"):
            table.add_column(column, overflow="fold", no_wrap=column.startswith("fired"))
        for alert in found:
            colour = COLOURS[alert.severity] if alert.resolved_at is None else "dim"
            table.add_row(
                Text(f"{_status(alert)}\n{alert.severity}", colour),
                Text.assemble(alert.rule, "\n", (escape(alert.message), "dim")),
                Text.assemble(_short(alert.fired_at), "\n", (_short(alert.resolved_at), "dim")),
                Text(escape(_told(alert))),
            )
    console.print(table)


def _short(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"
