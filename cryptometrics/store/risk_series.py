"""Read what the risk figures of a venue's pairs are computed from."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cryptometrics.errors import UserError
from cryptometrics.risk import ewma
from cryptometrics.risk.lines import MINUTE, MarketRange, PairSeries, RangeTotals
from cryptometrics.risk.minutes import Bars
from cryptometrics.risk.pair_minutes import (
    MAX_MINUTES_BEFORE,
    PairMinutes,
    cut_to_range,
    joined,
    unknown_minutes,
)
from cryptometrics.store.labelled_minutes import Label, read_minutes
from cryptometrics.text import listed
from cryptometrics.times import from_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import psycopg

    from cryptometrics.risk.figures import FigureSettings
    from cryptometrics.store.labelled_minutes import LabelledMinutes

DAY_MINUTES = 24 * 60
MAX_MINUTES = 3_000_000
"""Minutes of all pairs that are read at once: about 300 MB."""

_MARKETS = """
SELECT pair, first_minute, complete_until FROM crypto_markets
WHERE consumer_group = %(group)s AND venue = %(venue)s AND first_minute < complete_until
ORDER BY pair
"""

# The last close may be older than the range: quiet minutes carry it on.
_TOTALS = """
SELECT named.pair, last.close, coalesce(totals.ticks, 0)::bigint, coalesce(totals.spread_bps_sum, 0),
       totals.max_spread, coalesce(totals.bid_size_sum, 0), coalesce(totals.ask_size_sum, 0)
FROM unnest(%(pairs)s::text[]) AS named (pair)
LEFT JOIN LATERAL (
    SELECT close FROM crypto_windows w
    WHERE w.consumer_group = %(group)s AND w.name = '1m' AND w.venue = %(venue)s AND w.pair = named.pair
      AND w.window_start < %(until)s
    ORDER BY w.window_start DESC LIMIT 1
) AS last ON true
LEFT JOIN LATERAL (
    SELECT sum(ticks) AS ticks, sum(spread_bps_sum) AS spread_bps_sum, max(max_spread) AS max_spread,
           sum(bid_size_sum) AS bid_size_sum, sum(ask_size_sum) AS ask_size_sum
    FROM crypto_windows w
    WHERE w.consumer_group = %(group)s AND w.name = '1m' AND w.venue = %(venue)s AND w.pair = named.pair
      AND w.window_start >= %(since)s AND w.window_start < %(until)s
) AS totals ON true
"""


_VENUES = """
SELECT venue FROM session_extremes WHERE consumer_group = %(group)s
GROUP BY venue ORDER BY max(last_at) DESC, venue
"""


class ChosenVenue(NamedTuple):
    """The venue whose rows are read."""

    name: str
    note: str
    """Why it was chosen, for stderr; empty if there was no choice."""


class StoredMarket(NamedTuple):
    """From when to when a pair of a venue has complete minutes."""

    pair: str
    first_minute: datetime
    complete_until: datetime


def choose_venue(connection: psycopg.Connection, group: str, venue: str | None) -> ChosenVenue:
    """Return the venue named, else the only one, else the one with the newest tick; as for the group."""
    names = [name for (name,) in connection.execute(_VENUES, {"group": group})]
    if venue is not None:
        if venue in names:
            return ChosenVenue(venue, "")
        raise UserError(f"venue {venue} has stored nothing in group {group}; there are {listed(names)}")
    newest, *others = names
    if not others:
        return ChosenVenue(newest, "")
    return ChosenVenue(
        newest, f"reading venue {newest}, the one with the newest row; --venue reads {listed(others)} instead"
    )


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
        close = [near for pair in unknown for near in difflib.get_close_matches(pair, names, n=3)]
        hint = f" (did you mean {listed(dict.fromkeys(close))}?)" if close else ""
        raise UserError(
            f"venue {market.venue} has no minutes of {listed(unknown)}; there are {listed(names)}{hint}"
        )
    return list(wanted) or [each.pair for each in stored if each.first_minute < market.as_of]


def load_series(
    connection: psycopg.Connection, market: MarketRange, pairs: Sequence[str], settings: FigureSettings
) -> dict[str, PairSeries]:
    """Return what the lines of the table of risk are computed from."""
    totals = {
        pair: RangeTotals(*values)
        for pair, *values in connection.execute(
            _TOTALS,
            {
                "group": market.group,
                "venue": market.venue,
                "pairs": list(pairs),
                "since": market.start,
                "until": market.as_of,
            },
        )
    }
    minutes = load_minutes(connection, market, pairs, settings)
    return {pair: PairSeries(minutes[pair], totals[pair]) for pair in pairs}


def load_minutes(
    connection: psycopg.Connection, market: MarketRange, pairs: Sequence[str], settings: FigureSettings
) -> dict[str, PairMinutes]:
    """Return the minutes of a range and those before it that figures use, for each pair.

    A range with a day before it is enough for every figure. Most pairs need only a part of that day, so the
    rest is read for those that do.
    """
    window = ewma.start_window(settings.decay)
    part = max(2 * window, DAY_MINUTES - market.minutes) + 1
    if part >= MAX_MINUTES_BEFORE:
        return _read(connection, market, pairs, MAX_MINUTES_BEFORE)
    found = _read(connection, market, pairs, part)
    short = [pair for pair in pairs if _needs_more(found[pair], market.minutes, window)]
    return found | (_read(connection, market, short, MAX_MINUTES_BEFORE) if short else {})


def load_whole_minutes(
    connection: psycopg.Connection,
    market: MarketRange,
    pairs: Sequence[str],
    *,
    before: int = MAX_MINUTES_BEFORE,
) -> dict[str, PairMinutes]:
    """Return all minutes of a range, and so many before it, for each pair."""
    return _read(connection, market, pairs, before)


def whole_past(stored: Sequence[StoredMarket], pair: str, market: MarketRange) -> MarketRange:
    """Return the range from the first stored minute of a pair on, at most as much as is read at once."""
    first = next(each.first_minute for each in stored if each.pair == pair)
    minutes = max(1, (market.as_of - first) // MINUTE)
    return replace(market, minutes=min(minutes, MAX_MINUTES))


def _needs_more(minutes: PairMinutes, range_minutes: int, window: int) -> bool:
    """Return whether minutes before those that were read may change a figure."""
    if minutes.heard[0] and np.isnan(minutes.bars.close[0]):
        return True  # a price from before goes on here
    returns = cut_to_range(minutes, range_minutes).returns
    earlier = returns[: len(minutes.ticks) - range_minutes - 1]
    return int(np.isfinite(earlier).sum()) < window


def _read(
    connection: psycopg.Connection, market: MarketRange, pairs: Sequence[str], before: int
) -> dict[str, PairMinutes]:
    """Return the minutes of a range and so many before it; those that are not stored are unknown."""
    count = market.minutes + before
    require_readable(len(pairs), count)
    since = market.as_of - count * MINUTE
    read = read_minutes(connection, market.group, market.venue, pairs, since, market.as_of, prices_only=True)
    return {
        pair: _on_grid(read[pair], since, count) if pair in read else unknown_minutes(count) for pair in pairs
    }


def _on_grid(read: LabelledMinutes, since: datetime, count: int) -> PairMinutes:
    """Return exactly the minutes from `since` on: those before and after the stored ones are unknown."""
    label = read.label
    minutes = PairMinutes(
        Bars(read.open, read.high, read.low, read.close),
        read.ticks,
        (label == Label.VERIFIED) | (label == Label.SIMULATED),
        label == Label.GAP,
        label == Label.UNVERIFIED,
    )
    first = (from_seconds(int(read.time[0].astype(np.int64))) - since) // MINUTE
    return joined(unknown_minutes(first), minutes, unknown_minutes(count - first - len(read)))


def require_readable(pairs: int, minutes: int) -> None:
    """Raise UserError if the minutes of so many pairs are more than memory should hold."""
    if pairs * minutes > MAX_MINUTES:
        raise UserError(
            f"{pairs * minutes:,} minutes of {pairs:,} pairs are too many: "
            f"name fewer pairs, or a shorter --range (up to {MAX_MINUTES:,} minutes in total)"
        )
