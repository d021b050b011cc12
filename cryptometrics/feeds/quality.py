"""The quality of one pair's data: duplicates, late ticks, silence, age of the quotes, clock skew. Pure.

Times are seconds since the epoch by the receiver's clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptometrics.market.trade_ids import TradeIds

if TYPE_CHECKING:
    from decimal import Decimal


@dataclass(slots=True)
class Quality:
    """Measures the data of one pair."""

    ticks: int = 0
    """Tickers and quotes published."""
    duplicates: int = 0
    """Tickers of a trade that already had one."""
    late: int = 0
    """Tickers of a trade older than an earlier ticker's."""
    crossed: int = 0
    """Quotes whose bid is above the ask."""
    locked: int = 0
    """Quotes whose bid equals the ask."""
    gaps: int = 0
    """Gaps, without the one at the start."""
    trades_missed: int = 0
    reconnects: int = 0
    has_quote: bool = False
    """Whether the newest quote holds: False before the first one of a connection, and without a book."""
    covered: float = 0.0
    """Seconds in which the pair was received."""
    longest_silence: float = 0.0
    """Longest time between two frames of the pair, in seconds."""
    quote_age: float = 0.0
    """Longest time for which a quote was the newest, in seconds since its event time."""
    least_skew: float = math.inf
    most_skew: float = -math.inf
    """Seconds from event time to receipt; negative if the clocks differ."""

    _connected_at: float = 0.0
    _heard_at: float | None = None
    _quoted_at: float | None = None
    _tickers: TradeIds = field(default_factory=TradeIds)
    _had_ticker: bool = False
    """Whether a first ticker came on this connection; that one may be old."""

    def heard(self, at: float) -> None:
        """Record that a frame of the pair came."""
        if self._heard_at is not None and at - self._heard_at > self.longest_silence:
            self.longest_silence = at - self._heard_at
        self._heard_at = at

    def heard_before(self, at: float) -> float:
        """Return when the last frame before `at` came; `at` if there was none."""
        return at if self._heard_at is None else min(self._heard_at, at)

    def connected(self, at: float) -> None:
        """Record that data of the pair comes from now on."""
        self._connected_at = at

    def disconnected(self, since: float) -> None:
        """Record that no data has come since this time."""
        self._had_ticker = self.has_quote = False
        self.reconnects += 1
        self.covered += max(since - self._connected_at, 0.0)

    def end(self, now: float) -> None:
        """Add the time until the end of a connection that is still open."""
        self.covered += max(now - self._connected_at, 0.0)
        self._connected_at = now
        if self._heard_at is not None:
            self.longest_silence = max(self.longest_silence, now - self._heard_at)
        self._measure_age(now)

    def gap(self, trades_missed: int | None) -> None:
        """Count a gap; trades_missed: None if unknown."""
        self.gaps += 1
        self.trades_missed += trades_missed or 0

    def ticker(self, trade_id: int | None, event: float | None, at: float) -> None:
        """Measure a ticker; event: its time."""
        self.ticks += 1
        self.has_quote = True
        if trade_id is not None:
            tickers = self._tickers
            if trade_id < tickers.next:
                if trade_id in tickers:
                    self.duplicates += 1
                elif not tickers.unknown(trade_id):
                    self.late += 1
            tickers.add(trade_id)
        if self._had_ticker:
            self.skew(event, at)
        self._had_ticker = True
        self._quoted(event, at)

    def quote(self, event: float | None, at: float) -> None:
        """Measure a quote of the order book; event: its time."""
        self.ticks += 1
        self.has_quote = True
        self._quoted(event, at)

    def prices(self, bid: Decimal | None, ask: Decimal | None) -> None:
        """Count a crossed or locked quote."""
        if bid is not None and ask is not None and bid >= ask:
            if bid > ask:
                self.crossed += 1
            else:
                self.locked += 1

    def skew(self, event: float | None, at: float) -> None:
        """Compare the event time of a frame, which is sent at once, with the time of receipt."""
        if event is not None:
            skew = at - event
            self.least_skew = min(self.least_skew, skew)
            self.most_skew = max(self.most_skew, skew)

    def _quoted(self, event: float | None, at: float) -> None:
        if event is not None:
            self._measure_age(at)
            self._quoted_at = event if self._quoted_at is None else max(event, self._quoted_at)

    def _measure_age(self, now: float) -> None:
        if self._quoted_at is not None:
            self.quote_age = max(self.quote_age, now - self._quoted_at)
