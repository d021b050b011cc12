"""Look up the newest stored figures of the portfolios in force, as `risk --follow` has written them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

# A removed portfolio keeps its rows, but is no longer held. One whose newest row is of another group or venue
# has no figures here yet.
_LATEST = """
SELECT held.portfolio, held.currency, newest.as_of, newest.value, newest.profit_and_loss,
       newest.value_at_risk, newest.value_at_risk_pct,
       coalesce((SELECT jsonb_agg(jsonb_build_array(each->>'limit', each->'use', each->>'state'))
                 FROM jsonb_array_elements(newest.limits) AS each), '[]'),
       newest.profit_and_loss_today, newest.gross, newest.net, newest.expected_shortfall, newest.drawdown,
       coalesce((SELECT jsonb_agg(jsonb_build_array(each->>'asset', each->>'quantity', each->>'state',
                                                    each->>'value', each->>'profit_and_loss',
                                                    each->'component_value_at_risk'))
                 FROM jsonb_array_elements(newest.positions) AS each), '[]')
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


class LatestPosition(NamedTuple):
    """A position as of the newest row; money in the currency of the portfolio, None is what is not known."""

    asset: str
    quantity: Decimal
    """Negative: short."""
    state: str
    """Of its mark: `marked`, `par`, `unverified`, `stale` or `missing`."""
    value: Decimal | None
    profit_and_loss: Decimal | None
    component: float | None
    """Its part of the portfolio's value at risk; negative if it reduces it."""


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
    profit_and_loss_today: Decimal | None = None
    gross: Decimal | None = None
    net: Decimal | None = None
    expected_shortfall: float | None = None
    drawdown: float | None = None
    positions: tuple[LatestPosition, ...] = ()


def latest_portfolios(
    connection: psycopg.Connection, group: str, venue: str | None = None
) -> list[LatestPortfolio]:
    """Return the portfolios that a group, or one of its venues, prices, by name."""
    return [
        LatestPortfolio._make(
            (
                *row[:7],
                tuple(LatestLimit(*each) for each in row[7]),
                *row[8:-1],
                tuple(_position(*each) for each in row[-1]),
            )
        )
        for row in connection.execute(_LATEST, {"group": group, "venue": venue})
    ]


def _position(
    asset: str, quantity: str, state: str, value: str | None, gain: str | None, component: float | None
) -> LatestPosition:
    return LatestPosition(asset, Decimal(quantity), state, _decimal(value), _decimal(gain), component)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
