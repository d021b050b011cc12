"""Options that the commands of `cryptometrics risk` share, each defined once."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import completion, options
from cryptometrics.market.ticks import parse_pairs
from cryptometrics.times import parse_duration

if TYPE_CHECKING:
    from cryptometrics.risk.history import Metric
    from cryptometrics.risk.tail_risk import Method
    from cryptometrics.risk.volatility import Estimator

MINUTE = timedelta(minutes=1)
MAX_LENGTH = timedelta(days=366)
# The names as in `risk`, which would load numpy for every --help.
ESTIMATORS: tuple[Estimator, ...] = (
    *("close", "realized", "bipower", "parkinson", "garman_klass", "rogers_satchell", "yang_zhang", "ewma"),
)
METHODS: tuple[Method, ...] = ("filtered", "historical", "normal", "modified")
METRICS: tuple[Metric, ...] = (
    *("volatility", "volatility_ewma", "value_at_risk", "expected_shortfall", "drawdown", "max_drawdown"),
)


def minutes(_context: click.Context, _option: click.Parameter, text: str) -> int:
    """Parse a duration in whole minutes, from one minute to a year; a callback for Click."""
    try:
        length = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if length < MINUTE or length % MINUTE:
        raise click.BadParameter(f"{text!r} must be one or more whole minutes, such as 15m or 24h")
    if length > MAX_LENGTH:
        raise click.BadParameter(f"{text!r} is longer than a year")
    return length // MINUTE


def confidence(_context: click.Context, _option: click.Parameter, value: float) -> float:
    """Check a confidence; a callback for Click."""
    if math.isnan(value) or not 0 < value < 1:
        raise click.BadParameter(f"{value:g} must be between 0 and 1, such as 0.99")
    return value


def pair(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    """Parse exactly one pair; a callback for Click."""
    if text is None:
        return None
    try:
        found = parse_pairs(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if len(found) != 1:
        raise click.BadParameter(f"{text!r} must be one pair")
    return found[0]


range_minutes = click.option(
    "--range",
    "range_minutes",
    default="24h",
    callback=minutes,
    metavar="DURATION",
    help="How far back the figures look: 15m, 24h, 7d.",
)

as_of = click.option(
    "--as-of",
    callback=options.time,
    metavar="TIME",
    help="Moment that the range ends at: an ISO time (UTC), or 2h for that long ago. "
    "[default: the end of the venue's newest complete minute]",
)

half_life = click.option(
    "--half-life",
    default="1h",
    callback=minutes,
    metavar="DURATION",
    help="Time in which a return loses half its weight, in ewma and filtered.",
)

confidence_level = click.option(
    "--confidence",
    type=float,
    default=0.99,
    callback=confidence,
    metavar="P",
    help="Share of cases in which the loss stays below the value at risk.",
)

horizon = click.option(
    "--horizon",
    default="1h",
    callback=minutes,
    metavar="DURATION",
    help="How far ahead value at risk looks.",
)

bar = click.option(
    "--bar",
    default="5m",
    callback=minutes,
    metavar="DURATION",
    help="Length of the returns that two pairs are compared by.",
)

one_pair = click.option(
    "--pair",
    required=True,
    callback=pair,
    shell_complete=completion.pairs,
    metavar="BASE-QUOTE",
    help="Pair such as BTC-USD.",
)

method = click.option(
    "--method",
    type=click.Choice(METHODS),
    default="filtered",
    help="How value at risk and expected shortfall are computed.",
)

out = click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=options.chart,
    help="Draw it into a .png, .svg or .pdf file.",
)

ONLY_OF_FOLLOW = ("catch_up", "rules_file", "no_alerts", "metrics_port", "metrics_host")
"""Parameters that only `risk --follow` has."""
OF_FOLLOW = ("follow", "group", "venue", *ONLY_OF_FOLLOW)
"""Parameters that `risk --follow` has."""


def _catch_up(_context: click.Context, _option: click.Parameter, text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


catch_up = click.option(
    "--catch-up",
    default="7d",
    callback=_catch_up,
    metavar="DURATION",
    help="With --follow: how far before the newest minute a first start begins at most.",
)

rules_file = click.option(
    "--alerts",
    "rules_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With --follow: alert rules. Default: the file in CRYPTOMETRICS_ALERTS, else alerts.toml in this "
    "folder.",
)

no_alerts = click.option(
    "--no-alerts", is_flag=True, help="With --follow: evaluate no alert rules and no limits."
)
