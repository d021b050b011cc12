"""One pair's simulated market: a price walk, a spread that breathes, and the ticker message of each trade.

Everything is counted in whole ticks of the pair's price (and sizes in 10^-8 of the base currency): no
float, no rounding, and the same numbers on every machine. What chance decides in one trade is cut from
a single 64-bit draw; what is dear to make, such as the text of a size, is made once and drawn from.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

SIZE_DECIMALS = 8
BURST_TRADES = 150
"""Trades that a burst lasts: steps and spread are larger meanwhile."""
BURST_FACTOR = 6
STATISTICS_EVERY = 32
"""Trades between two texts of the 24-hour statistics: made for each trade they would double its cost."""
STEPS, SIZES = 256, 512
"""How many steps and sizes there are to draw from."""
TEXTS_KEPT = 20_000
"""Prices whose text is remembered, for each pair: a walk comes back to most of them soon."""


class Level(NamedTuple):
    """Where a pair trades: a tick of its price is 10^-decimals, and the walk starts at `ticks` of them."""

    decimals: int
    ticks: int


LEVELS = {
    "BTC-USD": Level(2, 64_250_00),
    "ETH-USD": Level(2, 3_120_00),
    "SOL-USD": Level(2, 148_00),
    "XRP-USD": Level(4, 5_300),
    "ADA-USD": Level(4, 4_500),
    "DOGE-USD": Level(5, 12_500),
    "LTC-USD": Level(2, 84_00),
    "LINK-USD": Level(3, 14_500),
    "AVAX-USD": Level(2, 35_00),
    "ETH-BTC": Level(5, 4_850),
}


def level_of(pair: str) -> Level:
    """Return where a pair trades; one that is not known gets a plausible level, always the same."""
    known = LEVELS.get(pair)
    if known is not None:
        return known
    # Not hash(): that of a str differs from process to process.
    number = zlib.crc32(pair.encode())
    return Level(decimals=2 + number % 7, ticks=2_000 + (number >> 8) % 98_000)


class _Texts(dict[int, str]):
    """The text of each whole number of units, kept once made: of 6425000, "64250.00" at 2 decimals."""

    def __init__(self, decimals: int) -> None:
        self._decimals = decimals

    def __missing__(self, units: int) -> str:
        if len(self) >= TEXTS_KEPT:
            self.clear()
        text = self[units] = decimal_text(units, self._decimals)
        return text


def decimal_text(units: int, decimals: int) -> str:
    """Return `units` · 10^-decimals as a plain decimal with all its decimals; `units` is not negative."""
    digits = str(units).zfill(decimals + 1)
    return f"{digits[:-decimals]}.{digits[-decimals:]}"


class Market:
    """The market of one pair; `trades` makes the next ones."""

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

        # One step is some 0.003 % of the price; each has its opposite, so that the walk has no drift.
        reach = max(2, level.ticks // 15_000)
        steps = [random.randrange(reach + 1) * random.randrange(2) for _ in range(STEPS // 2)]
        self._steps = steps + [-step for step in steps]
        # Some 0.01 % of the price, but never less than a tick.
        self._usual_spread = self._spread = max(2, level.ticks // 10_000)

        # No trade is worth more than some 20,000 of the quote currency, and small ones are the rule.
        largest = max(2, 20_000 * 10 ** (SIZE_DECIMALS + level.decimals) // level.ticks)
        self._sizes = [1 + random.randrange(1 + (largest >> random.randrange(14))) for _ in range(SIZES)]
        self._size_texts = [decimal_text(size, SIZE_DECIMALS) for size in self._sizes]
        self._volume_day = largest * random.randrange(500, 5_000)
        self._volume_month = self._volume_day * random.randrange(20, 40)
        self._statistics = self._statistics_text()

    def trades(self, draws: Sequence[int], times: Sequence[str]) -> list[bytes]:
        """Return the ticker messages of the next trades.

        draws: of each 64 random bits, of which the lowest 8 are not used here (they choose the pair).
        times: RFC 3339, one a trade.
        """
        # Many at once, and all that changes from trade to trade in local names: half of the time goes there.
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
            # A walk that is drawn back to what is usual: an eighth of the way, and up to as much by chance.
            spread += (usual - spread >> 3) + (usual * (draw >> 16 & 15) >> 5) - (usual >> 2)
            if spread < 1:  # noqa: PLR1730  (a call takes longer)
                spread = 1
            ask = bid + spread

            # Coinbase's `side` is the taker's: who buys pays the ask.
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
        """Return the fields of the last 24 hours (and 30 days), with what stands around them.

        Volumes are in the base currency.
        """
        texts = self._texts
        day = decimal_text(self._volume_day, SIZE_DECIMALS)
        month = decimal_text(self._volume_month + self._volume_day, SIZE_DECIMALS)
        return (
            f'","open_24h":"{texts[self._open]}","volume_24h":"{day}","low_24h":"{texts[self._low]}",'
            f'"high_24h":"{texts[self._high]}","volume_30d":"{month}","best_bid":"'
        )
