"""Drop old rows of `portfolio_risk` as those of `crypto_risk` are dropped, and note how far."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.store.prune_risk import THIN_AFTER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta

    import psycopg

_PLACES = """
SELECT portfolio, consumer_group, venue, greatest(kept_from, %(cutoff)s), greatest(thinned_until, %(thin)s)
FROM portfolio_progress ORDER BY portfolio, consumer_group, venue
"""
_LOCK = """
SELECT FROM portfolio_progress
WHERE (portfolio, consumer_group, venue) = (%(portfolio)s, %(group)s, %(venue)s) FOR UPDATE
"""
_NOTE = """
UPDATE portfolio_progress SET kept_from = %(cutoff)s, thinned_until = %(thin)s
WHERE (portfolio, consumer_group, venue) = (%(portfolio)s, %(group)s, %(venue)s)
"""
_OLD = """
FROM portfolio_risk
WHERE portfolio = %(portfolio)s AND (consumer_group, venue) = (%(group)s, %(venue)s)
  AND (as_of < %(cutoff)s OR as_of < %(thin)s AND as_of <> date_bin('1 hour', as_of, 'epoch'))
"""
_DROP, _COUNT = "DELETE" + _OLD, "SELECT count(*)" + _OLD


class DroppedPortfolioRows(NamedTuple):
    """How many rows of a portfolio were dropped, or would be."""

    portfolio: str
    group: str
    venue: str
    rows: int


def prune_portfolios(
    connection: psycopg.Connection, now: datetime, keep: timedelta, *, dry_run: bool
) -> Iterator[DroppedPortfolioRows]:
    """Drop the rows older than `keep`, thin out those older than `THIN_AFTER`, and yield each count.

    Each portfolio at a market is one transaction. Raises OverflowError if `now - keep` is before the year 1.
    """
    values = {"cutoff": now - keep, "thin": now - THIN_AFTER}
    for portfolio, group, venue, cutoff, thin in connection.execute(_PLACES, values).fetchall():
        place = {"portfolio": portfolio, "group": group, "venue": venue, "cutoff": cutoff, "thin": thin}
        with connection.transaction():
            if dry_run:
                row = connection.execute(_COUNT, place).fetchone()
                rows = row[0] if row else 0
            else:
                connection.execute(_LOCK, place)
                rows = connection.execute(_DROP, place).rowcount
                connection.execute(_NOTE, place)
        if rows:
            yield DroppedPortfolioRows(portfolio, group, venue, rows)
