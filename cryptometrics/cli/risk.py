"""`cryptometrics risk`: how much could be lost, a line per pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from cryptometrics.cli import options, risk_options
from cryptometrics.cli.risk_backtest import backtest
from cryptometrics.cli.risk_correlation import correlation
from cryptometrics.cli.risk_history import history

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from pathlib import Path

    from cryptometrics.risk.tail_risk import Method
    from cryptometrics.risk.volatility import Estimator

DEFAULT_AGAINST = "BTC-USD"
"""The pair that the others are compared with, if the venue has it."""


@click.group("risk", invoke_without_command=True)
@options.pairs
@risk_options.range_minutes
@risk_options.as_of
@click.option(
    "--estimator",
    type=click.Choice(risk_options.ESTIMATORS),
    default="realized",
    metavar="ESTIMATOR",
    help=f"Volatility of the table: {', '.join(risk_options.ESTIMATORS)}. The JSON has all of them.",
)
@risk_options.half_life
@risk_options.confidence_level
@risk_options.horizon
@risk_options.method
@risk_options.bar
@click.option(
    "--against",
    callback=risk_options.pair,
    metavar="BASE-QUOTE",
    help="Pair that the others are compared with. [default: BTC-USD]",
)
@options.reading_group
@options.one_venue
@options.as_json
@click.option(
    "--follow",
    is_flag=True,
    help="Instead, keep the figures of each complete minute current in crypto_risk until Ctrl-C.",
)
@risk_options.catch_up
@risk_options.rules_file
@risk_options.no_alerts
@options.metrics_port
@options.metrics_host
@click.pass_context
def risk(
    context: click.Context,
    *,
    pairs: tuple[str, ...],
    range_minutes: int,
    as_of: datetime | None,
    estimator: Estimator,
    half_life: int,
    confidence: float,
    horizon: int,
    method: Method,
    bar: int,
    against: str | None,
    group: str | None,
    venue: str | None,
    as_json: bool,
    follow: bool,
    catch_up: timedelta,
    rules_file: Path | None,
    no_alerts: bool,
    metrics_port: int | None,
    metrics_host: str,
) -> None:
    """Show how much could be lost: volatility, value at risk, drawdown, correlation.

    Figures come from the complete minutes of one venue and end at the same moment. Losses are positive;
    a dash is a figure that cannot be known, and the JSON says why. docs/risk.md explains each figure.

    \b
    Example:
      cryptometrics risk
      cryptometrics risk --pair BTC-USD --range 7d --json
      cryptometrics risk --follow
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    _refuse_unused_options(context, follow=follow)
    if follow:
        from cryptometrics.cli import risk_follow

        risk_follow.follow(
            group, venue, catch_up, rules_file, no_alerts=no_alerts, metrics=(metrics_host, metrics_port)
        )
        return
    from cryptometrics.cli.risk_market import stored_market
    from cryptometrics.cli.risk_table import as_text, show
    from cryptometrics.risk.figures import FigureSettings
    from cryptometrics.risk.lines import risk_lines
    from cryptometrics.store import risk_inputs
    from cryptometrics.store.complete_markets import choose_pairs

    settings = FigureSettings(confidence, horizon, method, half_life, bar)
    with stored_market(group, venue, pairs, as_of, range_minutes) as (connection, market, stored):
        chosen = choose_pairs(stored, pairs, market)
        compared = choose_pairs(stored, [against], market) if against else []
        if not against and any(each.pair == DEFAULT_AGAINST for each in stored):
            compared = [DEFAULT_AGAINST]
        loaded = list(dict.fromkeys([*chosen, *compared]))
        series = risk_inputs.load_series(connection, market, loaded, settings)
    lines = risk_lines(series, chosen, against or DEFAULT_AGAINST, market, settings)
    if as_json:
        click.echo(as_text(lines))
    else:
        show(lines, estimator, bar)


def _refuse_options(context: click.Context) -> None:
    """Raise an error for an option before the name of a sub-command, which would not reach it."""
    for option in context.command.params:
        if option.name and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
            name, flag = context.invoked_subcommand, option.opts[0]
            raise click.UsageError(f"{flag} must follow the command: risk {name} {flag} …")


def _refuse_unused_options(context: click.Context, *, follow: bool) -> None:
    """Raise an error for an option that has no effect: with --follow, figures are the same for everybody."""
    for option in context.command.params:
        name = option.name
        if not name or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        if follow and name not in risk_options.OF_FOLLOW:
            raise click.UsageError(f"{option.opts[0]} has no meaning with --follow: leave it out")
        if not follow and name in risk_options.ONLY_OF_FOLLOW:
            raise click.UsageError(f"{option.opts[0]} has no meaning without --follow: add it")


risk.add_command(correlation)
risk.add_command(history)
risk.add_command(backtest)
