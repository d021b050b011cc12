"""Aggregates of many ticks at once: `windows.fold` on columns."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.market import windows
from cryptometrics.market.table_metrics import decimal
from cryptometrics.market.ticks import EXACT
from cryptometrics.market.windows import BPS_PLACES, Aggregate
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
    bps = None if quotes is None else _bps_units(quotes)
    first = int(numbers[0])
    known = [first] if (numbers == first).all() else np.unique(numbers).tolist()
    for number in known:
        rows = np.arange(len(numbers)) if len(known) == 1 else np.flatnonzero(numbers == number)
        if quotes is None or bps is None:
            chosen = [ticks.ticks[row] for row in rows.tolist()]
            offsets, late = ticks.offset[rows].tolist(), int(ticks.late[rows].sum())
            yield number, windows.fold(chosen, ticks.partition, offsets, late)
        else:
            yield number, _aggregate(quotes, rows, bps)


def _aggregate(quotes: PairQuotes, rows: Rows, bps: Ints) -> Aggregate:
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
        spread_sum=Decimal(_sum(spread.units[rows])).scaleb(-scale, EXACT),
        max_spread=decimal(spread, int(rows[spread.units[rows].argmax()]), scale),
        spread_bps_sum=Decimal(_sum(bps[rows])).scaleb(-BPS_PLACES, EXACT),
        late=int(ticks.late[rows].sum()),
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


def _sum(numbers: Ints) -> int:
    """Return the sum of numbers that are not negative, whatever its size."""
    if int(numbers.max()) > _MAX_INT // len(numbers):
        return sum(numbers.tolist())
    return int(numbers.sum())
