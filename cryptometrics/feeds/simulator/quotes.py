"""Quotes and trades: what ticks of some pairs look like when they sample the latent prices. Pure.

All ticks of a block are computed at once, as columns. Each takes its random choices from one 64-bit draw, of
which the lowest byte is not used here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cryptometrics.feeds.simulator.currencies import currency, split
from cryptometrics.feeds.simulator.fixed_point import MAX_MANTISSA_BITS, multiplier, scaled
from cryptometrics.feeds.simulator.path import PricePath
from cryptometrics.feeds.simulator.scenarios import SWEEP_DEPTH, Effect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cryptometrics.feeds.simulator.currencies import PriceLevel
    from cryptometrics.feeds.simulator.fixed_point import Whole
    from cryptometrics.feeds.simulator.scenarios import Conditions, Flags

SIZE_ROWS, SIZES_PER_ROW = 24, 64
"""Sizes to draw from; each row's are about half of the row's before."""
USUAL_ROWS = 14
"""Rows of the usual sizes; the others follow when sizes shrink."""
LARGEST = 0
"""Place of the largest size."""
PART_BITS = 8
"""Bits of a price step that the latent price has before it is rounded."""
_HALF = 1 << 15


class Ticks(NamedTuple):
    """Ticks as columns: prices in steps of the pair, sizes as places in its table."""

    bids: Whole
    asks: Whole
    prices: Whole
    is_buy: Flags
    """Whether the taker buys and pays the ask."""
    bid_sizes: Whole
    ask_sizes: Whole
    last_sizes: Whole
    jumps: Whole
    """Growth of the sequence number."""


class QuoteMaker:
    """Makes the ticks of some pairs."""

    def __init__(
        self, seed: int, pairs: Sequence[str], levels: Mapping[str, PriceLevel], conditions: Conditions
    ) -> None:
        """levels: pair → the level at which it begins."""
        names = list(dict.fromkeys(name for pair in pairs for name in split(pair)))
        self._path = PricePath(seed, names, conditions)
        self._conditions = conditions
        self._sweeps = conditions.begins(Effect.SWEEP)
        """When a coming fat finger sells."""
        places = [[names.index(name) for name in split(pair)] for pair in pairs]
        self._bases, self._quotes = np.array(places, np.int64).T
        ticks = [levels[pair].ticks for pair in pairs]
        # A level is mantissa · 2^exponent: a mantissa fits into 31 bits, whatever the level.
        exponents = [max(level.bit_length() - MAX_MANTISSA_BITS, -PART_BITS) for level in ticks]
        mantissas = [
            level >> power if power > 0 else level << -power
            for level, power in zip(ticks, exponents, strict=True)
        ]
        self._mantissas = np.array(mantissas, np.int64)
        self._exponents = np.array(exponents, np.int64) + PART_BITS
        spreads = [sum(currency(name).spread for name in split(pair)) for pair in pairs]
        self._spreads = np.array(spreads, np.int64) * ((1 << 24) // 100_000)

    def ticks(self, pairs: Whole, times: Whole, draws: Whole) -> Ticks:
        """Return the next ticks; a negative pair is the place of something else, and its tick means nothing.

        times: microseconds since the start, in ascending order, also from call to call.
        """
        at, holds = self._conditions.at, self._conditions.holds
        frozen = holds(Effect.FROZEN, times)
        if frozen is not None:
            times = self._frozen_since(times, frozen)
            draws = np.where(frozen, 0, draws)
        sample = self._path.sample(times, self._bases[pairs], self._quotes[pairs])
        middles = scaled(self._mantissas[pairs], self._exponents[pairs], sample.logarithms)
        width = sample.weather
        wider = at(Effect.SPREAD, times)
        if wider is not None:
            width = width + wider
        # A quarter less to a quarter more than usual, and the middle not always at the latent price.
        usual = middles * self._spreads[pairs] >> 16
        spreads = (usual * (multiplier(width) >> 8) >> 8) * (24 + (draws >> 8 & 15)) >> 5
        spreads = np.maximum(spreads + _HALF >> 16, 1)
        middles += (spreads << PART_BITS) * ((draws >> 12 & 15) - 8) >> 6
        bids = np.maximum(middles - (spreads - 1 << PART_BITS - 1) >> PART_BITS, 1)
        asks = bids + spreads
        is_buy = (draws >> 16 & 1).astype(bool)
        rows = np.maximum(sample.weather + _HALF >> 16, 0)  # twice the volatility halves the sizes
        smaller = at(Effect.SIZE, times)
        if smaller is not None:
            rows += smaller
        bid_sizes, ask_sizes, last_sizes = (_sizes(draws >> bit, rows) for bit in (17, 27, 37))
        for place in self._sweep(pairs, times):
            bids[place] = max(int(bids[place]) * (100 - SWEEP_DEPTH) // 100, 1)
            is_buy[place], last_sizes[place] = False, LARGEST
        crossed = holds(Effect.CROSSED, times)
        if crossed is not None:
            crossed &= pairs == 0
            bids, asks = np.where(crossed, asks, bids), np.where(crossed, bids, asks)
        prices = np.where(is_buy, asks, bids)
        return Ticks(bids, asks, prices, is_buy, bid_sizes, ask_sizes, last_sizes, 1 + (draws >> 47 & 63))

    def _frozen_since(self, times: Whole, frozen: Flags) -> Whole:
        """Return the times, and instead of the frozen ones when they froze."""
        begins = np.array(self._conditions.begins(Effect.FROZEN), np.int64)
        since: Whole = begins[np.searchsorted(begins, times, side="right") - 1]
        return np.where(frozen, since, times)

    def _sweep(self, pairs: Whole, times: Whole) -> Iterator[int]:
        """Yield the places of the sales of fat fingers."""
        while self._sweeps:
            places = np.flatnonzero((pairs == 0) & (times >= self._sweeps[0]))
            if not len(places):
                return
            del self._sweeps[0]
            yield int(places[0])


def _sizes(draws: Whole, rows: Whole) -> Whole:
    """Return the places of sizes that are halved `rows` times."""
    row = np.minimum(((draws & 15) * USUAL_ROWS >> 4) + rows, SIZE_ROWS - 1)
    places: Whole = row * SIZES_PER_ROW + (draws >> 4 & SIZES_PER_ROW - 1)
    return places
