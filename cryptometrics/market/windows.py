"""Aggregate the ticks of one pair in one window of time, and merge two such aggregates.

Every number is a `Decimal` in the context `ticks.EXACT`. An aggregate holds sums, never averages, so `merge`
is associative and commutative: the parts of a window merge in any order and grouping to the same aggregate.

Definitions (mid price and spread as in `metrics`):
    open, close = mid price of the first and the last tick by event time; of equal times the
                  first, or the last, in the topic
    spread_bps  = 10,000 * spread / mid price of each tick, rounded half up to 8 places
    sized ticks = ticks with a size on both sides, and only their sizes are summed
    trades      = tickers with the price and the size of a trade; a feed may batch trades and send the last
    volume      = sum of the sizes of trades, in the base currency
    notional    = sum of price * size of trades, in the quote currency
    buy_volume  = volume of the trades in which the taker bought
"""

from __future__ import annotations

import decimal
import operator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from cryptometrics.market.ticks import EXACT
from cryptometrics.times import EPOCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptometrics.market.ticks import Tick

MINUTE = timedelta(minutes=1)
MAX_OUT_OF_ORDER = timedelta(seconds=2)
"""How far the watermark of a partition stays behind its newest tick."""
BPS_PLACES = 8
"""Decimal places of a tick's spread in basis points."""

_HALF = Decimal("0.5")
# With m = bid + ask: 10^4 * spread / (m / 2) * 10^8, rounded half up, is (2 * 2 * 10^12 * spread + m) div 2m.
_TWICE_BPS = Decimal(4 * 10**12)

Place = tuple[datetime, int, int]
"""Event time, partition and offset of a tick: the order of the ticks of a pair."""


class TradeSums(msgspec.Struct, gc=False, frozen=True):
    """The trades of a pair in one window, or in a part of it."""

    trades: int
    volume: Decimal
    notional: Decimal
    buy_volume: Decimal


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
    """Ticks whose trade_id is below one that came earlier in the topic."""
    sized_ticks: int
    bid_size_sum: Decimal
    ask_size_sum: Decimal
    trades: TradeSums | None
    """None if it is not known what trades there were: stored ticks are without them."""


def merge(one: Aggregate, other: Aggregate) -> Aggregate:
    """Return the aggregate of two parts of a window, which have no tick in common."""
    # Prices break ties: even if two ticks claim one place, the order of merging does not matter.
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
        sized_ticks=one.sized_ticks + other.sized_ticks,
        bid_size_sum=EXACT.add(one.bid_size_sum, other.bid_size_sum),
        ask_size_sum=EXACT.add(one.ask_size_sum, other.ask_size_sum),
        trades=_merge_trades(one.trades, other.trades),
    )


def _merge_trades(one: TradeSums | None, other: TradeSums | None) -> TradeSums | None:
    if one is None or other is None:
        return None  # what is known of a part says nothing about the window
    return TradeSums(
        trades=one.trades + other.trades,
        volume=EXACT.add(one.volume, other.volume),
        notional=EXACT.add(one.notional, other.notional),
        buy_volume=EXACT.add(one.buy_volume, other.buy_volume),
    )


def fold(
    ticks: Sequence[Tick],
    partition: int,
    offsets: Sequence[int],
    late: int = 0,
    *,
    trades_known: bool = True,
) -> Aggregate:
    """Return the aggregate of some ticks of one pair, window and partition.

    offsets: of the ticks, at least one, ascending. late: how many of the ticks came late.
    trades_known: whether a tick without a trade really had none.
    """
    times, bids, asks = ([getattr(t, name) for t in ticks] for name in ("time", "bid", "ask"))
    opening, closing = min(times), max(times)
    first = times.index(opening)
    last = len(times) - 1
    while times[last] != closing:
        last -= 1
    sized = [t for t in ticks if t.bid_size is not None and t.ask_size is not None]
    trades = [t.trade for t in ticks if t.trade is not None]
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
            sized_ticks=len(sized),
            bid_size_sum=sum((t.bid_size or Decimal(0) for t in sized), start=Decimal(0)),
            ask_size_sum=sum((t.ask_size or Decimal(0) for t in sized), start=Decimal(0)),
            trades=None
            if not trades_known
            else TradeSums(
                trades=len(trades),
                volume=sum((t.size for t in trades), start=Decimal(0)),
                notional=sum((t.price * t.size for t in trades), start=Decimal(0)),
                buy_volume=sum((t.size for t in trades if t.is_buy), start=Decimal(0)),
            ),
        )


def fixed_start(time: datetime, size: timedelta) -> datetime:
    """Return the start of the window of this length that holds a time; windows count from the epoch."""
    return time - (time - EPOCH) % size
