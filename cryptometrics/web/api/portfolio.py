"""`/api/portfolio`: what is held, what it is worth, and what it could lose."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AfterValidator

from cryptometrics.risk.portfolio.as_json import as_json, money
from cryptometrics.store import positions
from cryptometrics.store.portfolio_overview import StoredPortfolio, portfolio_series
from cryptometrics.store.valued_portfolios import value_in_force
from cryptometrics.text import MAX_NAME_CHARACTERS, check_name
from cryptometrics.times import to_microseconds
from cryptometrics.web.api.parameters import Range
from cryptometrics.web.cache import Cache
from cryptometrics.web.rows import with_breaks
from cryptometrics.web.shapes import PortfolioAnswer, PortfolioSeries
from cryptometrics.web.site import Site

COLUMNS = ("value", "profit_and_loss", "value_at_risk", "expected_shortfall", "drawdown")
VALUED_S = 2.0
"""How long a valuation is shown before it is computed again."""


def router(site: Site) -> APIRouter:
    """Return the route of portfolios."""
    routes = APIRouter(tags=["risk"])
    valuations: Cache[str, dict[str, Any]] = Cache(VALUED_S)

    @routes.get("/api/portfolio", summary="The portfolios, or one of them valued at the newest quotes")
    def portfolio(
        span: Range,
        name: Annotated[
            str | None,
            Query(min_length=1, max_length=MAX_NAME_CHARACTERS),
            AfterValidator(lambda text: text and check_name(text)),
        ] = None,
        points: Annotated[int, Query(ge=10, le=5000)] = 500,
    ) -> PortfolioAnswer:
        now = datetime.now(UTC)
        with site.database.reading() as connection:
            names = [version.name for version in positions.in_force(connection, now)]
            if name is None:
                return PortfolioAnswer(portfolios=names, portfolio=None, series=None)

            def value() -> dict[str, Any]:
                [found], _ = value_in_force(connection, name, None, now)
                return as_json(found)

            valued = valuations.get(name, value)
            rows = portfolio_series(connection, name, span.since, span.until, points)
        found = with_breaks([_point(row) for row in rows], (span.until - span.since) / points)
        return PortfolioAnswer(
            portfolios=names,
            portfolio=valued,
            series=PortfolioSeries(columns=["timestamp", *COLUMNS], points=found),
        )

    return routes


def _point(row: StoredPortfolio) -> list[int | str | None]:
    return [to_microseconds(row.as_of) // 1000, *(money(getattr(row, name)) for name in COLUMNS)]
