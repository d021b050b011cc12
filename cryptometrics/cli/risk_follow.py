"""`cryptometrics risk --follow`: keep the figures of each complete minute current."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from cryptometrics.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta
    from pathlib import Path

    import psycopg

    from cryptometrics.follow.risk_follower import FollowTotals


DEFAULT_GROUP = "cryptometrics"
"""As in `process`, which may not have stored anything yet."""


def follow(
    group: str | None,
    venue: str | None,
    catch_up: timedelta,
    rules_file: Path | None,
    *,
    no_alerts: bool,
    metrics: tuple[str, int | None],
) -> None:
    """Follow until Ctrl-C; the transaction in hand is finished. metrics: host and port to serve them on."""
    from cryptometrics import config
    from cryptometrics.alerts.channels import Recipients
    from cryptometrics.cli.connections import database, waiting
    from cryptometrics.cli.progress import Progress
    from cryptometrics.cli.rule_file import Rules, rules_of
    from cryptometrics.cli.signals import stopping
    from cryptometrics.follow.figure_alerts import RuleSettings
    from cryptometrics.follow.risk_follower import FollowOptions, RiskFollower
    from cryptometrics.notify.sender import sending
    from cryptometrics.store.database_errors import explaining
    from cryptometrics.store.text_encoding import require_storable

    if rules_file is not None and no_alerts:
        raise UserError("--alerts and --no-alerts exclude each other: leave one out")
    settings = config.load()
    rules = Rules(None, (), ()) if no_alerts else rules_of(settings, rules_file)
    recipients = Recipients(settings.has_webhook, rules.channels)
    with database(settings) as connection:  # before `stopping`: Ctrl-C ends the wait at once
        group = group or _only_group(connection)
        require_storable(connection, (group, venue) if venue else (group,))
    options = FollowOptions(
        group, venue, catch_up, RuleSettings(rules.rules, recipients, limits=not no_alerts)
    )
    of_figures = tuple(rule for rule in rules.rules if rule.owner == "risk")
    with (
        stopping() as stop,
        Progress() as progress,
        explaining(),
        contextlib.nullcontext()
        if no_alerts
        else sending(settings, group, of_figures, rules.channels, "risk"),
        _metrics_served(group, *metrics) as publish,
    ):

        def show(totals: FollowTotals) -> None:
            publish(totals)
            if progress.due():
                progress.show(f"group {group}: {_state(totals)}")

        totals = RiskFollower(settings, options, stop=stop, progress=show, notice=waiting("PostgreSQL")).run()
    also = f", and {totals.portfolio_rows:,} of portfolios" if totals.portfolio_rows else ""
    click.echo(f"group {group}: {totals.rows:,} rows written{also}")


@contextlib.contextmanager
def _metrics_served(group: str, host: str, port: int | None) -> Iterator[Callable[[FollowTotals], None]]:
    """Serve the metrics within the block if there is a port; yield the function that takes each report."""
    if port is None:
        yield lambda _totals: None
        return
    from cryptometrics.telemetry.endpoint import serving
    from cryptometrics.telemetry.risk_metrics import RiskMetrics

    metrics = RiskMetrics(group)

    def publish(totals: FollowTotals) -> None:
        metrics.update(
            totals.newest,
            active=totals.active,
            rows=totals.rows,
            behind_seconds=totals.behind.total_seconds(),
        )

    with serving(metrics.collect, metrics.health, host, port):
        yield publish


def _only_group(connection: psycopg.Connection) -> str:
    """Return the group to follow: the one that readers would choose, else the default of `process`."""
    from cryptometrics.store.choose_source import resolve_group

    try:
        chosen = resolve_group(connection, None)
    except UserError:
        return DEFAULT_GROUP
    if chosen.note:
        click.echo(chosen.note, err=True)
    return chosen.name


def _state(totals: FollowTotals) -> str:
    from cryptometrics.times import format_duration

    if not totals.active:
        return "standby: another follower is active"
    if totals.behind:
        return f"{totals.rows:,} rows, {format_duration(totals.behind)} behind"
    return f"{totals.rows:,} rows, up to date"
