"""Value the portfolios that are in force, from one snapshot of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.risk.portfolio.valuation import value_portfolio
from cryptometrics.store import positions
from cryptometrics.store.portfolio_market import load_market
from cryptometrics.times import EPOCH

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import psycopg

    from cryptometrics.risk.portfolio.valuation import Valuation
    from cryptometrics.store.portfolio_market import PortfolioMarket


def value_in_force(
    connection: psycopg.Connection, name: str | None, as_of: datetime | None, now: datetime
) -> tuple[list[Valuation], Mapping[tuple[str, str], PortfolioMarket]]:
    """Return the valuations of all portfolios or of one, and what they were valued by, by group and venue.

    as_of: the moment, with the versions in force then; None: the newest quotes, with those in force `now`.
    Raises UserError if there is no portfolio, or not the one named.
    """
    versions = positions.named_in_force(connection, as_of or now, name)
    held = {version.name: version.portfolio for version in versions}
    timelines = positions.timelines(connection, list(held), as_of or now)
    markets = {}
    for place in {(version.group, version.venue) for version in versions}:
        of_place = [held[version.name] for version in versions if (version.group, version.venue) == place]
        earlier = [
            each.portfolio
            for portfolio in of_place
            for each in timelines[portfolio.name].within(EPOCH, as_of or now)
            if each.portfolio is not None and (each.portfolio.group, each.portfolio.venue) == place
        ]
        markets[place] = load_market(connection, *place, of_place, as_of, earlier)
    found = []
    for version in versions:
        market = markets[version.group, version.venue]
        stated = held[version.name]
        data = market.of(stated, timelines[version.name])
        found.append(value_portfolio(stated, version.version, market.as_of, data))
    return found, markets
