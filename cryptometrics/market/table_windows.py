"""Aggregates of many ticks at once: `windows.fold` on columns."""

from __future__ import annotations

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
    from cryptometrics.market.text_columns import Ints

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
    steps = np.diff(numbers)
    order = np.arange(len(numbers))
    if len(steps) and int(steps.min()) < 0:
        order = np.argsort(numbers, kind="stable")
        steps = np.diff(numbers[order])
    starts = np.append(0, np.flatnonzero(steps) + 1)
    known = numbers[order[starts]].tolist()
    windows_of_rows = np.split(order, starts[1:])
    sums = None if quotes is None else _sums(quotes, order, starts)
    if quotes is None or sums is None:
        trades_known = bool((ticks.table.trade_size[ticks.rows] >= 0).all())
        for number, rows in zip(known, windows_of_rows, strict=True):
            chosen = [ticks.ticks[row] for row in rows.tolist()]
            offsets, late = ticks.offset[rows].tolist(), int(ticks.late[rows].sum())
            yield (
                number,
                windows.fold(chosen, ticks.partition, offsets, late, trades_known=trades_known),
            )
        return
    for number, rows, totals in zip(known, windows_of_rows, sums, strict=True):
        yield number, _aggregate(quotes, rows, totals)


class _Sums(NamedTuple):
    """The sums of one window."""

    spread: Decimal
    bps: Decimal
    late: int
    sized_ticks: int
    bid_size: Decimal
    ask_size: Decimal
    trades: TradeSums | None


def _sums(quotes: PairQuotes, order: Rows, starts: Ints) -> list[_Sums] | None:
    """Return the sums of each window, None where 64 bits are too few for a trade.

    order: the rows, window by window. starts: where in `order` each window begins.
    """
    ticks = quotes.ticks
    trades = scaled_trades(ticks)
    if trades is None:
        return None
    price, price_scale, size, size_scale = trades

    def decimals(column: Ints, scale: int) -> list[Decimal]:
        return [Decimal(number).scaleb(-scale, EXACT) for number in _totals(column[order], starts)]

    is_sized = (quotes.bid_size.units >= 0) & (quotes.ask_size.units >= 0)
    of_trades: list[TradeSums | None] = [None] * len(starts)
    if int(size.min()) >= 0:
        price = np.maximum(price, 0)  # without a trade the price may be missing, and the size is 0
        if int(price.max()) * int(size.max()) > _MAX_INT:
            price = price.astype(object)
        of_trades = list(
            map(
                TradeSums,
                _totals((size > 0)[order].astype(np.int64), starts),
                decimals(size, size_scale),
                decimals(price * size, price_scale + size_scale),
                decimals(size * ticks.table.is_buy[ticks.rows], size_scale),
            )
        )
    return list(
        map(
            _Sums,
            decimals(quotes.spread.units, quotes.scale),
            decimals(_bps_units(quotes), BPS_PLACES),
            _totals(ticks.late[order].astype(np.int64), starts),
            _totals(is_sized[order].astype(np.int64), starts),
            decimals(quotes.bid_size.units * is_sized, quotes.size_scale),
            decimals(quotes.ask_size.units * is_sized, quotes.size_scale),
            of_trades,
        )
    )


def _totals(numbers: Ints, starts: Ints) -> list[int]:
    """Return the sum of each window's numbers, which are not negative, whatever its size."""
    if int(numbers.max()) > _MAX_INT // len(numbers):
        numbers = numbers.astype(object)
    totals: list[int] = np.add.reduceat(numbers, starts).tolist()
    return totals


def _aggregate(quotes: PairQuotes, rows: Rows, sums: _Sums) -> Aggregate:
    ticks, scale, times = quotes.ticks, quotes.scale, quotes.ticks.time[rows]
    mid, spread = quotes.mid_price, quotes.spread
    opens = int(rows[times.argmin()])  # of equal times the first
    closes = int(rows[len(times) - 1 - times[::-1].argmax()])  # and the last
    high, low = int(rows[mid.units[rows].argmax()]), int(rows[mid.units[rows].argmin()])
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
        spread_sum=sums.spread,
        max_spread=decimal(spread, int(rows[spread.units[rows].argmax()]), scale),
        spread_bps_sum=sums.bps,
        late=sums.late,
        sized_ticks=sums.sized_ticks,
        bid_size_sum=sums.bid_size,
        ask_size_sum=sums.ask_size,
        trades=sums.trades,
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
