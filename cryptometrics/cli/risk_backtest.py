"""`cryptometrics risk backtest`: whether value at risk held in the stored past."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from cryptometrics import files
from cryptometrics.cli import options, risk_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from cryptometrics.risk.backtest import Backtest
    from cryptometrics.risk.lines import MarketRange
    from cryptometrics.risk.tail_risk import Method


@click.command("backtest")
@risk_options.one_pair
@click.option(
    "--method",
    "methods",
    type=click.Choice(risk_options.METHODS),
    multiple=True,
    help="Method to test; repeatable. [default: all]",
)
@risk_options.confidence_level
@risk_options.horizon
@risk_options.range_minutes
@risk_options.half_life
@risk_options.as_of
@options.reading_group
@options.one_venue
@risk_options.out
@options.as_json
def backtest(
    *,
    pair: str,
    methods: tuple[Method, ...],
    confidence: float,
    horizon: int,
    range_minutes: int,
    half_life: int,
    as_of: datetime | None,
    group: str | None,
    venue: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Test whether value at risk held: forecast through the stored past, and compare with what was lost.

    The forecasts are a horizon apart, each from the range before its moment. A past that is shorter than the
    range makes none.

    \b
    Example:
      cryptometrics risk backtest --pair BTC-USD --confidence 0.95 --range 6h --out backtest.png
    """
    from cryptometrics.cli.risk_market import stored_market
    from cryptometrics.risk.backtest import evaluate, walk
    from cryptometrics.risk.ewma import decay_factor
    from cryptometrics.store import risk_inputs
    from cryptometrics.store.complete_markets import choose_pairs, whole_past

    with stored_market(group, venue, [pair], as_of, range_minutes) as (connection, market, stored):
        choose_pairs(stored, [pair], market)
        past = whole_past(stored, pair, market)
        minutes = risk_inputs.load_whole_minutes(connection, past, [pair], before=0)[pair]
    close = minutes.known_closes()
    chosen = methods or risk_options.METHODS
    walks = {
        method: walk(
            close,
            confidence,
            range_minutes=range_minutes,
            horizon=horizon,
            method=method,
            decay=decay_factor(half_life),
        )
        for method in dict.fromkeys(chosen)
    }
    results = {method: evaluate(each.forecasts, each.losses, confidence) for method, each in walks.items()}
    if out is not None:
        from cryptometrics.plot.risk_charts import draw_backtest, render

        figure = draw_backtest(pair, past, walks, results, confidence, horizon)
        files.write(out, render(figure, out.suffix.lower().removeprefix(".")))
    if as_json:
        click.echo(json.dumps(_objects(pair, past, range_minutes, horizon, confidence, results), indent=2))
    else:
        show(pair, past, horizon, confidence, results)
        if out is not None:
            click.echo(f"wrote {out}", err=True)


def _objects(
    pair: str,
    market: MarketRange,
    range_minutes: int,
    horizon: int,
    confidence: float,
    results: Mapping[Method, Backtest],
) -> list[dict[str, Any]]:
    from cryptometrics.cli.output import exact

    return [
        {
            "pair": pair,
            "venue": market.venue,
            "group": market.group,
            "as_of": exact(market.as_of),
            "method": method,
            "confidence": confidence,
            "horizon_seconds": horizon * 60,
            "range_seconds": range_minutes * 60,
            **asdict(result),
        }
        for method, result in results.items()
    ]


def show(
    pair: str, market: MarketRange, horizon: int, confidence: float, results: Mapping[Method, Backtest]
) -> None:
    """Print a line per method."""
    from cryptometrics.cli.output import NOTHING, for_people, print_table
    from cryptometrics.market.venues import venue_label
    from cryptometrics.text import percent
    from cryptometrics.times import format_duration

    if not for_people():
        _show_plain(results)
        return
    heads = [
        *("method", "fore-\ncasts", "fail-\nures", "expec-\nted"),
        *("kupiec\np", "christof-\nfersen p", "both\np", "zone", "worst\nexcess"),
    ]
    rows: list[Sequence[str]] = []
    for method, found in results.items():
        tests = (found.kupiec, found.christoffersen, found.conditional_coverage)
        rows.append(
            [
                method,
                f"{found.forecasts:,}",
                f"{found.failures:,}",
                f"{found.expected:.3g}",
                *(NOTHING if test is None else f"{test.p_value:.3f}" for test in tests),
                found.traffic_light.zone if found.traffic_light else NOTHING,
                percent(found.worst_excess),
            ]
        )
    length = format_duration(timedelta(minutes=horizon))
    print_table(
        heads,
        rows,
        numbers=heads[1:],
        title=f"{pair}, {venue_label(market.venue)}: value at risk {confidence:.4g} over {length}",
        caption=f"from {market.start:%Y-%m-%d %H:%M} to {market.as_of:%Y-%m-%d %H:%M} UTC; a p-value below "
        "0.05 speaks against the method, but few forecasts prove nothing",
    )


def _show_plain(results: Mapping[Method, Backtest]) -> None:
    """Print every number, a line per method, for programs."""
    from cryptometrics.cli.output import plain, print_table

    heads = ["method", "forecasts", "failures", "expected"]
    tests = ["kupiec", "christoffersen", "conditional_coverage"]
    rows = []
    for method, found in results.items():
        row = [method, *(plain(getattr(found, head)) for head in heads[1:])]
        for test in (getattr(found, name) for name in tests):
            row += [plain(test and test.statistic), plain(test and test.p_value)]
        light = found.traffic_light
        row += [plain(light and light.zone), plain(light and light.probability), plain(found.worst_excess)]
        rows.append(row)
    heads += [f"{name}_{part}" for name in tests for part in ("statistic", "p_value")]
    print_table([*heads, "zone", "probability", "worst_excess"], rows)
