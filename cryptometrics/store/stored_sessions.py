"""Look up the venues, pairs and sessions of a group.

All of it comes from `session_extremes`, with one row per group, venue, pair and session, and never from the
ticks: it is as fast for a year of ticks as for a minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from cryptometrics.errors import NotFoundError
from cryptometrics.market.ticks import EXACT
from cryptometrics.market.venues import Market
from cryptometrics.store.pair_suggestions import did_you_mean
from cryptometrics.text import are, listed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import psycopg

MAX_WITH_TIMES = 3
"""Pairs that an error lists with the times of their ticks; of more it lists the names."""

_HALF = Decimal("0.5")

_PAIRS = """
SELECT pair, min(first_at), max(last_at)
FROM session_extremes
WHERE consumer_group = %(group)s AND (%(venue)s::text IS NULL OR venue = %(venue)s)
GROUP BY pair
ORDER BY pair
"""

_SESSIONS = """
SELECT venue, pair, session, consumer_group, ticks, late, last_bid AS bid, last_ask AS ask, highest_bid,
       highest_bid_at, lowest_ask, lowest_ask_at, max_spread, max_spread_at, first_at, last_at,
       last_bid_size AS bid_size, last_ask_size AS ask_size
FROM session_extremes
WHERE consumer_group = %(group)s AND (%(venue)s::text IS NULL OR venue = %(venue)s)
  AND (%(pairs)s::text[] IS NULL OR pair = ANY(%(pairs)s))
  AND (%(session)s::text IS NULL OR session = %(session)s)
ORDER BY venue, pair, last_at DESC, session
"""

# Of each venue: an old replay must not hide behind the live feed.
_NEWEST_SESSIONS = """
SELECT DISTINCT ON (venue) venue, session
FROM session_extremes
WHERE consumer_group = %(group)s AND (%(venue)s::text IS NULL OR venue = %(venue)s)
ORDER BY venue, last_at DESC, session
"""

_SESSION_NAMES = """
SELECT session
FROM session_extremes
WHERE consumer_group = %(group)s AND (%(venue)s::text IS NULL OR venue = %(venue)s)
  AND (%(pairs)s::text[] IS NULL OR pair = ANY(%(pairs)s))
GROUP BY session
ORDER BY max(last_at) DESC, session
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A market's session so far: its newest quote and its extremes.

    Prices are in the quote currency, times are event times in UTC.
    """

    venue: str
    pair: str
    session: str
    consumer_group: str
    ticks: int
    late: int
    bid: Decimal
    ask: Decimal
    highest_bid: Decimal
    highest_bid_at: datetime
    lowest_ask: Decimal
    lowest_ask_at: datetime
    max_spread: Decimal
    max_spread_at: datetime
    first_at: datetime
    last_at: datetime
    bid_size: Decimal | None = None
    """Of the newest quote, in the base currency; None where the feed sends none."""
    ask_size: Decimal | None = None

    @property
    def market(self) -> Market:
        """The venue and the pair."""
        return Market(self.venue, self.pair)

    @property
    def mid_price(self) -> Decimal:
        """(bid + ask) / 2 of the newest quote, exact."""
        return EXACT.multiply(EXACT.add(self.bid, self.ask), _HALF)

    @property
    def spread(self) -> Decimal:
        """Ask - bid of the newest quote, exact."""
        return EXACT.subtract(self.ask, self.bid)


def sessions(
    connection: psycopg.Connection,
    group: str,
    *,
    venue: str | None = None,
    pairs: Sequence[str] = (),
    session: str | None = None,
) -> list[SessionRow]:
    """Return one row per market, ordered by venue and pair, of `session` or else the newest session.

    The newest session is each market's own if pairs are named, else its venue's. Without a venue, all venues
    of the group are read. Raises NotFoundError, which lists what is stored, if a pair has no ticks, or none
    in `session`.
    """
    if session is None and not pairs:
        newest = connection.execute(_NEWEST_SESSIONS, {"group": group, "venue": venue}).fetchall()
        rows = [
            row for at, name in newest for row in pair_sessions(connection, group, venue=at, session=name)
        ]
    else:
        rows = pair_sessions(connection, group, venue=venue, pairs=pairs, session=session)
    found: dict[Market, SessionRow] = {}
    for row in rows:
        found.setdefault(row.market, row)
    known = {pair for _, pair in found}
    if missing := [pair for pair in pairs if pair not in known]:
        raise no_ticks(connection, group, missing, session, venue=venue)
    if not found:
        names = session_names(connection, group, venue=venue)
        raise NotFoundError(f"{place(group, venue)} has no session {session}; there {are(names)}")
    return list(found.values())


def pair_sessions(
    connection: psycopg.Connection,
    group: str,
    *,
    venue: str | None = None,
    pairs: Sequence[str] = (),
    session: str | None = None,
) -> list[SessionRow]:
    """Return all sessions of `pairs`, or of every pair: ordered by venue and pair, the newest session first.

    Without a venue, these are the sessions of all venues.
    """
    with connection.cursor(row_factory=class_row(SessionRow)) as cursor:
        values = {"group": group, "venue": venue, "pairs": list(pairs) or None, "session": session}
        return cursor.execute(_SESSIONS, values).fetchall()


def session_names(
    connection: psycopg.Connection, group: str, pairs: Sequence[str] = (), *, venue: str | None = None
) -> list[str]:
    """Return the names of the sessions of a group, a venue or some of the pairs, newest first."""
    values = {"group": group, "venue": venue, "pairs": list(pairs) or None}
    return [name for (name,) in connection.execute(_SESSION_NAMES, values)]


def place(group: str, venue: str | None) -> str:
    """Return a group and its venue, unless that is None, in words."""
    return f"group {group}" if venue is None else f"group {group}, venue {venue}"


def no_ticks(
    connection: psycopg.Connection,
    group: str,
    pairs: Sequence[str],
    session: str | None,
    *,
    venue: str | None = None,
) -> NotFoundError:
    """Return the error that lists what is stored instead: other sessions of these pairs, else other pairs.

    With a venue, it is about that venue.
    """
    where = place(group, venue)
    if session is not None and (names := session_names(connection, group, pairs, venue=venue)):
        return NotFoundError(
            f"no ticks of {listed(pairs)} in session {session} of {where}; there {are(names)}"
        )
    stored = connection.execute(_PAIRS, {"group": group, "venue": venue}).fetchall()
    names = [pair for pair, _, _ in stored]
    if len(names) <= MAX_WITH_TIMES:
        known = [
            f"{pair} ({first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC)"
            for pair, first, last in stored
        ]
        return NotFoundError(f"no ticks of {listed(pairs)} in {where}; there {are(known)}")
    return NotFoundError(
        f"no ticks of {listed(pairs)} in {where}; there {are(names)}{did_you_mean(pairs, names)}"
    )
