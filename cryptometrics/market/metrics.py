"""Compute the metrics of a tick, and update the state of its session.

Every number is a `Decimal` in the context `ticks.EXACT`, in which rounding is an error.

Definitions (quoted spread and mid price as in SEC Rule 605's vocabulary):
    spread    = ask - bid
    mid price = (bid + ask) / 2
    highest bid, lowest ask, max spread: running extremes over the ticks of a pair in one session,
    in the order of the topic, the tick itself included.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from cryptometrics.market.ticks import EXACT

if TYPE_CHECKING:
    from datetime import datetime

    from cryptometrics.market.ticks import Tick

_HALF = Decimal("0.5")
_add, _subtract, _multiply = EXACT.add, EXACT.subtract, EXACT.multiply


class Session(msgspec.Struct, gc=False):
    """The state of one pair in one session; `measure` updates it with each tick.

    Each extreme has the event time of the tick that set it first. The newest quote is the one with the
    latest event time, so a late tick does not replace it.
    """

    highest_bid: Decimal
    highest_bid_at: datetime
    lowest_ask: Decimal
    lowest_ask_at: datetime
    max_spread: Decimal
    max_spread_at: datetime
    last_bid: Decimal
    last_ask: Decimal
    last_at: datetime
    first_at: datetime
    ticks: int
    late: int
    last_bid_size: Decimal | None = None
    """Of the newest quote; None if the feed sent none."""
    last_ask_size: Decimal | None = None


class TickMetrics(msgspec.Struct, gc=False):
    """The metrics that follow from one quote alone, in the quote currency."""

    mid_price: Decimal
    spread: Decimal


def open_session(tick: Tick) -> Session:
    """Return the session that begins with this tick, before the tick itself is measured."""
    spread = _subtract(tick.ask, tick.bid)
    return Session(
        highest_bid=tick.bid,
        highest_bid_at=tick.time,
        lowest_ask=tick.ask,
        lowest_ask_at=tick.time,
        max_spread=spread,
        max_spread_at=tick.time,
        last_bid=tick.bid,
        last_ask=tick.ask,
        last_at=tick.time,
        first_at=tick.time,
        ticks=0,
        late=0,
        last_bid_size=tick.bid_size,
        last_ask_size=tick.ask_size,
    )


def measure(tick: Tick, session: Session) -> TickMetrics:
    """Return the metrics of a tick and update its session with it, in place."""
    bid, ask, time = tick.bid, tick.ask, tick.time
    spread = _subtract(ask, bid)
    if bid > session.highest_bid:
        session.highest_bid, session.highest_bid_at = bid, time
    if ask < session.lowest_ask:
        session.lowest_ask, session.lowest_ask_at = ask, time
    if spread > session.max_spread:
        session.max_spread, session.max_spread_at = spread, time
    if time >= session.last_at:
        session.last_bid, session.last_ask, session.last_at = bid, ask, time
        session.last_bid_size, session.last_ask_size = tick.bid_size, tick.ask_size
    elif time < session.first_at:
        session.first_at = time
    session.ticks += 1
    return TickMetrics(_multiply(_add(bid, ask), _HALF), spread)
