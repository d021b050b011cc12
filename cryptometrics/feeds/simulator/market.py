"""The simulated market of one pair: a random walk, a varying spread, and a ticker message per trade.

Prices are whole multiples of the pair's price step, sizes of 10^-8 of the base currency: no floats, no
rounding, and the same numbers on every machine. Each trade takes its random choices from one 64-bit draw.
What is expensive to build, such as the text of a size, is built once and drawn from.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

SIZE_DECIMALS = 8
BURST_TRADES = 150
"""Length of a burst in trades; steps and spread are larger during a burst."""
BURST_FACTOR = 6
STATISTICS_EVERY = 32
"""Trades between two updates of the 24-hour statistics; an update per trade would double the cost."""
STEPS, SIZES = 256, 512
"""Number of steps and sizes to draw from."""
MAX_CACHED_TEXTS = 20_000
"""Prices whose text is cached per pair: the walk soon returns to most of them."""


class PriceLevel(NamedTuple):
    """The price at which a pair trades: the step is 10^-decimals, and the walk starts at `ticks` steps."""

    decimals: int
    ticks: int


LEVELS = {
    "BTC-USD": PriceLevel(2, 64_250_00),
    "ETH-USD": PriceLevel(2, 3_120_00),
    "SOL-USD": PriceLevel(2, 148_00),
    "XRP-USD": PriceLevel(4, 5_300),
    "ADA-USD": PriceLevel(4, 4_500),
    "DOGE-USD": PriceLevel(5, 12_500),
    "LTC-USD": PriceLevel(2, 84_00),
    "LINK-USD": PriceLevel(3, 14_500),
    "AVAX-USD": PriceLevel(2, 35_00),
    "ETH-BTC": PriceLevel(5, 4_850),
}


def level_of(pair: str) -> PriceLevel:
    """Return a pair's price level; an unknown pair gets a plausible one, always the same."""
    known = LEVELS.get(pair)
    if known is not None:
        return known
    # Not hash(), which differs from process to process.
    number = zlib.crc32(pair.encode())
    return PriceLevel(decimals=2 + number % 7, ticks=2_000 + (number >> 8) % 98_000)


class _Texts(dict[int, str]):
    """Cache of the texts of prices: of 6425000, "64250.00" at 2 decimals."""

    def __init__(self, decimals: int) -> None:
        self._decimals = decimals

    def __missing__(self, units: int) -> str:
        if len(self) >= MAX_CACHED_TEXTS:
            self.clear()
        text = self[units] = decimal_text(units, self._decimals)
        return text


def decimal_text(units: int, decimals: int) -> str:
    """Return `units` · 10^-decimals as a plain decimal with all decimals; `units` must not be negative."""
    digits = str(units).zfill(decimals + 1)
    return f"{digits[:-decimals]}.{digits[-decimals:]}"


class Market:
    """The market of one pair; `trades` generates the next trades."""

    def __init__(self, pair: str, random: Random, first_trade_id: int) -> None:
        level = level_of(pair)
        self.pair = pair
        self.key = pair.encode()
        self._texts = _Texts(level.decimals)
        self._trade_id = first_trade_id - 1
        self._sequence = random.randrange(10**9, 4 * 10**10)
        self._bid = self._open = level.ticks
        self._lowest, self._highest = level.ticks // 2, level.ticks * 2
        self._low, self._high = level.ticks * 49 // 50, level.ticks * 51 // 50
        self._burst = 0

        # A step is about 0.003 % of the price; each has its opposite, so that the walk has no drift.
        reach = max(2, level.ticks // 15_000)
        steps = [random.randrange(reach + 1) * random.randrange(2) for _ in range(STEPS // 2)]
        self._steps = steps + [-step for step in steps]
        # About 0.01 % of the price, at least 2 steps.
        self._usual_spread = self._spread = max(2, level.ticks // 10_000)

        # A trade is worth at most about 20,000 of the quote currency; most are small.
        largest = max(2, 20_000 * 10 ** (SIZE_DECIMALS + level.decimals) // level.ticks)
        self._sizes = [1 + random.randrange(1 + (largest >> random.randrange(14))) for _ in range(SIZES)]
        self._size_texts = [decimal_text(size, SIZE_DECIMALS) for size in self._sizes]
        self._volume_day = largest * random.randrange(500, 5_000)
        self._volume_month = self._volume_day * random.randrange(20, 40)
        self._statistics = self._statistics_text()

    def trades(self, draws: Sequence[int], times: Sequence[str]) -> list[bytes]:
        """Return the ticker messages of the next trades.

        draws: 64 random bits per trade; the lowest 8 are not used here (they select the pair).
        times: RFC 3339, one per trade.
        """
        # Many trades at once, with all changing state in local names: that halves the time.
        steps, sizes, texts, size_texts = self._steps, self._sizes, self._texts, self._size_texts
        lowest, highest, low, high = self._lowest, self._highest, self._low, self._high
        bid, spread, burst, volume = self._bid, self._spread, self._burst, self._volume_day
        sequence, trade_id = self._sequence, self._trade_id
        statistics = self._statistics
        begin, product = '{"type":"ticker","sequence":', f',"product_id":"{self.pair}","price":"'
        messages: list[bytes] = []
        for draw, time in zip(draws, times, strict=True):
            step = steps[draw >> 8 & 255]
            usual = self._usual_spread
            if burst:
                burst -= 1
                step *= BURST_FACTOR
                usual *= BURST_FACTOR
            elif draw >> 54 == 0:  # one of 1024 trades
                burst = BURST_TRADES

            bid += step
            if not lowest <= bid <= highest:
                bid -= 2 * step
            # A mean-reverting walk: an eighth of the way back to the usual spread, plus as much by chance.
            spread += (usual - spread >> 3) + (usual * (draw >> 16 & 15) >> 5) - (usual >> 2)
            if spread < 1:  # noqa: PLR1730  (a call is slower)
                spread = 1
            ask = bid + spread

            # Coinbase's `side` is the taker's: a buyer pays the ask.
            if draw >> 20 & 1:
                price, side = ask, "buy"
            else:
                price, side = bid, "sell"
            size = draw >> 21 & 511
            volume += sizes[size]
            sequence += 1 + (draw >> 48 & 63)
            trade_id += 1
            if not low <= price <= high or trade_id % STATISTICS_EVERY == 0:
                self._low, self._high = low, high = min(low, price), max(high, price)
                self._volume_day = volume
                statistics = self._statistics = self._statistics_text()
            messages.append(
                f'{begin}{sequence}{product}{texts[price]}{statistics}{texts[bid]}","best_bid_size":"'
                f'{size_texts[draw >> 30 & 511]}","best_ask":"{texts[ask]}","best_ask_size":"'
                f'{size_texts[draw >> 39 & 511]}","side":"{side}","time":"{time}","trade_id":{trade_id},'
                f'"last_size":"{size_texts[size]}"}}'.encode()
            )
        self._bid, self._spread, self._burst, self._volume_day = bid, spread, burst, volume
        self._sequence, self._trade_id = sequence, trade_id
        return messages

    def _statistics_text(self) -> str:
        """Return the statistics of 24 hours and 30 days, with the JSON around them.

        Volumes are in the base currency.
        """
        texts = self._texts
        day = decimal_text(self._volume_day, SIZE_DECIMALS)
        month = decimal_text(self._volume_month + self._volume_day, SIZE_DECIMALS)
        return (
            f'","open_24h":"{texts[self._open]}","volume_24h":"{day}","low_24h":"{texts[self._low]}",'
            f'"high_24h":"{texts[self._high]}","volume_30d":"{month}","best_bid":"'
        )
