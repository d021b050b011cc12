"""Drop old rows of `crypto_risk`, and note how far, so that `verify` does not miss them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import psycopg

THIN_AFTER = timedelta(days=30)
"""Age from which the range 24h keeps one row an hour: a day's figures hardly change within one."""

_PLACES = """
SELECT consumer_group, venue, greatest(kept_from, %(cutoff)s), greatest(thinned_until, %(thin)s)
FROM risk_progress ORDER BY consumer_group, venue
"""
_LOCK = "SELECT FROM risk_progress WHERE (consumer_group, venue) = (%(group)s, %(venue)s) FOR UPDATE"
_NOTE = """
UPDATE risk_progress SET kept_from = %(cutoff)s, thinned_until = %(thin)s
WHERE (consumer_group, venue) = (%(group)s, %(venue)s)
"""
_PAIRS = "SELECT DISTINCT pair FROM crypto_markets WHERE (consumer_group, venue) = (%(group)s, %(venue)s)"

# Pair by pair and range by range, which is the order of the key.
_OLD = """
FROM crypto_risk
WHERE (consumer_group, venue, pair, range) = (%(group)s, %(venue)s, %(pair)s, %(range)s)
  AND (as_of < %(cutoff)s
       OR range = '24h' AND as_of < %(thin)s AND as_of <> date_bin('1 hour', as_of, 'epoch'))
"""
_DROP, _COUNT = "DELETE" + _OLD, "SELECT count(*)" + _OLD


class DroppedRisk(NamedTuple):
    """How many rows of a group and venue were dropped, or would be."""

    group: str
    venue: str
    rows: int


def prune_risk(
    connection: psycopg.Connection, now: datetime, keep: timedelta, *, dry_run: bool
) -> Iterator[DroppedRisk]:
    """Drop the rows older than `keep`, thin out those older than `THIN_AFTER`, and yield each venue's count.

    Each venue is one transaction. Raises OverflowError if `now - keep` is before the year 1.
    """
    values = {"cutoff": now - keep, "thin": now - THIN_AFTER}
    for group, venue, cutoff, thin in connection.execute(_PLACES, values).fetchall():
        of_venue = {"group": group, "venue": venue, "cutoff": cutoff, "thin": thin}
        with connection.transaction():
            if not dry_run:
                connection.execute(_LOCK, of_venue)
            rows = sum(
                _prune(connection, of_venue | {"pair": pair, "range": name}, dry_run=dry_run)
                for (pair,) in connection.execute(_PAIRS, of_venue).fetchall()
                for name in ("15m", "1h", "24h")
            )
            if not dry_run:
                connection.execute(_NOTE, of_venue)
        if rows:
            yield DroppedRisk(group, venue, rows)


def _prune(connection: psycopg.Connection, values: dict[str, object], *, dry_run: bool) -> int:
    if not dry_run:
        return connection.execute(_DROP, values).rowcount
    row = connection.execute(_COUNT, values).fetchone()
    return row[0] if row else 0
