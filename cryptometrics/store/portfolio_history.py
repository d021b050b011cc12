"""Load a portfolio over time, as `risk --follow` has stored it, in as many points as a chart can show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.errors import NotFoundError, UserError
from cryptometrics.market.windows import MINUTE
from cryptometrics.text import are, listed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import psycopg

PAUSE = timedelta(minutes=90)
"""A longer time without rows is a gap: `prune` leaves one row an hour of older days."""

_SOURCE = """
SELECT consumer_group, venue, currency FROM portfolio_risk WHERE portfolio = %(name)s
ORDER BY as_of DESC LIMIT 1
"""
_NAMES = "SELECT portfolio FROM crypto_latest_portfolio_risk ORDER BY portfolio"
_ROWS = """
FROM portfolio_risk
WHERE portfolio = %(name)s AND (consumer_group, venue, currency) = (%(group)s, %(venue)s, %(currency)s)
  AND (%(since)s::timestamptz IS NULL OR as_of >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR as_of <= %(until)s)
"""
_EXTENT = f"SELECT min(as_of), max(as_of), count(*), min(version), max(version) {_ROWS}"
# Each bucket shows its last value and its largest losses, so that no peak is lost.
_POINTS = f"""
SELECT max(as_of), (array_agg(value ORDER BY as_of DESC))[1],
       (array_agg(profit_and_loss ORDER BY as_of DESC))[1], max(value_at_risk), max(drawdown)
{_ROWS} GROUP BY date_bin(%(width)s, as_of, 'epoch') ORDER BY 1
"""
_BREACHES = f"""
SELECT as_of, array_agg(DISTINCT each->>'limit')
FROM (SELECT as_of, jsonb_array_elements(limits) AS each {_ROWS}) AS limits
WHERE each->>'state' = 'breach' GROUP BY as_of ORDER BY as_of
"""  # noqa: S608  (the part is a constant)


class Breach(NamedTuple):
    """A row with breached limits."""

    as_of: datetime
    limits: tuple[str, ...]
    """Their names: `limit.gross`."""


@dataclass(frozen=True, slots=True)
class PortfolioHistory:
    """Figures of a portfolio over time, of one group, venue and currency; NaN is what is not known."""

    name: str
    group: str
    venue: str
    currency: str
    versions: tuple[int, int]
    """The first and the last."""
    rows: int
    as_of: Sequence[datetime]
    """The newest row of each bucket."""
    value: Sequence[float]
    profit_and_loss: Sequence[float]
    value_at_risk: Sequence[float]
    """The largest of each bucket; a loss is positive."""
    drawdown: Sequence[float]
    """Likewise."""
    breaches: Sequence[Breach]
    """Of every row."""
    start: datetime
    end: datetime
    width: timedelta
    """Of a bucket."""

    def after_pauses(self) -> list[int]:
        """Return the indexes of the moments before which rows are missing."""
        longest = max(PAUSE, 2 * self.width)
        return [n for n in range(1, len(self.as_of)) if self.as_of[n] - self.as_of[n - 1] > longest]


def load_history(
    connection: psycopg.Connection,
    name: str,
    since: datetime | None,
    until: datetime | None,
    points: int,
) -> PortfolioHistory:
    """Return the rows of a portfolio from `since` to `until` in at most about `points` buckets.

    Versions of another group, venue or currency than the newest row are left out: their money is no
    continuation. Raises UserError if there are no rows.
    """
    group, venue, currency = _source(connection, name)
    values = {
        "name": name, "group": group, "venue": venue, "currency": currency, "since": since, "until": until,
    }  # fmt: skip
    extent = connection.execute(_EXTENT, values).fetchone()
    assert extent is not None  # noqa: S101  (an aggregate has one row)
    start, end, rows, *versions = extent
    if not rows:
        raise UserError(f"portfolio {name} has no rows in that time: choose another --since or --until")
    width = max(MINUTE, (end - start) / points)
    found = connection.execute(_POINTS, values | {"width": width}).fetchall()
    as_of, *columns = zip(*found, strict=True)
    value, gain, at_risk, drawdown = (
        [math.nan if number is None else float(number) for number in column] for column in columns
    )
    breaches = [Breach(at, tuple(limits)) for at, limits in connection.execute(_BREACHES, values)]
    return PortfolioHistory(
        name, group, venue, currency, (versions[0], versions[1]), rows, as_of, value, gain, at_risk, drawdown,
        breaches, start, end, width,
    )  # fmt: skip


def group_of(connection: psycopg.Connection, names: Sequence[str]) -> str:
    """Return the group to which the newest rows of portfolios belong.

    Raises UserError if a portfolio has no row, or if the groups differ.
    """
    groups = sorted({_source(connection, name)[0] for name in names})
    if len(groups) > 1:
        raise UserError(f"these portfolios belong to the groups {listed(groups)}: give one with --group")
    return groups[0]


def _source(connection: psycopg.Connection, name: str) -> tuple[str, str, str]:
    """Return group, venue and currency of the newest row of a portfolio."""
    found: tuple[str, str, str] | None = connection.execute(_SOURCE, {"name": name}).fetchone()
    if found is not None:
        return found
    names = [known for (known,) in connection.execute(_NAMES)]
    if names:
        raise NotFoundError(f"portfolio {name} has no stored figures; there {are(names)}")
    raise UserError(
        "no figures of portfolios are stored: load one with `cryptometrics positions load FILE`, and run "
        "`cryptometrics risk --follow`, which computes them"
    )
