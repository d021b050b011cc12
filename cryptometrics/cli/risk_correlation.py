"""`cryptometrics risk correlation`: how each pair moves with each other one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from cryptometrics import files
from cryptometrics.cli import options, risk_options

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from cryptometrics.risk.lines import CorrelationMatrix


@click.command("correlation")
@options.pairs
@risk_options.range_minutes
@risk_options.as_of
@risk_options.bar
@options.reading_group
@options.one_venue
@risk_options.out
@options.as_json
def correlation(
    *,
    pairs: tuple[str, ...],
    range_minutes: int,
    as_of: datetime | None,
    bar: int,
    group: str | None,
    venue: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Show the correlation of each pair with each other one.

    \b
    Example:
      cryptometrics risk correlation --range 24h --out correlation.png
    """
    from cryptometrics.cli.risk_market import stored_market
    from cryptometrics.risk.figures import FigureSettings
    from cryptometrics.risk.lines import correlation_matrix
    from cryptometrics.store import risk_inputs
    from cryptometrics.store.complete_markets import choose_pairs

    with stored_market(group, venue, pairs, as_of, range_minutes) as (connection, market, stored):
        chosen = choose_pairs(stored, pairs, market)
        minutes = risk_inputs.load_minutes(connection, market, chosen, FigureSettings())
    matrix = correlation_matrix(minutes, market, bar)
    if out is not None:
        from cryptometrics.plot.risk_charts import draw_correlation, render

        files.write(out, render(draw_correlation(matrix), out.suffix.lower().removeprefix(".")))
    if as_json:
        click.echo(as_text(matrix))
    elif out is None:
        show(matrix)
    else:
        click.echo(out)


def as_text(matrix: CorrelationMatrix) -> str:
    """Return a JSON object: the pairs, and the matrix as one list per pair in their order."""
    from cryptometrics.cli.output import exact

    market = matrix.market
    return json.dumps(
        {
            "venue": market.venue,
            "group": market.group,
            "as_of": exact(market.as_of),
            "range_seconds": market.minutes * 60,
            "bar_seconds": matrix.bar * 60,
            "pairs": list(matrix.pairs),
            "coverage": matrix.coverage,
            "correlation": [[each.correlation for each in row] for row in matrix.rows],
            "beta": [[each.beta for each in row] for row in matrix.rows],
            "returns": [[each.returns for each in row] for row in matrix.rows],
        },
        indent=2,
    )


def show(matrix: CorrelationMatrix) -> None:
    """Print the matrix, with the coverage of each pair."""
    from datetime import timedelta

    from cryptometrics.cli.output import for_people, plain, print_table
    from cryptometrics.cli.risk_table import heading, is_thin, ratio
    from cryptometrics.text import percent
    from cryptometrics.times import format_duration

    if not for_people():
        heads = ["pair", *matrix.pairs, "coverage"]
        rows = [
            [pair, *(plain(each.correlation) for each in row), plain(coverage)]
            for pair, row, coverage in zip(matrix.pairs, matrix.rows, matrix.coverage, strict=True)
        ]
        print_table(heads, rows)
        return
    market = matrix.market
    # The quote currency goes below the base currency, so that more pairs fit.
    heads = ["pair", *(pair.replace("-", "-\n", 1) for pair in matrix.pairs), "coverage"]
    rows = [
        [pair, *(ratio(each.correlation) for each in row), percent(coverage) + " thin" * is_thin(coverage)]
        for pair, row, coverage in zip(matrix.pairs, matrix.rows, matrix.coverage, strict=True)
    ]
    print_table(
        heads,
        rows,
        numbers=heads[1:],
        title=heading(market.venue, market.as_of, format_duration(timedelta(minutes=market.minutes))),
        caption=f"correlation of {format_duration(timedelta(minutes=matrix.bar))} log returns",
    )
