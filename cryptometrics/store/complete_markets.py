"""Find the pairs of a venue that have complete minutes, and choose which of their minutes to read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.errors import UserError
from cryptometrics.risk.lines import MINUTE
from cryptometrics.store.pair_suggestions import did_you_mean
from cryptometrics.text import are, listed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import psycopg

    from cryptometrics.risk.lines import MarketRange

MAX_MINUTES = 3_000_000
"""Minutes of all pairs that are read at once: about 300 MB."""

_MARKETS = """
SELECT pair, first_minute, complete_until FROM crypto_markets
WHERE consumer_group = %(group)s AND venue = %(venue)s AND first_minute < complete_until
ORDER BY pair
"""


class StoredMarket(NamedTuple):
    """From when to when a pair of a venue has complete minutes."""

    pair: str
    first_minute: datetime
    complete_until: datetime


def markets(connection: psycopg.Connection, group: str, venue: str) -> list[StoredMarket]:
    """Return the pairs of a venue that have complete minutes, by name; raise UserError if none has."""
    rows = connection.execute(_MARKETS, {"group": group, "venue": venue}).fetchall()
    if not rows:
        raise UserError(
            f"venue {venue} of group {group} has no complete minute yet: "
            "a minute is complete a few seconds after its end"
        )
    return [StoredMarket(*row) for row in rows]


def choose_as_of(stored: Sequence[StoredMarket], wanted: datetime | None) -> datetime:
    """Return the start of the minute that `wanted` is in, by default the end of the newest complete minute.

    Raises UserError for a moment without complete minutes before it, or that is not complete.
    """
    newest = max(market.complete_until for market in stored)
    if wanted is None:
        return newest
    as_of = wanted.replace(second=0, microsecond=0)
    oldest = min(market.first_minute for market in stored)
    if not oldest < as_of <= newest:
        raise UserError(
            f"--as-of {as_of:%Y-%m-%d %H:%M} is outside of the complete minutes, which go from "
            f"{oldest:%Y-%m-%d %H:%M} to {newest:%Y-%m-%d %H:%M} UTC"
        )
    return as_of


def choose_pairs(stored: Sequence[StoredMarket], wanted: Sequence[str], market: MarketRange) -> list[str]:
    """Return the pairs named, by default all with a minute before the end of the range.

    Raises UserError if one of those named has no complete minute.
    """
    names = [each.pair for each in stored]
    if unknown := [pair for pair in wanted if pair not in names]:
        raise UserError(
            f"venue {market.venue} has no minutes of {listed(unknown)}; "
            f"there {are(names)}{did_you_mean(unknown, names)}"
        )
    return list(wanted) or [each.pair for each in stored if each.first_minute < market.as_of]


def whole_past(stored: Sequence[StoredMarket], pair: str, market: MarketRange) -> MarketRange:
    """Return the range from the first stored minute of a pair on, at most as much as is read at once."""
    first = next(each.first_minute for each in stored if each.pair == pair)
    minutes = max(1, (market.as_of - first) // MINUTE)
    return replace(market, minutes=min(minutes, MAX_MINUTES))


def require_readable(pairs: int, minutes: int) -> None:
    """Raise UserError if the minutes of so many pairs are more than memory should hold."""
    if pairs * minutes > MAX_MINUTES:
        raise UserError(
            f"{pairs * minutes:,} minutes of {pairs:,} pairs are too many: "
            f"name fewer pairs, or a shorter --range (up to {MAX_MINUTES:,} minutes in total)"
        )
