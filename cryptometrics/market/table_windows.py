"""Aggregates of many ticks at once: `windows.fold` on columns."""

from __future__ import annotations

import operator
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cryptometrics.market import windows
from cryptometrics.market.table_metrics import decimal, scaled_trades
from cryptometrics.market.ticks import EXACT
from cryptometrics.market.windows import BPS_PLACES, Aggregate, TradeSums
from cryptometrics.times import from_microseconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.market.table import PairTicks, Rows
    from cryptometrics.market.table_metrics import PairQuotes
    from cryptometrics.market.text_columns import Flags, Ints

_MAX_INT = 2**63 - 1
# The quotient is built from four groups of three decimals.
_GROUP, _GROUPS = 1000, 4


def fold(
    ticks: PairTicks, numbers: Ints, quotes: PairQuotes | None = None
) -> Iterator[tuple[int, Aggregate]]:
    """Yield the number of each window with ticks, and the aggregate of its ticks.

    numbers: the window that each tick belongs to.
    quotes: of the ticks; without them the ticks are folded one by one.
    """
    sums = None if quotes is None else _SumColumns.of(quotes)
    first = int(numbers[0])
    known = [first] if (numbers == first).all() else np.unique(numbers).tolist()
    for number in known:
        rows = np.arange(len(numbers)) if len(known) == 1 else np.flatnonzero(numbers == number)
        if quotes is None or sums is None:
            chosen = [ticks.ticks[row] for row in rows.tolist()]
            offsets, late = ticks.offset[rows].tolist(), int(ticks.late[rows].sum())
            trades_known = bool((ticks.table.trade_size[ticks.rows[rows]] >= 0).all())
            aggregate = windows.fold(chosen, ticks.partition, offsets, late, trades_known=trades_known)
            yield number, aggregate
        else:
            yield number, _aggregate(quotes, rows, sums)


class _SumColumns(NamedTuple):
    """Columns of a pair's ticks that only a window's sums need."""

    bps: Ints
    is_sized: Flags
    price: Ints
    """Of trades, like their sizes."""
    size: Ints
    """0 without a trade."""
    buy_size: Ints
    """0 if the taker did not buy."""
    price_scale: int
    size_scale: int
    trades_known: bool

    @classmethod
    def of(cls, quotes: PairQuotes) -> _SumColumns | None:
        """Return the columns of all ticks; None where 64 bits are too few."""
        trades = scaled_trades(quotes.ticks)
        if trades is None:
            return None
        price, price_scale, size, size_scale = trades
        return cls(
            bps=_bps_units(quotes),
            is_sized=(quotes.bid_size.units >= 0) & (quotes.ask_size.units >= 0),
            price=price,
            size=size,
            buy_size=size * quotes.ticks.table.is_buy[quotes.ticks.rows],
            price_scale=price_scale,
            size_scale=size_scale,
            trades_known=int(size.min()) >= 0,
        )

    def trades(self, rows: Rows) -> TradeSums | None:
        """Return the sums of the trades in some rows."""
        if not self.trades_known:
            return None
        price, size = self.price[rows], self.size[rows]
        # No price is below 0 where there is a trade.
        fits = int(price.max()) * int(size.max()) <= _MAX_INT // len(rows)
        notional = int(price @ size) if fits else sum(map(operator.mul, price.tolist(), size.tolist()))
        return TradeSums(
            trades=int(np.count_nonzero(size)),
            volume=_scaled_sum(size, self.size_scale),
            notional=Decimal(notional).scaleb(-self.price_scale - self.size_scale, EXACT),
            buy_volume=_scaled_sum(self.buy_size[rows], self.size_scale),
        )


def _aggregate(quotes: PairQuotes, rows: Rows, sums: _SumColumns) -> Aggregate:
    ticks, scale, times = quotes.ticks, quotes.scale, quotes.ticks.time[rows]
    mid, spread = quotes.mid_price, quotes.spread
    opens = int(rows[times.argmin()])  # of equal times the first
    closes = int(rows[len(times) - 1 - times[::-1].argmax()])  # and the last
    high, low = int(rows[mid.units[rows].argmax()]), int(rows[mid.units[rows].argmin()])
    sized = rows[sums.is_sized[rows]]
    return Aggregate(
        ticks=len(rows),
        open=decimal(mid, opens, scale),
        opened=(from_microseconds(int(ticks.time[opens])), ticks.partition, int(ticks.offset[opens])),
        high=decimal(mid, high, scale),
        low=decimal(mid, low, scale),
        close=decimal(mid, closes, scale),
        closed=(from_microseconds(int(ticks.time[closes])), ticks.partition, int(ticks.offset[closes])),
        highest_bid=decimal(quotes.bid, int(rows[quotes.bid.units[rows].argmax()]), scale),
        lowest_ask=decimal(quotes.ask, int(rows[quotes.ask.units[rows].argmin()]), scale),
        spread_sum=_scaled_sum(spread.units[rows], scale),
        max_spread=decimal(spread, int(rows[spread.units[rows].argmax()]), scale),
        spread_bps_sum=_scaled_sum(sums.bps[rows], BPS_PLACES),
        late=int(ticks.late[rows].sum()),
        sized_ticks=len(sized),
        bid_size_sum=_scaled_sum(quotes.bid_size.units[sized], quotes.size_scale),
        ask_size_sum=_scaled_sum(quotes.ask_size.units[sized], quotes.size_scale),
        trades=sums.trades(rows),
    )


def _bps_units(quotes: PairQuotes) -> Ints:
    """Return each spread in 10^-8 basis points of the mid price, rounded half up: see `windows.fold`.

    That is 2 * spread / (bid + ask) * 10^12. The product does not fit into 64 bits, so divide as in long
    division, three decimals at a time.
    """
    spread, total = quotes.spread.units, quotes.bid.units + quotes.ask.units
    if int(total.max()) > _MAX_INT // (2 * _GROUP):
        exact = zip(spread.tolist(), total.tolist(), strict=True)
        return np.array([(4 * 10**12 * s + m) // (2 * m) for s, m in exact], np.int64)
    quotient, rest = np.divmod(2 * spread, total)
    for _ in range(_GROUPS):
        digits, rest = np.divmod(rest * _GROUP, total)
        quotient = quotient * _GROUP + digits
    rounded: Ints = quotient + (2 * rest >= total)
    return rounded


def _scaled_sum(numbers: Ints, scale: int) -> Decimal:
    """Return the sum of units of 10^-scale that are not negative, whatever its size."""
    if not len(numbers):
        return Decimal(0)
    fits = int(numbers.max()) <= _MAX_INT // len(numbers)
    total = int(numbers.sum()) if fits else sum(numbers.tolist())
    return Decimal(total).scaleb(-scale, EXACT)
