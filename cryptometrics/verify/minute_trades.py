"""Check the trades of the minutes, which no stored row holds, against the messages of the topic."""

from __future__ import annotations

import decimal
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.times import from_microseconds
from cryptometrics.verify.exact_numbers import sums as exact_sums
from cryptometrics.verify.findings import FindingKind
from cryptometrics.verify.message_layout import KINDS
from cryptometrics.verify.minute_sums import MINUTE_US
from cryptometrics.verify.stored_outcomes import runs

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg
    from numpy.typing import NDArray

    from cryptometrics.verify.copy_blocks import Integers
    from cryptometrics.verify.exact_numbers import Exact
    from cryptometrics.verify.findings import Findings
    from cryptometrics.verify.message_decoder import QuoteMessage
    from cryptometrics.verify.message_table import MessageTable, WrittenNumbers
    from cryptometrics.verify.pair_rows import PairRows

_MINUTES = """
SELECT venue, pair, window_start, ticks, trades, volume, notional, buy_volume
FROM crypto_windows WHERE consumer_group = %s AND name = '1m'
ORDER BY venue, pair, window_start
"""
_WIDE = decimal.Context(prec=200, traps=[decimal.Inexact, decimal.InvalidOperation])


@dataclass(slots=True)
class _Minute:
    ticks: int = 0
    is_known: bool = True
    trades: int = 0
    volume: Decimal = Decimal(0)
    notional: Decimal = Decimal(0)
    buy_volume: Decimal = Decimal(0)

    def sums(self) -> tuple[int | Decimal | None, ...]:
        if not self.is_known:
            return (None,) * 4
        return self.trades, self.volume, self.notional, self.buy_volume


class MinuteTrades:
    """Sums up the trades of each minute from the messages of its rows: one small entry a minute and pair."""

    def __init__(self) -> None:
        self._minutes: dict[tuple[str, str, datetime], _Minute] = {}

    def add(self, quote: QuoteMessage, *, known: bool) -> None:
        """Add the message of a row; known: whether the row was stored by a version that sums up trades."""
        start = quote.time.replace(second=0, microsecond=0)
        minute = self._minutes.setdefault((quote.venue, quote.pair, start), _Minute())
        minute.ticks += 1
        minute.is_known &= known
        if (trade := quote.trade) is not None:
            minute.trades += 1
            minute.volume = _WIDE.add(minute.volume, trade.size)
            minute.notional = _WIDE.add(minute.notional, _WIDE.multiply(trade.price, trade.size))
            if trade.taker_bought:
                minute.buy_volume = _WIDE.add(minute.buy_volume, trade.size)

    def add_rows(
        self, rows: PairRows, table: MessageTable, places: Integers, matches: NDArray[np.bool_]
    ) -> None:
        """Add the rows whose messages match; places: where the messages are in the table."""
        at = np.flatnonzero(matches)
        minutes = rows.times[at] // MINUTE_US
        order = np.argsort(minutes, kind="stable")
        at, minutes = at[order], minutes[order]
        price, size = table.price[places[at]], table.size[places[at]]
        is_trade = price.is_there & size.is_there & (price.digits > 0) & (size.digits > 0)
        is_trade &= rows.kinds[at] == KINDS.index("ticker")
        bought = table.taker_bought[places[at]]
        prices, price_decimals = _common(price, is_trade)
        sizes, size_decimals = _common(size, is_trade)
        if int(prices.max(initial=0)) * int(sizes.max(initial=0)) >= 2**62:
            prices = prices.astype(object)
        is_known = ~rows.is_before_sizes[at]
        market = rows.market
        for minute, part in runs(minutes):
            start = from_microseconds(minute * MINUTE_US)
            sums = self._minutes.setdefault((market.venue, market.pair, start), _Minute())
            sums.ticks += part.stop - part.start
            sums.is_known &= bool(is_known[part].all())
            sums.trades += int(np.count_nonzero(is_trade[part]))
            first = np.zeros(1, np.int64)
            volume, notional, buy_volume = (
                int(exact_sums(numbers, first)[0])
                for numbers in (sizes[part], prices[part] * sizes[part], sizes[part] * bought[part])
            )
            sums.volume = _WIDE.add(sums.volume, _decimal(volume, size_decimals))
            sums.notional = _WIDE.add(sums.notional, _decimal(notional, price_decimals + size_decimals))
            sums.buy_volume = _WIDE.add(sums.buy_volume, _decimal(buy_volume, size_decimals))

    def check(self, connection: psycopg.Connection, group: str, findings: Findings) -> None:
        """Compare the minutes whose messages were all read; retention may have deleted some."""
        for venue, pair, start, ticks, *stored in connection.execute(_MINUTES, [group]):
            minute = self._minutes.get((venue, pair, start))
            if minute is not None and minute.ticks == ticks and minute.sums() != tuple(stored):
                text = f"{pair} ({venue}) at {start:%Y-%m-%d %H:%M}: its trades are not those of the topic"
                findings.add_text(FindingKind.WINDOW, text)


def _common(written: WrittenNumbers, is_trade: NDArray[np.bool_]) -> tuple[Exact, int]:
    """Return numbers with the same decimals, 0 where there is no trade; and how many decimals."""
    decimals = int(written.decimals.max(initial=0, where=is_trade))
    digits = np.where(is_trade, written.digits, 0)
    shift = np.where(is_trade, decimals - written.decimals, 0)
    if int(digits.max(initial=0)) * 10 ** int(shift.max(initial=0)) >= 2**62:
        return digits.astype(object) * np.array([10**n for n in shift.tolist()], object), decimals
    return digits * 10**shift, decimals


def _decimal(number: int, decimals: int) -> Decimal:
    return Decimal(number).scaleb(-decimals, _WIDE)
