"""Read what the risk figures of a venue's pairs are computed from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.risk import ewma
from cryptometrics.risk.lines import MINUTE, MarketRange, PairSeries, RangeTotals
from cryptometrics.risk.minutes import Bars
from cryptometrics.risk.pair_minutes import (
    MAX_MINUTES_BEFORE,
    PairMinutes,
    begins_within,
    cut_to_range,
    joined,
    unknown_minutes,
)
from cryptometrics.store.complete_markets import require_readable
from cryptometrics.store.labelled_minutes import Label, read_minutes
from cryptometrics.times import from_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import psycopg

    from cryptometrics.risk.figures import FigureSettings
    from cryptometrics.store.labelled_minutes import LabelledMinutes

DAY_MINUTES = 24 * 60
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


def _needs_more(minutes: PairMinutes, range_minutes: int, window: int) -> bool:
    """Return whether minutes before those that were read may change a figure."""
    if begins_within(minutes):
        return False  # there are none
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
