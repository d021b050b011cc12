"""`cryptometrics risk history`: a figure over time."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from cryptometrics.cli import options, risk_options
from cryptometrics.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptometrics.risk.history import Metric
    from cryptometrics.risk.tail_risk import Method

MAX_POINTS = 10_000
KEYS = ("as_of", "pair", "venue", "group", "range_seconds", "metric", "value", "coverage")


@click.command("history")
@risk_options.one_pair
@click.option(
    "--metric",
    type=click.Choice(risk_options.METRICS),
    default="volatility",
    help="Figure to show; volatility is realized.",
)
@risk_options.range_minutes
@click.option(
    "--since",
    callback=options.time,
    metavar="TIME",
    help="First moment: 6h or 7d ago, or an ISO time (UTC). [default: 24 hours before the last]",
)
@risk_options.as_of
@click.option(
    "--step",
    default="15m",
    callback=risk_options.minutes,
    metavar="DURATION",
    help="Time from one figure to the next.",
)
@risk_options.half_life
@risk_options.confidence_level
@risk_options.horizon
@risk_options.method
@options.reading_group
@options.one_venue
@options.as_json
def history(
    *,
    pair: str,
    metric: Metric,
    range_minutes: int,
    since: datetime | None,
    as_of: datetime | None,
    step: int,
    half_life: int,
    confidence: float,
    horizon: int,
    method: Method,
    group: str | None,
    venue: str | None,
    as_json: bool,
) -> None:
    """Show a figure over time, each over the range before its moment.

    Figures are computed from the minutes, so each is the one that `risk --as-of` shows.

    \b
    Example:
      cryptometrics risk history --pair BTC-USD --metric volatility --range 1h
    """
    from dataclasses import replace

    from cryptometrics.cli.risk_market import stored_market
    from cryptometrics.risk import history as over_time
    from cryptometrics.risk.figures import FigureSettings
    from cryptometrics.store import risk_inputs
    from cryptometrics.store.complete_markets import choose_pairs

    settings = FigureSettings(confidence, horizon, method, half_life)
    with stored_market(group, venue, [pair], as_of, range_minutes) as (connection, market, stored):
        choose_pairs(stored, [pair], market)
        begin = max(
            since or market.as_of - timedelta(days=1),
            next(each.first_minute for each in stored if each.pair == pair) + risk_options.MINUTE,
        )
        if begin > market.as_of:
            raise UserError(
                f"--since {begin:%Y-%m-%d %H:%M} is after the last moment, {market.as_of:%Y-%m-%d %H:%M} UTC"
            )
        count = (market.as_of - begin) // (step * risk_options.MINUTE) + 1
        if count > MAX_POINTS:
            raise UserError(f"{count:,} figures are more than {MAX_POINTS:,}: choose a longer --step")
        whole = replace(market, minutes=range_minutes + (count - 1) * step)
        minutes = risk_inputs.load_whole_minutes(connection, whole, [pair])[pair]
    points = over_time.history(
        minutes, metric, range_minutes=range_minutes, step=step, count=count, settings=settings
    )
    rows: list[dict[str, Any]] = [
        {
            "as_of": market.as_of - point.minutes_ago * risk_options.MINUTE,
            "pair": pair,
            "venue": market.venue,
            "group": market.group,
            "range_seconds": range_minutes * 60,
            "metric": metric,
            "value": point.value,
            "coverage": point.coverage,
        }
        for point in points
    ]
    if as_json:
        from cryptometrics.cli.output import exact

        click.echo(json.dumps([{key: exact(value) for key, value in row.items()} for row in rows], indent=2))
    else:
        show(rows)


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print a line per moment."""
    from cryptometrics.cli.output import for_people, plain, print_table, short
    from cryptometrics.cli.risk_table import is_thin
    from cryptometrics.market.venues import venue_label
    from cryptometrics.text import percent
    from cryptometrics.times import format_duration

    if not for_people():
        print_table(KEYS, [[plain(row[key]) for key in KEYS] for row in rows])
        return
    first = rows[0]
    cells = [
        [
            short(row["as_of"], time="%Y-%m-%d %H:%M"),
            percent(row["value"]),
            percent(row["coverage"]) + " thin" * is_thin(row["coverage"]),
        ]
        for row in rows
    ]
    length = format_duration(timedelta(seconds=first["range_seconds"]))
    print_table(
        ["as of (UTC)", first["metric"], "coverage"],
        cells,
        numbers=[first["metric"], "coverage"],
        title=f"{first['pair']}, {venue_label(first['venue'])}, over the {length} before",
    )
