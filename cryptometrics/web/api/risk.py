"""`/api/risk`: the newest risk figures, how pairs move together, and one market's figures over time."""

import contextlib
import dataclasses
import math
from typing import Annotated, Any, cast

import psycopg
from fastapi import APIRouter, Query

from cryptometrics.errors import UserError
from cryptometrics.market.ticks import PAIR_PATTERN
from cryptometrics.market.venues import Market
from cryptometrics.risk.figures import FigureSettings
from cryptometrics.risk.lines import MarketRange, correlation_matrix
from cryptometrics.store.choose_source import check_venue, stored_venues
from cryptometrics.store.complete_markets import choose_as_of, choose_pairs, markets
from cryptometrics.store.risk_curves import RISK_METRICS, NoFiguresError, load_curves
from cryptometrics.store.risk_inputs import load_minutes
from cryptometrics.store.risk_overview import newest_figures
from cryptometrics.times import iso, to_microseconds
from cryptometrics.web.api.parameters import (
    Group,
    Range,
    TimeRange,
    Venue,
    chosen_group,
    chosen_market,
)
from cryptometrics.web.cache import Cache
from cryptometrics.web.rows import with_breaks
from cryptometrics.web.shapes import Correlation, RiskAnswer, RiskRow, RiskSeries
from cryptometrics.web.site import Site

CORRELATION_MINUTES = 1440
"""The range of `cryptometrics risk correlation` by default."""
MAX_PAIRS = 50
"""More pairs would make a matrix that nobody reads."""
CORRELATION_S = 30.0
"""How long a matrix is shown before it is computed again; a new minute changes it little."""


def router(site: Site) -> APIRouter:
    """Return the route of risk figures."""
    routes = APIRouter(tags=["risk"])
    matrices: Cache[tuple[str, str], Correlation] = Cache(CORRELATION_S)

    @routes.get("/api/risk", summary="The newest risk figures, and one market's figures over time")
    def risk(
        span: Range,
        venue: Venue = None,
        pair: Annotated[str | None, Query(pattern=f"^{PAIR_PATTERN}$")] = None,
        group: Group = None,
        points: Annotated[int, Query(ge=10, le=5000)] = 1200,
    ) -> RiskAnswer:
        """Without a pair, the figures of all markets and the correlation of one venue's pairs.

        With a pair, its figures, and in `series` how they were over the range.
        """
        at = venue or site.venue
        with site.database.reading() as connection:
            name = chosen_group(connection, site, group)
            check_venue(connection, name, venue)
            series = correlation = None
            if pair is not None:
                market = chosen_market(connection, site, name, venue, pair)
                at = market.venue
                series = _series(connection, name, market, span, points)
            elif place := at or next(iter(stored_venues(connection, name)), None):
                correlation = _correlation(connection, matrices, name, place)
            figures = newest_figures(connection, name, at, pair)
        return RiskAnswer(
            group=name,
            figures=[_row(dataclasses.asdict(each) | {"as_of": iso(each.as_of)}) for each in figures],
            correlation=correlation,
            series=series,
        )

    return routes


def _row(values: dict[str, Any]) -> RiskRow:
    return cast("RiskRow", values)


def _series(
    connection: psycopg.Connection, group: str, market: Market, span: TimeRange, points: int
) -> RiskSeries:
    found: list[list[int | float | None]] = []
    with contextlib.suppress(NoFiguresError):
        curves = load_curves(connection, group, market, span.since, span.until, points)
        columns = [
            [None if math.isnan(value) else value for value in curves.values[name]] for name in RISK_METRICS
        ]
        times = [to_microseconds(moment) // 1000 for moment in curves.as_of]
        found = with_breaks([list(point) for point in zip(times, *columns, strict=True)], curves.width)
    return RiskSeries(
        pair=market.pair, venue=market.venue, columns=["timestamp", *RISK_METRICS], points=found
    )


def _correlation(
    connection: psycopg.Connection, matrices: Cache[tuple[str, str], Correlation], group: str, venue: str
) -> Correlation | None:
    """Return the matrix of a venue; None if it has no complete minute yet, or too many pairs."""
    try:
        stored = markets(connection, group, venue)
    except UserError:
        return None
    market = MarketRange(group, venue, choose_as_of(stored, None), CORRELATION_MINUTES)
    pairs = choose_pairs(stored, [], market)
    if len(pairs) > MAX_PAIRS:
        return None

    def compute() -> Correlation:
        settings = FigureSettings()
        matrix = correlation_matrix(load_minutes(connection, market, pairs, settings), market, settings.bar)
        return Correlation(
            venue=venue,
            as_of=iso(market.as_of),
            range_seconds=market.minutes * 60,
            bar_seconds=matrix.bar * 60,
            pairs=list(matrix.pairs),
            coverage=list(matrix.coverage),
            matrix=[[each.correlation for each in row] for row in matrix.rows],
        )

    return matrices.get((group, venue), compute)
