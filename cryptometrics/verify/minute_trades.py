"""Check the trades of the minutes, which no stored row holds, against the messages of the topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cryptometrics.times import from_microseconds, to_microseconds
from cryptometrics.verify.copy_blocks import copy_blocks
from cryptometrics.verify.exact_numbers import read_numbers
from cryptometrics.verify.findings import FindingKind
from cryptometrics.verify.market_parts import MarketParts
from cryptometrics.verify.message_layout import KINDS
from cryptometrics.verify.pair_rows import MarketKey
from cryptometrics.verify.stored_outcomes import POSTGRES_EPOCH_US, runs
from cryptometrics.verify.text_codes import TextCodes
from cryptometrics.verify.trade_sums import UNKNOWN, TradeColumns, differing_minutes, merged, sum_trades

if TYPE_CHECKING:
    from decimal import Decimal

    import psycopg
    from numpy.typing import NDArray

    from cryptometrics.verify.byte_words import Integers
    from cryptometrics.verify.exact_numbers import Exact
    from cryptometrics.verify.findings import Findings
    from cryptometrics.verify.message_decoder import QuoteMessage
    from cryptometrics.verify.message_table import MessageTable
    from cryptometrics.verify.pair_rows import PairRows
    from cryptometrics.verify.written_numbers import WrittenNumbers

MAX_SINGLE = 4096
"""Quotes added one by one that are held before they are summed up."""

_MINUTES = f"""
SELECT window_start, ticks, coalesce(trades, {UNKNOWN}), venue, pair, volume, notional, buy_volume
FROM crypto_windows WHERE consumer_group = %(group)s AND name = '1m'
ORDER BY venue, pair, window_start
"""  # noqa: S608  (a constant)

_POWERS = np.array([10**n for n in range(19)], np.int64)


class _Single(NamedTuple):
    """The time and the trade of a quote that was added by itself."""

    time: int
    is_known: bool
    price: Decimal | None
    size: Decimal | None
    taker_bought: bool


class MinuteTrades:
    """Sums up the trades of each minute from the messages of its rows; must be closed."""

    def __init__(self) -> None:
        self._parts: MarketParts[TradeColumns] = MarketParts()
        self._single: dict[MarketKey, list[_Single]] = {}
        self._single_count = 0

    def close(self) -> None:
        """Delete the sums."""
        self._parts.close()

    def add(self, quote: QuoteMessage, *, known: bool) -> None:
        """Add the message of a row; known: whether the row was stored by a version that sums up trades."""
        trade = quote.trade
        single = _Single(
            to_microseconds(quote.time),
            known,
            None if trade is None else trade.price,
            None if trade is None else trade.size,
            trade is not None and trade.taker_bought,
        )
        self._single.setdefault(MarketKey(quote.venue, quote.pair), []).append(single)
        self._single_count += 1
        if self._single_count >= MAX_SINGLE:
            self._sum_up_single()

    def add_rows(
        self, rows: PairRows, table: MessageTable, places: Integers, matches: NDArray[np.bool_]
    ) -> None:
        """Add the rows whose messages match; places: where the messages are in the table."""
        at = np.flatnonzero(matches)
        if not len(at):
            return
        of_rows = places[at]
        price, size = table.price[of_rows], table.size[of_rows]
        is_trade = price.is_there & size.is_there & (price.digits > 0) & (size.digits > 0)
        is_trade &= table.kind[of_rows] == KINDS.index("ticker")
        prices, price_decimals = _common(price, is_trade)
        sizes, size_decimals = _common(size, is_trade)
        part = sum_trades(
            rows.times[at],
            ~rows.is_before_sizes[at],
            is_trade,
            (prices, price_decimals),
            (sizes, size_decimals),
            table.taker_bought[of_rows],
        )
        self._parts.add(rows.market, part)

    def of(self, market: MarketKey) -> TradeColumns | None:
        """Return the sums of a market, once all its quotes were added."""
        self._sum_up_single()
        return merged(self._parts.of(market))

    def check(self, connection: psycopg.Connection, group: str, findings: Findings) -> None:
        """Compare the minutes whose messages were all read; retention may have deleted some."""
        codes = TextCodes(fields=2)
        market: MarketKey | None = None
        true: TradeColumns | None = None
        for block in copy_blocks(connection, _MINUTES, {"group": group}):
            starts, ticks, trades = block.integers(8, 8, 8)
            markets = codes.read(block)
            numbers = [read_numbers(block) for _ in range(3)]
            for code, part in runs(markets):
                if market != MarketKey(*codes.texts[code]):
                    market = MarketKey(*codes.texts[code])
                    true = self.of(market)
                if true is None:
                    continue
                stored = starts[part] + POSTGRES_EPOCH_US, ticks[part], trades[part]
                for start in differing_minutes(true, *stored, *(column[part] for column in numbers)).tolist():
                    text = f"{market} at {from_microseconds(start):%Y-%m-%d %H:%M}"
                    findings.add_text(FindingKind.WINDOW, f"{text}: its trades are not those of the topic")

    def _sum_up_single(self) -> None:
        """Make sums of the quotes that were added one by one."""
        for market, quotes in self._single.items():
            times, is_known, prices, sizes, bought = zip(*quotes, strict=True)
            is_trade = np.array([price is not None for price in prices])
            part = sum_trades(
                np.array(times),
                np.array(is_known),
                is_trade,
                _whole(prices),
                _whole(sizes),
                np.array(bought),
            )
            self._parts.add(market, part)
        self._single, self._single_count = {}, 0


def _common(written: WrittenNumbers, is_trade: NDArray[np.bool_]) -> tuple[Exact, int]:
    """Return numbers with the same decimals, 0 where there is no trade; and how many decimals."""
    decimals = int(written.decimals.max(initial=0, where=is_trade))
    digits = np.where(is_trade, written.digits, 0)
    shift = np.where(is_trade, decimals - written.decimals, 0)
    if int(digits.max(initial=0)) * 10 ** int(shift.max(initial=0)) >= 2**62:
        return digits.astype(object) * np.array([10**n for n in shift.tolist()], object), decimals
    return digits * _POWERS[shift], decimals


def _whole(numbers: tuple[Decimal | None, ...]) -> tuple[Exact, int]:
    """Return numbers as whole numbers with the same decimals, None as 0; and how many decimals."""
    ratios = [(0, 1) if number is None else number.as_integer_ratio() for number in numbers]
    decimals = max((_decimals(number) for number in numbers), default=0)
    return np.array([top * 10**decimals // bottom for top, bottom in ratios], object), decimals


def _decimals(number: Decimal | None) -> int:
    if number is None:
        return 0
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)  # noqa: S101  (the decoder returns no NaN and no infinity)
    return max(-exponent, 0)
