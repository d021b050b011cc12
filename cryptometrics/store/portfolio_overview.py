"""Read the stored figures of portfolios: the newest of each, and one portfolio's over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from cryptometrics.market.windows import MINUTE

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    import psycopg

MAX_AGE_DAYS = 31
"""Older rows are no present state."""

# In force now: the newest version by effective_at that does not remove the portfolio.
_NEWEST = """
SELECT newest.*
FROM (
    SELECT DISTINCT ON (portfolio) portfolio, definition FROM portfolio_versions
    WHERE effective_at <= now() ORDER BY portfolio, effective_at DESC, version DESC
) AS held
CROSS JOIN LATERAL (
    SELECT r.portfolio, r.version, r.as_of, r.currency, r.value, r.profit_and_loss, r.value_at_risk,
           r.expected_shortfall, r.drawdown
    FROM portfolio_risk r
    WHERE r.portfolio = held.portfolio AND r.as_of > now() - make_interval(days => %(days)s)
    ORDER BY r.as_of DESC LIMIT 1
) AS newest
WHERE held.definition IS NOT NULL
ORDER BY newest.portfolio
"""

# Each bucket shows its newest row: value and loss belong together.
_SERIES = """
SELECT DISTINCT ON (date_bin(%(width)s, as_of, 'epoch'))
       portfolio, version, as_of, currency, value, profit_and_loss, value_at_risk, expected_shortfall,
       drawdown
FROM portfolio_risk
WHERE portfolio = %(portfolio)s AND as_of BETWEEN %(since)s AND %(until)s
ORDER BY date_bin(%(width)s, as_of, 'epoch'), as_of DESC
"""


@dataclass(frozen=True, slots=True)
class StoredPortfolio:
    """A portfolio at the end of a minute; money in its currency, losses positive, None where unknown."""

    portfolio: str
    version: int
    as_of: datetime
    currency: str
    value: Decimal | None
    profit_and_loss: Decimal | None
    value_at_risk: float | None
    expected_shortfall: float | None
    drawdown: float | None


def newest_portfolios(connection: psycopg.Connection) -> list[StoredPortfolio]:
    """Return the newest stored figures of each portfolio in force, by name."""
    with connection.cursor(row_factory=class_row(StoredPortfolio)) as cursor:
        return cursor.execute(_NEWEST, {"days": MAX_AGE_DAYS}).fetchall()


def portfolio_series(
    connection: psycopg.Connection, portfolio: str, since: datetime, until: datetime, points: int
) -> list[StoredPortfolio]:
    """Return the figures of a portfolio in a range, in at most about `points` rows, oldest first."""
    width = max(MINUTE, (until - since) / points)
    values = {"portfolio": portfolio, "since": since, "until": until, "width": width}
    with connection.cursor(row_factory=class_row(StoredPortfolio)) as cursor:
        return cursor.execute(_SERIES, values).fetchall()
