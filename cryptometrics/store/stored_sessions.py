"""Look up the groups, pairs and sessions that are stored.

All of it comes from `session_extremes`, with one row per group, pair and session, and never from the ticks:
it is as fast for a year of ticks as for a minute.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from psycopg.rows import class_row

from cryptometrics.errors import UserError
from cryptometrics.market.ticks import EXACT
from cryptometrics.text import listed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import psycopg

MAX_WITH_TIMES = 3
"""Pairs that an error lists with the times of their ticks; of more it lists the names."""

_HALF = Decimal("0.5")

# Groups that have read the same topic to its end have the same newest time; then the last writer is newer.
_GROUPS = """
SELECT consumer_group
FROM session_extremes
LEFT JOIN (
    SELECT consumer_group, max(updated_at) AS updated_at FROM consumer_offsets GROUP BY consumer_group
) AS written USING (consumer_group)
GROUP BY consumer_group
ORDER BY max(last_at) DESC, max(updated_at) DESC NULLS LAST, consumer_group
"""

_PAIRS = """
SELECT pair, min(first_at), max(last_at)
FROM session_extremes
WHERE consumer_group = %(group)s
GROUP BY pair
ORDER BY pair
"""

_SESSIONS = """
SELECT pair, session, consumer_group, ticks, late, last_bid AS bid, last_ask AS ask, highest_bid,
       highest_bid_at, lowest_ask, lowest_ask_at, max_spread, max_spread_at, first_at, last_at,
       last_bid_size AS bid_size, last_ask_size AS ask_size
FROM session_extremes
WHERE consumer_group = %(group)s
  AND (%(pairs)s::text[] IS NULL OR pair = ANY(%(pairs)s))
  AND (%(session)s::text IS NULL OR session = %(session)s)
ORDER BY pair, last_at DESC, session
"""

_SESSION_NAMES = """
SELECT session
FROM session_extremes
WHERE consumer_group = %(group)s
  AND (%(pairs)s::text[] IS NULL OR pair = ANY(%(pairs)s))
GROUP BY session
ORDER BY max(last_at) DESC, session
"""


class ChosenGroup(NamedTuple):
    """The group whose rows are read."""

    name: str
    note: str
    """Why it was chosen, for stderr; empty if the user named it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A pair's session so far: its newest quote and its extremes.

    Prices are in the quote currency, times are event times in UTC.
    """

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
    def mid_price(self) -> Decimal:
        """(bid + ask) / 2 of the newest quote, exact."""
        return EXACT.multiply(EXACT.add(self.bid, self.ask), _HALF)

    @property
    def spread(self) -> Decimal:
        """Ask - bid of the newest quote, exact."""
        return EXACT.subtract(self.ask, self.bid)


def resolve_group(connection: psycopg.Connection, group: str | None) -> ChosenGroup:
    """Return the group named, else the only one, else the one with the newest row.

    Raises UserError if nothing is stored, or nothing for the group named.
    """
    groups = [name for (name,) in connection.execute(_GROUPS)]
    if not groups:
        raise UserError("no ticks are stored yet: run `cryptometrics process`")
    if group is not None:
        if group in groups:
            return ChosenGroup(group, "")
        raise UserError(f"group {group} has stored nothing; there {_are(groups)}")
    newest, *others = groups
    if not others:
        return ChosenGroup(newest, f"reading group {newest}, the only one there is")
    return ChosenGroup(
        newest, f"reading group {newest}, the one with the newest row; --group reads {listed(others)} instead"
    )


def sessions(
    connection: psycopg.Connection, group: str, *, pairs: Sequence[str] = (), session: str | None = None
) -> list[SessionRow]:
    """Return one row per pair, ordered by pair: that of `session`, else of the newest session.

    If pairs are named, the newest session is that of each pair, else that of the group. Raises UserError,
    which lists what is stored, if a pair has no ticks, or none in `session`.
    """
    if session is None and not pairs:
        session = session_names(connection, group)[0]
    newest: dict[str, SessionRow] = {}
    for row in pair_sessions(connection, group, pairs=pairs, session=session):
        newest.setdefault(row.pair, row)
    if missing := [pair for pair in pairs if pair not in newest]:
        raise no_ticks(connection, group, missing, session)
    if not newest:
        raise UserError(
            f"group {group} has no session {session}; there {_are(session_names(connection, group))}"
        )
    return list(newest.values())


def pair_sessions(
    connection: psycopg.Connection, group: str, *, pairs: Sequence[str] = (), session: str | None = None
) -> list[SessionRow]:
    """Return all sessions of `pairs`, or of every pair: ordered by pair, the newest session first."""
    with connection.cursor(row_factory=class_row(SessionRow)) as cursor:
        cursor.execute(_SESSIONS, {"group": group, "pairs": list(pairs) or None, "session": session})
        return cursor.fetchall()


def session_names(connection: psycopg.Connection, group: str, pairs: Sequence[str] = ()) -> list[str]:
    """Return the names of the sessions of a group, or of some of its pairs, newest first."""
    return [
        name for (name,) in connection.execute(_SESSION_NAMES, {"group": group, "pairs": list(pairs) or None})
    ]


def no_ticks(
    connection: psycopg.Connection, group: str, pairs: Sequence[str], session: str | None
) -> UserError:
    """Return the error that lists what is stored instead: other sessions of these pairs, else other pairs."""
    if session is not None and (names := session_names(connection, group, pairs)):
        return UserError(
            f"no ticks of {listed(pairs)} in session {session} of group {group}; there {_are(names)}"
        )
    stored = connection.execute(_PAIRS, {"group": group}).fetchall()
    names = [pair for pair, _, _ in stored]
    if len(names) <= MAX_WITH_TIMES:
        known = [
            f"{pair} ({first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC)"
            for pair, first, last in stored
        ]
        return UserError(f"no ticks of {listed(pairs)} in group {group}; there {_are(known)}")
    close = [near for pair in pairs for near in difflib.get_close_matches(pair, names, n=3)]
    hint = f" (did you mean {listed(dict.fromkeys(close))}?)" if close else ""
    return UserError(f"no ticks of {listed(pairs)} in group {group}; there {_are(names)}{hint}")


def _are(names: Sequence[str]) -> str:
    return f"{'is' if len(names) == 1 else 'are'} {listed(names)}"
