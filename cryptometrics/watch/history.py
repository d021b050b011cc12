"""The recent past of the screen: rates and sparklines, from the snapshots that were shown. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from cryptometrics.market.tick_rates import TickRates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from cryptometrics.market.venues import Market
    from cryptometrics.store.live_snapshot import RecentMinute, Snapshot

HISTORY_S = 900.0
"""Maximum period of a sparkline."""
SAMPLE_S = 1.0
"""Interval between two mid prices of a sparkline."""
MINUTE_S = 60.0


class History:
    """The recent snapshots of one group, as far as rates and sparklines need them."""

    def __init__(self) -> None:
        self._rates = TickRates()
        self._mids: dict[Market, deque[tuple[float, Decimal]]] = {}

    def copy(self) -> History:
        """Return a history that later snapshots do not change: a screen reads it while the next is added."""
        other = History()
        other._rates = self._rates.copy()
        other._mids = {market: mids.copy() for market, mids in self._mids.items()}
        return other

    def add(self, snapshot: Snapshot) -> None:
        """Add the next snapshot."""
        now = snapshot.at.timestamp()
        for row in snapshot.rows:
            self._rates.add(now, row.market, row.session, row.ticks)
            mids = self._mids.setdefault(row.market, deque())
            if not mids or mids[-1][0] <= now - SAMPLE_S:
                mids.append((now, row.mid_price))
            while mids[0][0] < now - HISTORY_S:
                mids.popleft()

    def begin(self, snapshot: Snapshot, minutes: Mapping[Market, Sequence[RecentMinute]]) -> None:
        """Add the minutes before the first snapshot: their mid prices, and their ticks per second.

        minutes: of each market in order. With them, a rate needs no second snapshot.
        """
        now = snapshot.at.timestamp()
        for row in snapshot.rows:
            of_market = minutes.get(row.market, ())
            since = now // MINUTE_S * MINUTE_S - MINUTE_S
            ticks = sum(minute.ticks for minute in of_market if minute.start.timestamp() >= since)
            # Without recent ticks, a worker is far behind the market: its own speed shows in the snapshots.
            if 0 < ticks <= row.ticks:
                self._rates.add(since, row.market, row.session, row.ticks - ticks)
            mids = self._mids.setdefault(row.market, deque())
            mids.extend((end, minute.close) for minute in of_market if (end := minute.end.timestamp()) < now)

    def rate(self, market: Market) -> float | None:
        """Return the recent ticks per second; None while there is but one count."""
        return self._rates.rate(market)

    def span(self) -> float:
        """Return the seconds that sparklines show: from the oldest mid price of any market to the newest."""
        ends = [(mids[0][0], mids[-1][0]) for mids in self._mids.values() if mids]
        return max(last for _, last in ends) - min(first for first, _ in ends) if ends else 0.0

    def mids(self, market: Market, points: int) -> list[Decimal | None]:
        """Return the last mid price of each of `points` equal parts of the span.

        All markets share the span, so that their sparklines can be compared. A part without a mid price
        repeats the one before; it is None before the first one.
        """
        mids = self._mids.get(market)
        if not mids or points < 1:
            return []
        span = self.span()
        first = max(each[-1][0] for each in self._mids.values() if each) - span
        width = max(span / points, SAMPLE_S)
        found: list[Decimal | None] = [None] * min(points, int(span / width) + 1)
        for at, mid in mids:
            found[min(max(int((at - first) / width), 0), len(found) - 1)] = mid
        for number in range(1, len(found)):
            found[number] = found[number] if found[number] is not None else found[number - 1]
        return found
