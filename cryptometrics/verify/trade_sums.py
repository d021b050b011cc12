"""Sum up trades by minute, put such sums together, and compare them with those stored. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.verify.exact_numbers import sums
from cryptometrics.verify.minute_sums import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from cryptometrics.verify.byte_words import Integers
    from cryptometrics.verify.exact_numbers import Exact, Numbers

UNKNOWN = -1
"""The number of trades of a minute that is not known: NULL in the table."""


@dataclass(slots=True)
class TradeColumns:
    """The sums of some minutes of a market, in the order of time; numbers in units of 10 ** -decimals."""

    starts: Integers
    """In microseconds from the epoch."""
    ticks: Integers
    is_known: NDArray[np.bool_]
    """Whether all rows were stored by a version that sums up trades."""
    trades: Integers
    size_decimals: int
    notional_decimals: int
    volume: Exact
    notional: Exact
    buy_volume: Exact


def sum_trades(
    times: Integers,
    is_known: NDArray[np.bool_],
    is_trade: NDArray[np.bool_],
    prices: tuple[Exact, int],
    sizes: tuple[Exact, int],
    taker_bought: NDArray[np.bool_],
) -> TradeColumns:
    """Return the sums of some ticks, in any order.

    prices, sizes: whole numbers, 0 where there is no trade; and how many of their digits are decimals.
    """
    (price, price_decimals), (size, size_decimals) = prices, sizes
    minutes = times // MINUTE_US
    if (minutes[1:] < minutes[:-1]).any():
        order = np.argsort(minutes, kind="stable")
        minutes, price, size = minutes[order], price[order], size[order]
        is_known, is_trade, taker_bought = is_known[order], is_trade[order], taker_bought[order]
    begins = np.concatenate(([0], np.flatnonzero(minutes[1:] != minutes[:-1]) + 1))
    if int(price.max()) * int(size.max()) >= 2**63:
        price = price.astype(object)
    return TradeColumns(
        starts=minutes[begins] * MINUTE_US,
        ticks=np.diff(begins, append=len(minutes)),
        is_known=np.logical_and.reduceat(is_known, begins),
        trades=np.add.reduceat(is_trade.astype(np.int64), begins),
        size_decimals=size_decimals,
        notional_decimals=price_decimals + size_decimals,
        volume=sums(size, begins),
        notional=sums(price * size, begins),
        buy_volume=sums(size * taker_bought, begins),
    )


def merged(parts: Sequence[TradeColumns]) -> TradeColumns | None:
    """Return the sums of all parts of a market, with one entry for each minute."""
    if not parts:
        return None
    size_decimals = max(part.size_decimals for part in parts)
    notional_decimals = max(part.notional_decimals for part in parts)
    starts = np.concatenate([part.starts for part in parts])
    order = np.argsort(starts, kind="stable")
    starts = starts[order]
    begins = np.concatenate(([0], np.flatnonzero(starts[1:] != starts[:-1]) + 1))

    def added(columns: Iterable[Exact]) -> Exact:
        return sums(np.concatenate(list(columns))[order], begins)

    return TradeColumns(
        starts=starts[begins],
        ticks=added(part.ticks for part in parts),
        is_known=np.logical_and.reduceat(np.concatenate([part.is_known for part in parts])[order], begins),
        trades=added(part.trades for part in parts),
        size_decimals=size_decimals,
        notional_decimals=notional_decimals,
        volume=added(_shifted(part.volume, size_decimals - part.size_decimals) for part in parts),
        notional=added(_shifted(part.notional, notional_decimals - part.notional_decimals) for part in parts),
        buy_volume=added(_shifted(part.buy_volume, size_decimals - part.size_decimals) for part in parts),
    )


def differing_minutes(
    true: TradeColumns,
    starts: Integers,
    ticks: Integers,
    trades: Integers,
    volume: Numbers,
    notional: Numbers,
    buy_volume: Numbers,
) -> Integers:
    """Return the starts of the stored minutes with other trades, of those whose ticks were all read."""
    at = np.minimum(np.searchsorted(true.starts, starts), len(true.starts) - 1)
    is_read = (true.starts[at] == starts) & (true.ticks[at] == ticks)
    is_known = true.is_known[at]
    differs = trades != np.where(is_known, true.trades[at], UNKNOWN)
    for numbers, should, decimals in (
        (volume, true.volume, true.size_decimals),
        (notional, true.notional, true.notional_decimals),
        (buy_volume, true.buy_volume, true.size_decimals),
    ):
        places = max(numbers.places(), -(-decimals // 4))
        is_other = numbers.scaled(places) != _shifted(should[at], 4 * places - decimals)
        differs |= (numbers.is_null == is_known) | (is_known & is_other)
    differing: Integers = starts[is_read & differs]
    return differing


def _shifted(numbers: Exact, places: int) -> Exact:
    """Return numbers times 10 ** places."""
    if not places:
        return numbers
    shifted: Exact = numbers.astype(object) * 10**places
    return shifted
