"""Sum up the rows of each market by minute, in memory that does not grow with the rows. Pure but for a file.

Minutes that a block touches are summed up and set aside as parts: the same minute may come again, late or
from another partition. `MinuteSums.of` puts the parts of a market together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.verify.exact_numbers import BASE, rescaled, sums
from cryptometrics.verify.market_parts import MarketParts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cryptometrics.verify.byte_words import Integers
    from cryptometrics.verify.exact_numbers import Exact
    from cryptometrics.verify.pair_rows import MarketKey, PairRows

MINUTE_US = 60_000_000
BPS_PLACES = 2
"""Spreads in basis points are whole numbers of 10,000 ** -2."""
_FACTORS = 20_000, 20_000, 10_000
"""Their product is 4 * 10 ** 12: basis points of half the sum of bid and ask, to eight places."""


@dataclass(slots=True)
class MinuteColumns:
    """Some minutes of a market in the order of time; prices in 10,000 ** -places, sizes in -size_places."""

    places: int
    size_places: int
    starts: Integers
    """In microseconds from the epoch, like every time."""
    ticks: Integers
    late: Integers
    is_late_known: NDArray[np.bool_]
    """Whether all rows came with the trade ids before them."""
    open_at: Integers
    open_partition: Integers
    open_offset: Integers
    close_at: Integers
    close_partition: Integers
    close_offset: Integers
    sized_ticks: Integers
    is_sized: NDArray[np.bool_]
    """Whether all rows were stored with sizes; if not, the sums of sizes are unknown."""
    open: Exact
    high: Exact
    low: Exact
    close: Exact
    highest_bid: Exact
    lowest_ask: Exact
    max_spread: Exact
    spread_sum: Exact
    spread_bps_sum: Exact
    bid_size_sum: Exact
    ask_size_sum: Exact

    def __len__(self) -> int:
        return len(self.starts)


PRICE_COLUMNS = (*("open", "high", "low", "close", "highest_bid", "lowest_ask", "max_spread", "spread_sum"),)
SIZE_COLUMNS = ("bid_size_sum", "ask_size_sum")
_ADDED = ("ticks", "late", "sized_ticks", "spread_sum", "spread_bps_sum", *SIZE_COLUMNS)
_OPEN = ("open_at", "open_partition", "open_offset", "open")
_CLOSE = ("close_at", "close_partition", "close_offset", "close")
_GREATEST = ("high", "highest_bid", "max_spread")
_LEAST = ("low", "lowest_ask", "is_sized", "is_late_known")


class MinuteSums:
    """The minutes of all rows of a group; must be closed."""

    def __init__(self) -> None:
        self._parts: MarketParts[MinuteColumns] = MarketParts()

    def close(self) -> None:
        """Delete the parts."""
        self._parts.close()

    @property
    def markets(self) -> list[MarketKey]:
        """The markets with rows, in the order of their bytes."""
        return self._parts.markets

    def add(self, rows: PairRows, *, is_late_known: bool = True) -> None:
        """Add some rows; is_late_known: whether they say what came before them."""
        minutes = minutes_of(rows)
        minutes.is_late_known[:] = is_late_known
        self._parts.add(rows.market, minutes)

    def starts(self) -> set[int]:
        """Return the starts of all minutes, in microseconds from the epoch."""
        starts: set[int] = set()
        for part in self._parts:
            starts.update(part.starts.tolist())
        return starts

    def of(self, market: MarketKey) -> MinuteColumns | None:
        """Return all minutes of a market, after the last row."""
        parts = self._parts.of(market)
        return _merged(parts) if parts else None


def minutes_of(rows: PairRows) -> MinuteColumns:
    """Return the minutes of some rows."""
    times = rows.times
    order: slice | Integers = slice(None)
    if (times[1:] < times[:-1]).any():
        order = np.argsort(times, kind="stable")  # of equal times the order of the topic
        times = times[order]
    minutes = times // MINUTE_US
    begins = np.concatenate(([0], np.flatnonzero(minutes[1:] != minutes[:-1]) + 1))
    ends = np.append(begins[1:], len(times)) - 1
    offsets, mid, bid, ask = (c[order] for c in (rows.offsets, rows.mid_price, rows.bid, rows.ask))
    spread = ask - bid
    both = (rows.has_bid_size & rows.has_ask_size)[order]
    partition = np.full(len(begins), rows.partition.partition, np.int64)
    return MinuteColumns(
        places=rows.places,
        size_places=rows.size_places,
        starts=minutes[begins] * MINUTE_US,
        ticks=ends - begins + 1,
        late=np.add.reduceat(rows.is_late[order].astype(np.int64), begins),
        open_at=times[begins],
        open_partition=partition,
        open_offset=offsets[begins],
        close_at=times[ends],
        close_partition=partition,
        close_offset=offsets[ends],
        sized_ticks=np.add.reduceat(both.astype(np.int64), begins),
        is_late_known=np.ones(len(begins), np.bool_),
        is_sized=np.logical_and.reduceat(~rows.is_before_sizes[order], begins),
        open=mid[begins],
        high=np.maximum.reduceat(mid, begins),
        low=np.minimum.reduceat(mid, begins),
        close=mid[ends],
        highest_bid=np.maximum.reduceat(bid, begins),
        lowest_ask=np.minimum.reduceat(ask, begins),
        max_spread=np.maximum.reduceat(spread, begins),
        spread_sum=sums(spread, begins),
        spread_bps_sum=sums(spread_bps(bid, ask), begins),
        bid_size_sum=sums(rows.bid_size[order] * both, begins),
        ask_size_sum=sums(rows.ask_size[order] * both, begins),
    )


def spread_bps(bid: Exact, ask: Exact) -> Exact:
    """Return each spread in basis points of the mid price, rounded half up to eight places."""
    spread, total = ask - bid, ask + bid
    while total.dtype != object and int(total.max()) >= 2**62 // (2 * _FACTORS[0]):
        if (bid % BASE).any() or (ask % BASE).any():
            spread, total = spread.astype(object), total.astype(object)
        else:  # the mid price has a place more
            bid, ask = bid // BASE, ask // BASE
            spread, total = ask - bid, ask + bid
    if total.dtype != object and int(spread.max()) >= 2**62 // _FACTORS[0]:
        spread, total = spread.astype(object), total.astype(object)
    divisor = np.where(total > 0, 2 * total, 1)
    quotient, rest = spread * 0, spread
    for number, factor in enumerate(_FACTORS):
        is_last = number == len(_FACTORS) - 1
        rest = rest * factor + (total if is_last else 0)
        part = rest // divisor  # numpy's divmod does not take Python's integers
        rest = rest - part * divisor
        quotient = quotient * factor + part
    return quotient


def _merged(parts: list[MinuteColumns]) -> MinuteColumns:
    """Put the parts of a market together."""
    places, size_places = max(p.places for p in parts), max(p.size_places for p in parts)
    columns: dict[str, Exact] = {}
    for name in MinuteColumns.__slots__:
        if name in {"places", "size_places"}:
            continue
        arrays = [getattr(part, name) for part in parts]
        if name in PRICE_COLUMNS:
            arrays = [rescaled(a, places - p.places) for a, p in zip(arrays, parts, strict=True)]
        elif name in SIZE_COLUMNS:
            arrays = [rescaled(a, size_places - p.size_places) for a, p in zip(arrays, parts, strict=True)]
        columns[name] = np.concatenate(arrays)
    starts = columns["starts"]
    if (starts[1:] <= starts[:-1]).any():
        columns = _regrouped(columns)
    return MinuteColumns(places=places, size_places=size_places, **columns)


def _regrouped(columns: dict[str, Exact]) -> dict[str, Exact]:
    """Sort minutes by time, and make one of those with the same start."""
    starts = columns["starts"]
    order = np.argsort(starts, kind="stable")
    by_start = {name: column[order] for name, column in columns.items()}
    ordered = by_start["starts"]
    begins = np.concatenate(([0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1))
    ends = np.append(begins[1:], len(ordered)) - 1
    merged = {"starts": ordered[begins]}
    for name in _ADDED:
        merged[name] = sums(by_start[name], begins)
    for names, function in ((_GREATEST, np.maximum), (_LEAST, np.minimum)):
        for name in names:
            merged[name] = function.reduceat(by_start[name], begins)
    for event, at in ((_OPEN, begins), (_CLOSE, ends)):
        time, partition, offset, _ = event
        place = np.lexsort((columns[offset], columns[partition], columns[time], starts))[at]
        merged |= {name: columns[name][place] for name in event}
    return merged
