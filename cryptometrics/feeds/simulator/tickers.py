"""The ticker messages of one pair, in the wire format. Pure.

What is expensive to build, such as the text of a size, is built once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.feeds.simulator.currencies import currency, split
from cryptometrics.feeds.simulator.quotes import LARGEST, SIZE_ROWS, SIZES_PER_ROW
from cryptometrics.market.venues import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from cryptometrics.feeds.simulator.currencies import PriceLevel

    Trade = tuple[str, int, int, int, bool, int, int, int, int]
    """The event time, and the columns of `Ticks`."""

_VENUE = f',"venue":"{SIMULATED}"'
SIZE_DECIMALS = 8
LARGEST_TRADE = 20_000
"""Worth of the largest trade, in US dollars; most are small."""
STATISTICS_EVERY = 32
"""Trades between two updates of the 24-hour statistics; an update per trade would double the cost."""
MAX_CACHED_TEXTS = 500
"""Prices whose text is cached per pair: the path soon returns to most of them.

With forty times as many, messages are made up to a tenth faster, but memory grows for hours."""


class _PriceTexts(dict[int, str]):
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


class TickerWriter:
    """Writes the trades of one pair as ticker messages."""

    def __init__(self, pair: str, level: PriceLevel, random: Random, first_trade_id: int) -> None:
        self.key = pair.encode()
        self.next_trade_id = first_trade_id
        self._product = f',"product_id":"{pair}","price":"'
        self._texts = _PriceTexts(level.decimals)
        self._sequence = random.randrange(10**9, 4 * 10**10)
        self._open = level.ticks
        self._low, self._high = max(level.ticks * 49 // 50, 1), level.ticks * 51 // 50 + 1
        largest = max(2, int(LARGEST_TRADE * 10**SIZE_DECIMALS / currency(split(pair)[0]).price))
        self._sizes = [
            1 + random.randrange(1 + (largest >> row))
            for row in range(SIZE_ROWS)
            for _ in range(SIZES_PER_ROW)
        ]
        self._sizes[LARGEST] = largest
        self._size_texts = [decimal_text(size, SIZE_DECIMALS) for size in self._sizes]
        self._volume_day = largest * random.randrange(500, 5_000)
        self._volume_month = self._volume_day * random.randrange(20, 40)
        self._statistics = self._statistics_text()

    def write(self, trades: Iterable[Trade]) -> list[bytes]:
        """Return the messages of the next trades."""
        # Many trades at once, with all changing state in local names: that saves a third of the time.
        sizes, texts, size_texts, product = self._sizes, self._texts, self._size_texts, self._product
        low, high, volume, statistics = self._low, self._high, self._volume_day, self._statistics
        sequence, trade_id = self._sequence, self.next_trade_id
        messages: list[bytes] = []
        for time, bid, ask, price, is_buy, bid_size, ask_size, last_size, jump in trades:
            volume += sizes[last_size]
            sequence += jump
            if not low <= price <= high or trade_id % STATISTICS_EVERY == 0:
                self._low, self._high = low, high = min(low, price), max(high, price)
                self._volume_day = volume
                statistics = self._statistics = self._statistics_text()
            messages.append(
                f'{{"type":"ticker","sequence":{sequence}{product}{texts[price]}{statistics}{texts[bid]}",'
                f'"best_bid_size":"{size_texts[bid_size]}","best_ask":"{texts[ask]}",'
                f'"best_ask_size":"{size_texts[ask_size]}","side":"{"buy" if is_buy else "sell"}",'
                f'"time":"{time}","trade_id":{trade_id},"last_size":"{size_texts[last_size]}"{_VENUE}}}'.encode()
            )
            trade_id += 1
        self._volume_day = volume
        self._sequence, self.next_trade_id = sequence, trade_id
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
