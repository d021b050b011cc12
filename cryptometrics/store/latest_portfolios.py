"""Look up the newest stored figures of the portfolios in force, as `risk --follow` has written them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    import psycopg

# A removed portfolio keeps its rows, but is no longer held. One whose newest row is of another group or venue
# has no figures here yet.
_LATEST = """
SELECT held.portfolio, held.currency, newest.as_of, newest.value, newest.profit_and_loss,
       newest.value_at_risk, newest.value_at_risk_pct,
       coalesce((SELECT jsonb_agg(jsonb_build_array(each->>'limit', each->'use', each->>'state'))
                 FROM jsonb_array_elements(newest.limits) AS each), '[]')
FROM (
    SELECT DISTINCT ON (portfolio) * FROM portfolio_versions WHERE effective_at <= now()
    ORDER BY portfolio, effective_at DESC, version DESC
) AS held
LEFT JOIN LATERAL (
    SELECT * FROM portfolio_risk r
    WHERE r.portfolio = held.portfolio
      AND (r.consumer_group, r.venue) = (held.consumer_group, held.venue)
    ORDER BY r.as_of DESC LIMIT 1
) AS newest ON true
WHERE held.definition IS NOT NULL AND held.consumer_group = %(group)s
  AND (%(venue)s::text IS NULL OR held.venue = %(venue)s)
ORDER BY held.portfolio
"""


class LatestLimit(NamedTuple):
    """A limit as of the newest row."""

    name: str
    """Such as `limit.gross`."""
    use: float | None
    """The figure divided by the limit; None if it is not known."""
    state: str
    """ok, warn, breach or unknown."""


class LatestPortfolio(NamedTuple):
    """A portfolio in force, with the figures of its newest row; None is what is not known."""

    name: str
    currency: str
    as_of: datetime | None
    """None: no figures are stored yet."""
    value: Decimal | None
    profit_and_loss: Decimal | None
    value_at_risk: float | None
    value_at_risk_pct: float | None
    """Of gross."""
    limits: tuple[LatestLimit, ...]


def latest_portfolios(
    connection: psycopg.Connection, group: str, venue: str | None = None
) -> list[LatestPortfolio]:
    """Return the portfolios that a group, or one of its venues, prices, by name."""
    return [
        LatestPortfolio._make((*figures, tuple(LatestLimit(*each) for each in limits)))
        for *figures, limits in connection.execute(_LATEST, {"group": group, "venue": venue})
    ]
