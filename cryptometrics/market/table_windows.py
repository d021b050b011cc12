"""Aggregates of many ticks at once: `windows.fold` on columns."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cryptometrics.market import windows
from cryptometrics.market.table_metrics import decimal, scaled_trades
from cryptometrics.market.ticks import EXACT
from cryptometrics.market.windows import BPS_PLACES, Aggregate, TradeSums
from cryptometrics.times import from_microseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cryptometrics.market.table import PairTicks
    from cryptometrics.market.table_metrics import NumberColumn, PairQuotes
    from cryptometrics.market.text_columns import Flags, Ints

_MAX_INT = 2**63 - 1


def fold(
    ticks: PairTicks, numbers: Ints, quotes: PairQuotes | None = None
) -> Iterator[tuple[int, Aggregate]]:
    """Yield the number of each window with ticks, and the aggregate of its ticks.

    numbers: the window that each tick belongs to.
    quotes: of the ticks; without them the ticks are folded one by one.
    """
    steps = np.diff(numbers)
    if len(steps) and int(steps.min()) < 0:
        order = np.argsort(numbers, kind="stable")
        ticks, numbers = ticks.only(order), numbers[order]
        quotes = None if quotes is None else quotes.only(ticks, order)
        steps = np.diff(numbers)
    starts = np.append(0, np.flatnonzero(steps) + 1)
    known = numbers[starts].tolist()
    bounds = pairwise([*starts.tolist(), len(numbers)])
    sums = None if quotes is None else _sums(quotes, starts)
    if quotes is None or sums is None:
        trades_known = bool((ticks.table.trade_size[ticks.rows] >= 0).all())
        offsets, late = ticks.offset.tolist(), ticks.late
        for number, (begin, end) in zip(known, bounds, strict=True):
            yield (
                number,
                windows.fold(
                    ticks.ticks[begin:end],
                    ticks.partition,
                    offsets[begin:end],
                    int(late[begin:end].sum()),
                    trades_known=trades_known,
                ),
            )
        return
    for number, (begin, end), totals in zip(known, bounds, sums, strict=True):
        yield number, _aggregate(quotes, begin, end, totals)


class _Sums(NamedTuple):
    """The sums of one window."""

    spread: Decimal
    bps: Decimal
    late: int
    sized_ticks: int
    bid_size: Decimal
    ask_size: Decimal
    trades: TradeSums | None


def _sums(quotes: PairQuotes, starts: Ints) -> list[_Sums] | None:
    """Return the sums of each window, None where 64 bits are too few for a trade.

    starts: where each window begins; their ticks follow one another.
    """
    ticks = quotes.ticks
    trades = scaled_trades(ticks)
    if trades is None:
        return None
    price, price_scale, size, size_scale = trades
    bid_size, ask_size = quotes.bid_size.units, quotes.ask_size.units
    is_sized = (bid_size >= 0) & (ask_size >= 0)
    spreads, bps, late, sized_ticks, bid_sizes, ask_sizes, counts, volumes, bought = _totals(
        [
            *(quotes.spread.units, _bps_units(quotes), ticks.late),
            *(is_sized, bid_size * is_sized, ask_size * is_sized),
            *(size > 0, size, size * ticks.table.is_buy[ticks.rows]),
        ],
        starts,
    )
    of_trades: list[TradeSums | None] = [None] * len(starts)
    if int(size.min()) >= 0:
        of_trades = list(
            map(
                TradeSums,
                counts,
                _decimals(volumes, size_scale),
                _decimals(_notionals(price, size, starts), price_scale + size_scale),
                _decimals(bought, size_scale),
            )
        )
    return list(
        map(
            _Sums,
            _decimals(spreads, quotes.scale),
            _decimals(bps, BPS_PLACES),
            late,
            sized_ticks,
            _decimals(bid_sizes, quotes.size_scale),
            _decimals(ask_sizes, quotes.size_scale),
            of_trades,
        )
    )


def _notionals(price: Ints, size: Ints, starts: Ints) -> list[int]:
    """Return the sum of price times size of each window."""
    price = np.maximum(price, 0)  # without a trade the price may be missing, and the size is 0
    if int(price.max()) * int(size.max()) > _MAX_INT // len(price):
        exact: list[int] = np.add.reduceat(price.astype(object) * size, starts).tolist()
        return exact
    return _totals([price * size], starts)[0]


def _totals(columns: Sequence[Ints | Flags], starts: Ints) -> list[list[int]]:
    """Return the sum of each window's numbers of each column, whatever its size."""
    matrix = np.array(columns, np.int64)
    totals: list[list[int]] = np.add.reduceat(matrix, starts, axis=1).tolist()
    # The sums of a column with a number this large may have overflowed.
    for row in np.flatnonzero(matrix.max(axis=1) > _MAX_INT // matrix.shape[1]).tolist():
        totals[row] = np.add.reduceat(matrix[row].astype(object), starts).tolist()
    return totals


def _decimals(numbers: Iterable[int], scale: int) -> list[Decimal]:
    return [Decimal(number).scaleb(-scale, EXACT) for number in numbers]


def _aggregate(quotes: PairQuotes, begin: int, end: int, sums: _Sums) -> Aggregate:
    """Return the aggregate of the ticks of one window, which follow one another."""
    ticks, scale, times = quotes.ticks, quotes.scale, quotes.ticks.time[begin:end]
    mid, spread = quotes.mid_price, quotes.spread
    opens = begin + int(times.argmin())  # of equal times the first
    closes = end - 1 - int(times[::-1].argmax())  # and the last

    def highest(column: NumberColumn) -> Decimal:
        return decimal(column, begin + int(column.units[begin:end].argmax()), scale)

    def lowest(column: NumberColumn) -> Decimal:
        return decimal(column, begin + int(column.units[begin:end].argmin()), scale)

    return Aggregate(
        ticks=end - begin,
        open=decimal(mid, opens, scale),
        opened=(from_microseconds(int(ticks.time[opens])), ticks.partition, int(ticks.offset[opens])),
        high=highest(mid),
        low=lowest(mid),
        close=decimal(mid, closes, scale),
        closed=(from_microseconds(int(ticks.time[closes])), ticks.partition, int(ticks.offset[closes])),
        highest_bid=highest(quotes.bid),
        lowest_ask=lowest(quotes.ask),
        spread_sum=sums.spread,
        max_spread=highest(spread),
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
    division, as many decimals at a time as do fit.
    """
    spread, total = quotes.spread.units, quotes.bid.units + quotes.ask.units
    largest = int(total.max())
    at_once = next((decimals for decimals in (12, 6, 4, 3) if largest <= _MAX_INT // (2 * 10**decimals)), 0)
    if not at_once:
        exact = zip(spread.tolist(), total.tolist(), strict=True)
        return np.array([(4 * 10**12 * s + m) // (2 * m) for s, m in exact], np.int64)
    quotient = 2 * spread // total
    rest = 2 * spread - quotient * total
    for _ in range(12 // at_once):
        rest *= 10**at_once
        digits = rest // total
        rest -= digits * total
        quotient = quotient * 10**at_once + digits
    rounded: Ints = quotient + (2 * rest >= total)
    return rounded
