"""`cryptometrics portfolio`: what is held, what it is worth, and what it could lose."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import options
from cryptometrics.times import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptometrics.store.portfolio_market import PortfolioMarket

OLD_QUOTES = timedelta(minutes=1)
"""An age of the newest quote that is worth a word."""


@click.command("portfolio")
@click.argument("name", required=False)
@click.option(
    "--as-of",
    callback=options.time,
    metavar="TIME",
    help="Moment to value at, with the version in force then: an ISO time (UTC), or 2h for that long ago. "
    "[default: the newest quote, with the version in force now]",
)
@options.as_json
@click.option("--fail-on-breach", is_flag=True, help="Exit with code 1 if a limit is breached.")
def portfolio(name: str | None, as_of: datetime | None, *, as_json: bool, fail_on_breach: bool) -> None:
    """Value a portfolio, or all of them: profit and loss, value at risk, stress tests, limits.

    With a name, or if there is only one, it prints every position. Of several it prints a line each.

    Long positions count at the bid, short ones at the ask. A dash is a figure that cannot be known; the
    notes say why. The JSON is an object, of several portfolios a list. docs/portfolio.md explains each
    figure.

    \b
    Example:
      cryptometrics portfolio treasury
      cryptometrics portfolio --as-of 2026-07-01T12:00 --json
    """
    from cryptometrics.cli.connections import stored
    from cryptometrics.store.valued_portfolios import value_in_force

    now = datetime.now(UTC)
    with stored() as connection:
        found, markets = value_in_force(connection, name, as_of, now)
    if as_of is None:
        _report_age(markets, now)
    if as_json:
        from cryptometrics.risk.portfolio.as_json import as_json as as_object

        objects = [as_object(each) for each in found]
        click.echo(json.dumps(objects[0] if len(objects) == 1 else objects, indent=2))
    else:
        from cryptometrics.cli.portfolio_table import show, show_overview

        if name is None and len(found) > 1:
            show_overview(found)
        else:
            for each in found:
                show(each)
    if fail_on_breach and any(each.is_breached for each in found):
        click.get_current_context().exit(1)


def _report_age(markets: Mapping[tuple[str, str], PortfolioMarket], now: datetime) -> None:
    """Report on stderr which newest quotes are old by the clock: marks are only compared with each other."""
    for (group, venue), market in markets.items():
        age = now - market.as_of
        if age >= OLD_QUOTES:
            click.echo(
                f"the newest quote of {venue} in group {group} is of {market.as_of:%Y-%m-%d %H:%M:%S} UTC, "
                f"{format_duration(age)} ago",
                err=True,
            )
