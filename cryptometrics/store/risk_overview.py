"""Read the newest risk figures of every market of a group, of every range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from cryptometrics.risk.figures import CoreFigures

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

_NEWEST = """
SELECT venue, pair, range, as_of, age_seconds::float8, minutes, minutes_with_ticks, coverage, gap_minutes,
       volatility, volatility_ewma, value_at_risk, expected_shortfall, drawdown, max_drawdown
FROM crypto_latest_risk
WHERE consumer_group = %(group)s AND (%(venue)s::text IS NULL OR venue = %(venue)s)
  AND (%(pair)s::text IS NULL OR pair = %(pair)s)
ORDER BY venue, pair, minutes
"""


@dataclass(frozen=True, slots=True)
class RiskFigures(CoreFigures):
    """A row of `crypto_latest_risk`; ratios, None where a figure cannot be known."""

    venue: str
    pair: str
    range: str
    as_of: datetime
    age_seconds: float


def newest_figures(
    connection: psycopg.Connection, group: str, venue: str | None = None, pair: str | None = None
) -> list[RiskFigures]:
    """Return the newest figures by market and range, of a group, of one venue or of one pair."""
    with connection.cursor(row_factory=class_row(RiskFigures)) as cursor:
        return cursor.execute(_NEWEST, {"group": group, "venue": venue, "pair": pair}).fetchall()
