"""Load the stored risk figures of a market over time, reduced to as many points as a chart can show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptometrics.errors import UserError
from cryptometrics.market.windows import MINUTE
from cryptometrics.text import listed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import psycopg

    from cryptometrics.market.venues import Market

RISK_METRICS = ("volatility", "drawdown", "value_at_risk")
"""Figures that can be drawn: columns of crypto_risk."""
RANGE = "24h"
"""The only range that has all of them."""
PAUSE = timedelta(minutes=90)
"""A longer time without rows is a gap: `prune` leaves one row an hour of older days."""

# A figure is as of the end of a minute, so the last quote's figure is later than the quote. Each bucket shows
# its largest figure, so that no peak is lost.
_CURVES = """
SELECT max(as_of), max(volatility), max(drawdown), max(value_at_risk) FROM crypto_risk
WHERE (consumer_group, venue, pair, range) = (%(group)s, %(venue)s, %(pair)s, %(range)s)
  AND as_of BETWEEN %(start)s AND %(end)s
GROUP BY date_bin(%(width)s, as_of, 'epoch') ORDER BY 1
"""


class NoFiguresError(UserError):
    """No risk figures of these pairs are stored for the time of a chart."""

    def __init__(self, pairs: Sequence[str]) -> None:
        super().__init__(
            f"no risk figures of {listed(pairs)} are stored for that time: run `cryptometrics risk "
            "--follow`, which computes them"
        )


@dataclass(frozen=True, slots=True)
class RiskCurves:
    """Figures of a market over the 24 hours before each moment."""

    as_of: Sequence[datetime]
    values: dict[str, list[float]]
    """By metric, as ratios; NaN where a figure is not known."""
    width: timedelta
    """Of a bucket, which has the largest of its figures."""

    def after_pauses(self) -> list[int]:
        """Return the indexes of the moments before which figures are missing."""
        longest = max(PAUSE, 2 * self.width)
        return [n for n in range(1, len(self.as_of)) if self.as_of[n] - self.as_of[n - 1] > longest]


def load_curves(
    connection: psycopg.Connection, group: str, market: Market, start: datetime, end: datetime, points: int
) -> RiskCurves:
    """Return the figures from `start` to `end` in at most about `points` buckets.

    Raises NoFiguresError if none is stored.
    """
    width = max(MINUTE, (end - start) / points)
    values = {
        "group": group, "venue": market.venue, "pair": market.pair, "range": RANGE,
        "start": start, "end": end + MINUTE, "width": width,
    }  # fmt: skip
    rows = connection.execute(_CURVES, values).fetchall()
    if not rows:
        raise NoFiguresError([market.pair])
    as_of, *columns = zip(*rows, strict=True)
    return RiskCurves(
        as_of,
        {
            metric: [math.nan if value is None else value for value in column]
            for metric, column in zip(RISK_METRICS, columns, strict=True)
        },
        width,
    )
