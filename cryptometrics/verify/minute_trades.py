"""Check the trades of the minutes, which no stored row holds, against the messages of the topic."""

from __future__ import annotations

import decimal
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from cryptometrics.verify.findings import FindingKind

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

    from cryptometrics.verify.findings import Findings
    from cryptometrics.verify.message_decoder import QuoteMessage

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

    def check(self, connection: psycopg.Connection, group: str, findings: Findings) -> None:
        """Compare the minutes whose messages were all read; retention may have deleted some."""
        for venue, pair, start, ticks, *stored in connection.execute(_MINUTES, [group]):
            minute = self._minutes.get((venue, pair, start))
            if minute is not None and minute.ticks == ticks and minute.sums() != tuple(stored):
                text = f"{pair} ({venue}) at {start:%Y-%m-%d %H:%M}: its trades are not those of the topic"
                findings.add_text(FindingKind.WINDOW, text)
