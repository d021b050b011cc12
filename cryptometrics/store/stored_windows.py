"""Find and load the windows that `aggregate` stored under a name, of any length, sliding, or sessions."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

from psycopg.rows import class_row

from cryptometrics.errors import NotFoundError, UserError
from cryptometrics.market.venues import Market
from cryptometrics.store.candles import MAX_CANDLES, Candle, Candles
from cryptometrics.store.choose_source import choice
from cryptometrics.store.labelled_minutes import doubtful_spans
from cryptometrics.text import are, listed
from cryptometrics.times import iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta

    import psycopg

    from cryptometrics.store.choose_source import Choice

# From key to key: the table may have millions of minutes, but has few groups and names.
_NAMES = """
WITH RECURSIVE names AS (
    (SELECT consumer_group, name FROM crypto_windows ORDER BY consumer_group, name LIMIT 1)
    UNION ALL
    SELECT next.consumer_group, next.name
    FROM names CROSS JOIN LATERAL (
        SELECT consumer_group, name FROM crypto_windows w
        WHERE (w.consumer_group, w.name) > (names.consumer_group, names.name)
        ORDER BY consumer_group, name LIMIT 1
    ) AS next
)
SELECT consumer_group, name FROM names
"""

_MARKETS = """
SELECT consumer_group, venue, pair FROM crypto_windows
WHERE name = %(name)s AND consumer_group = ANY(%(groups)s)
GROUP BY consumer_group, venue, pair
ORDER BY max(window_start) DESC, consumer_group, venue, pair
"""

_WINDOWS = """
SELECT window_start AS start, window_end AS "end", ticks, open, high, low, close, avg_spread, max_spread,
       volume, complete, open_at, close_at
FROM crypto_windows
WHERE (consumer_group, name, venue, pair) = (%(group)s, %(name)s, %(venue)s, %(pair)s)
  AND window_end > coalesce(%(since)s::timestamptz, '-infinity')
  AND window_start <= coalesce(%(until)s::timestamptz, 'infinity')
ORDER BY window_start DESC LIMIT %(limit)s
"""


class WindowSource(NamedTuple):
    """Which windows are read."""

    group: Choice
    venue: Choice
    markets: list[Market]
    """Sorted by pair."""


def choose_windows(
    connection: psycopg.Connection,
    name: str,
    group: str | None = None,
    venue: str | None = None,
    pairs: Sequence[str] = (),
) -> WindowSource:
    """Return the windows of a name to read: the group and the venue asked for, else those of the newest one.

    Raises NotFoundError, which lists what there is, if there are none of the name, group, venue or pairs.
    """
    names = connection.execute(_NAMES).fetchall()
    if not (groups := [at for at, stored in names if stored == name]):
        others = sorted({stored for _, stored in names})
        known = f"; there {are(others)}" if others else ""
        raise NotFoundError(
            f"no windows named {name} are stored{known}: `cryptometrics aggregate` makes them"
        )
    found = connection.execute(_MARKETS, {"name": name, "groups": groups}).fetchall()
    groups = _unique(at for at, *_ in found)
    if group is not None and group not in groups:
        raise NotFoundError(f"group {group} has no windows named {name}; there {are(groups)}")
    chosen = choice("group", group, groups)
    venues = _unique(at for of, at, _ in found if of == chosen.name)
    if venue is not None and venue not in venues:
        raise NotFoundError(
            f"group {chosen.name} has no windows named {name} of venue {venue}; there {are(venues)}"
        )
    at = choice("venue", venue, venues)
    stored = sorted(pair for of, where, pair in found if (of, where) == (chosen.name, at.name))
    if missing := [pair for pair in pairs if pair not in stored]:
        raise NotFoundError(f"no windows named {name} of {listed(missing)} at {at.name}; there {are(stored)}")
    return WindowSource(chosen, at, [Market(at.name, pair) for pair in pairs or stored])


def load_windows(
    connection: psycopg.Connection,
    group: str,
    market: Market,
    name: str,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Candles:
    """Return the windows of a market that overlap a range, as candles, each of its whole window.

    Raises UserError if there are none, or more than can be seen.
    """
    values = {"group": group, "name": name, "since": since, "until": until, "limit": MAX_CANDLES + 1}
    with connection.cursor(row_factory=class_row(Candle)) as cursor:
        candles = cursor.execute(_WINDOWS, values | market._asdict()).fetchall()
    if not candles:
        raise NotFoundError(f"no windows named {name} of {market.pair} overlap that range")
    candles.reverse()
    if len(candles) > MAX_CANDLES:
        raise UserError(
            f"more than {MAX_CANDLES:,} windows are too many to be seen: "
            f"draw a shorter range, such as --since {iso(candles[1].start)}"
        )
    first, last = candles[0].start, candles[-1].end
    doubtful = doubtful_spans(connection, group, market, first, last)
    return Candles(market, group, name, _size(candles), candles, doubtful, kind="windows")


def _size(candles: Sequence[Candle]) -> timedelta:
    """Return the shortest length, or the shortest time between two starts, whichever is shorter."""
    steps = [after.start - before.start for before, after in itertools.pairwise(candles)]
    return min([candle.length for candle in candles] + steps)


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
