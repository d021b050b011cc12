"""The aggregate of a single tick, written out: every other way of aggregating is held to merging these."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from cryptometrics.market.ticks import EXACT
from cryptometrics.market.windows import BPS_PLACES, Aggregate, TradeSums

if TYPE_CHECKING:
    from cryptometrics.market.ticks import Trade
    from cryptometrics.market.windows import Place

ZERO = Decimal(0)


def of_tick(
    place: Place,
    bid: Decimal,
    ask: Decimal,
    *,
    late: bool = False,
    sizes: tuple[Decimal | None, Decimal | None] = (None, None),
    trade: Trade | None = None,
) -> Aggregate:
    """Return the aggregate of a single tick."""
    spread, total = EXACT.subtract(ask, bid), EXACT.add(bid, ask)
    mid = EXACT.multiply(total, Decimal("0.5"))
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
        sized_ticks=int(None not in sizes),
        bid_size_sum=(sizes[0] or ZERO) if None not in sizes else ZERO,
        ask_size_sum=(sizes[1] or ZERO) if None not in sizes else ZERO,
        trades=TradeSums(0, ZERO, ZERO, ZERO)
        if trade is None
        else TradeSums(
            1, trade.size, EXACT.multiply(trade.price, trade.size), trade.size if trade.is_buy else ZERO
        ),
    )


def spread_bps(spread: Decimal, bid_and_ask: Decimal) -> Decimal:
    """Return a spread in basis points of the mid price, rounded half up to 8 places.

    bid_and_ask: their sum, twice the mid price.
    """
    twice = EXACT.add(EXACT.multiply(Decimal(4 * 10**12), spread), bid_and_ask)
    return EXACT.scaleb(EXACT.divide_int(twice, EXACT.add(bid_and_ask, bid_and_ask)), -BPS_PLACES)
