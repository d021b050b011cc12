"""What the ticks of one pair add to its minutes: `windows.fold` on columns."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.market.table_decoder import moment
from cryptometrics.market.table_metrics import decimal
from cryptometrics.market.tick_decoder import EXACT
from cryptometrics.market.windows import BPS_PLACES, MINUTE, Aggregate
from cryptometrics.times import MICROSECOND

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from cryptometrics.market.table_metrics import Measured
    from cryptometrics.market.text_columns import Flags, Ints

_MINUTE_US = MINUTE // MICROSECOND
_MOST = 2**63 - 1
# The quotient is built from four groups of three decimals.
_GROUP, _GROUPS = 1000, 4


def fold(
    measured: Measured, partition: int, offsets: Ints, times: Ints, late: Flags
) -> Iterator[tuple[datetime, Aggregate]]:
    """Yield each minute in which there are ticks, and what they amount to in it.

    offsets, times (microseconds since 1970), late: of the measured ticks, which are all of one partition.
    """
    minutes = times // _MINUTE_US
    bps = _bps_units(measured)
    first = minutes[0]
    known = [int(first)] if (minutes == first).all() else np.unique(minutes).tolist()
    for minute in known:
        at = np.arange(len(times)) if len(known) == 1 else np.flatnonzero(minutes == minute)
        yield moment(minute * _MINUTE_US), _of_minute(measured, partition, at, offsets, times, late, bps)


def _of_minute(
    measured: Measured, partition: int, at: Ints, offsets: Ints, times: Ints, late: Flags, bps: Ints
) -> Aggregate:
    scale, own = measured.scale, times[at]
    opens = int(at[own.argmin()])  # of equal times the first
    closes = int(at[len(own) - 1 - own[::-1].argmax()])  # and the last
    mid, spread = measured.mid_price, measured.spread
    high, low = int(at[mid.units[at].argmax()]), int(at[mid.units[at].argmin()])
    return Aggregate(
        ticks=len(at),
        open=decimal(mid, opens, scale),
        opened=(moment(int(times[opens])), partition, int(offsets[opens])),
        high=decimal(mid, high, scale),
        low=decimal(mid, low, scale),
        close=decimal(mid, closes, scale),
        closed=(moment(int(times[closes])), partition, int(offsets[closes])),
        highest_bid=decimal(measured.bid, int(at[measured.bid.units[at].argmax()]), scale),
        lowest_ask=decimal(measured.ask, int(at[measured.ask.units[at].argmin()]), scale),
        spread_sum=Decimal(_sum(spread.units[at])).scaleb(-scale, EXACT),
        max_spread=decimal(spread, int(at[spread.units[at].argmax()]), scale),
        spread_bps_sum=Decimal(_sum(bps[at])).scaleb(-BPS_PLACES, EXACT),
        late=int(late[at].sum()),
    )


def _bps_units(measured: Measured) -> Ints:
    """Return each spread in 10^-8 basis points of the mid price, rounded half up: see `windows.spread_bps`.

    That is 2 * spread / (bid + ask) * 10^12. The product does not fit into 64 bits, so the division goes as
    by hand, three decimals at a time.
    """
    spread, total = measured.spread.units, measured.bid.units + measured.ask.units
    if int(total.max()) > _MOST // (2 * _GROUP):
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
    if int(numbers.max()) > _MOST // len(numbers):
        return sum(numbers.tolist())
    return int(numbers.sum())
