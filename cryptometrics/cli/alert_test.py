"""`cryptometrics alerts test`: send a test message to the webhook and the channels."""

from __future__ import annotations

import time as clock
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptometrics.config import Settings
    from cryptometrics.notify.outbox import Notification
    from cryptometrics.notify.webhook import Webhook


@click.command()
@click.argument("channel", required=False)
@click.option(
    "--alerts",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="File of the channels. Default: as for `process`.",
)
def test(channel: str | None, file: Path | None) -> None:
    """Send a test alert to CHANNEL, or to the webhook and every channel, and print what came of it.

    The webhook, CRYPTOMETRICS_WEBHOOK_URL, has the name webhook. Exit code 1 if one refuses, 3 if one does
    not answer.

    \b
    Example:
      cryptometrics alerts test mail
    """
    from cryptometrics import config
    from cryptometrics.errors import UserError

    attempts = _attempts(config.load(), file)
    if not attempts:
        raise UserError(
            "there is nobody to tell: set CRYPTOMETRICS_WEBHOOK_URL, in the environment or in .env, "
            "or add a [[channel]] to the file of rules"
        )
    if channel is not None and channel not in attempts:
        raise UserError(f"there is no channel {channel}: there are {', '.join(attempts)}")
    _run([attempts[channel]] if channel is not None else list(attempts.values()))


def _attempts(settings: Settings, file: Path | None) -> dict[str, Callable[[], str]]:
    """Return how to test each receiver, by its name; raise UserError."""
    from cryptometrics.alerts.channels import WEBHOOK
    from cryptometrics.cli.rule_file import rules_of
    from cryptometrics.notify.channels import ChannelTarget, open_channels
    from cryptometrics.notify.webhook import Webhook

    def of_channel(target: ChannelTarget) -> Callable[[], str]:
        def attempt() -> str:
            begun = clock.monotonic()
            target.send([_test_alert()])
            return f"channel {target.name} accepted the message in {clock.monotonic() - begun:.2f} s"

        return attempt

    found: dict[str, Callable[[], str]] = {}
    if webhook := Webhook.configured(settings):
        found[WEBHOOK] = lambda: _post(webhook)
    for target in open_channels(rules_of(settings, file).channels):
        found[target.name] = of_channel(target)
    return found


def _run(attempts: list[Callable[[], str]]) -> None:
    """Send each message and print the result; raise the first error after all have been tried."""
    from cryptometrics.errors import CryptometricsError, ServiceUnavailableError
    from cryptometrics.notify.webhook import NotDeliveredError

    errors: list[NotDeliveredError] = []
    for attempt in attempts:
        try:
            click.echo(attempt())
        except NotDeliveredError as error:
            errors.append(error)
    for other in errors[1:]:
        click.echo(f"error: {other}", err=True)
    if errors:
        if errors[0].answered:
            raise CryptometricsError(str(errors[0])) from None
        raise ServiceUnavailableError(str(errors[0])) from None


def _post(webhook: Webhook) -> str:
    begun = clock.monotonic()
    answer = webhook.send(_test_alert())
    took = clock.monotonic() - begun
    said = f": {answer.body}" if answer.body else ""
    return f"{webhook.address} answered {answer.status} {answer.reason} in {took:.2f} s{said}"


def _test_alert() -> Notification:
    from decimal import Decimal

    from cryptometrics.market.venues import SIMULATED
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
        venue=SIMULATED,
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
