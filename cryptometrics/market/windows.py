"""What the ticks of one pair in one window of time amount to, and how two such amounts become one.

Pure, and exact: every number is a `Decimal` in the context `ticks.EXACT`. Sums are kept, never averages, so
`merge` is associative and commutative: a batch, a bundle, a partition and a re-run combine in any order and
grouping to the same aggregate.

Definitions (mid price and spread as in `metrics`):
    open, close = mid price of the first and the last tick by event time; of equal times the one that comes
                  first, or last, in the topic decides
    spread_bps  = 10,000 * spread / mid price, of each tick by itself, rounded half up to 8 places
"""

from __future__ import annotations

import decimal
import operator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from cryptometrics.market.tick_decoder import EXACT
from cryptometrics.times import EPOCH

if TYPE_CHECKING:
    from collections.abc import Sequence

MINUTE = timedelta(minutes=1)
MAX_OUT_OF_ORDER = timedelta(seconds=2)
"""How far the watermark of a partition stays behind its newest tick."""
BPS_PLACES = 8
"""Decimal places of a tick's spread in basis points."""

_HALF = Decimal("0.5")
# With m = bid + ask: 10^4 * spread / (m / 2) * 10^8, rounded half up, is (2 * 2 * 10^12 * spread + m) div 2m.
_TWICE_BPS = Decimal(4 * 10**12)

Place = tuple[datetime, int, int]
"""Event time, partition and offset of a tick: what orders the ticks of a pair."""


class Aggregate(msgspec.Struct, gc=False, frozen=True):
    """The ticks of one pair in one window, or a part of them. Prices are in the quote currency."""

    ticks: int
    open: Decimal
    opened: Place
    high: Decimal
    low: Decimal
    close: Decimal
    closed: Place
    highest_bid: Decimal
    lowest_ask: Decimal
    spread_sum: Decimal
    max_spread: Decimal
    spread_bps_sum: Decimal
    """In basis points of the mid price, each tick's rounded to 8 places."""
    late: int
    """Ticks whose trade_id lies below one that came before them in the topic."""


def of_tick(place: Place, bid: Decimal, ask: Decimal, *, late: bool = False) -> Aggregate:
    """Return the aggregate of a single tick: the definition that everything else is held to."""
    spread, total = EXACT.subtract(ask, bid), EXACT.add(bid, ask)
    mid = EXACT.multiply(total, _HALF)
    return Aggregate(
        ticks=1,
        open=mid,
        opened=place,
        high=mid,
        low=mid,
        close=mid,
        closed=place,
        highest_bid=bid,
        lowest_ask=ask,
        spread_sum=spread,
        max_spread=spread,
        spread_bps_sum=spread_bps(spread, total),
        late=int(late),
    )


def spread_bps(spread: Decimal, bid_and_ask: Decimal) -> Decimal:
    """Return a spread in basis points of the mid price, rounded half up to 8 places without a detour.

    bid_and_ask: the sum of both, twice the mid price.
    """
    twice = EXACT.add(EXACT.multiply(_TWICE_BPS, spread), bid_and_ask)
    return EXACT.scaleb(EXACT.divide_int(twice, EXACT.add(bid_and_ask, bid_and_ask)), -BPS_PLACES)


def merge(one: Aggregate, other: Aggregate) -> Aggregate:
    """Return what two parts of a window amount to together; they have no tick in common."""
    # The prices decide last: should two ticks claim one place, the order of merging still does not matter.
    first = one if (one.opened, one.open) <= (other.opened, other.open) else other
    last = one if (one.closed, one.close) >= (other.closed, other.close) else other
    return Aggregate(
        ticks=one.ticks + other.ticks,
        open=first.open,
        opened=first.opened,
        high=max(one.high, other.high),
        low=min(one.low, other.low),
        close=last.close,
        closed=last.closed,
        highest_bid=max(one.highest_bid, other.highest_bid),
        lowest_ask=min(one.lowest_ask, other.lowest_ask),
        spread_sum=EXACT.add(one.spread_sum, other.spread_sum),
        max_spread=max(one.max_spread, other.max_spread),
        spread_bps_sum=EXACT.add(one.spread_bps_sum, other.spread_bps_sum),
        late=one.late + other.late,
    )


def fold(
    partition: int,
    offsets: Sequence[int],
    times: Sequence[datetime],
    bids: Sequence[Decimal],
    asks: Sequence[Decimal],
    late: int = 0,
) -> Aggregate:
    """Return the aggregate of many ticks of one pair, window and partition, given column by column.

    The same as merging what `of_tick` makes of each of them, several times as fast.
    offsets: ascending, and at least one. late: how many of the ticks came late.
    """
    opening, closing = min(times), max(times)
    first = times.index(opening)
    last = len(times) - 1
    while times[last] != closing:
        last -= 1
    with decimal.localcontext(EXACT):
        spreads = list(map(operator.sub, asks, bids))
        totals = list(map(operator.add, asks, bids))
        bps = sum((_TWICE_BPS * s + m) // (m + m) for s, m in zip(spreads, totals, strict=True))
        return Aggregate(
            ticks=len(times),
            open=totals[first] * _HALF,
            opened=(opening, partition, offsets[first]),
            high=max(totals) * _HALF,
            low=min(totals) * _HALF,
            close=totals[last] * _HALF,
            closed=(closing, partition, offsets[last]),
            highest_bid=max(bids),
            lowest_ask=min(asks),
            spread_sum=sum(spreads, start=Decimal(0)),
            max_spread=max(spreads),
            spread_bps_sum=Decimal(bps).scaleb(-BPS_PLACES),
            late=late,
        )


def fixed_start(time: datetime, size: timedelta) -> datetime:
    """Return where the window of this length begins that holds a time."""
    return time - (time - EPOCH) % size


def sliding_starts(time: datetime, size: timedelta, slide: timedelta) -> list[datetime]:
    """Return where the windows begin, one every `slide`, that hold a time: the newest first."""
    starts = [fixed_start(time, slide)]
    while starts[-1] - slide + size > time:
        starts.append(starts[-1] - slide)
    return starts if starts[0] + size > time else []
