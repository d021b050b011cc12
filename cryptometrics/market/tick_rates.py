"""Ticks per second of each market, from the counts of its sessions at successive moments. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptometrics.market.venues import Market

RATE_S = 5.0
"""Period over which ticks per second are computed."""


class TickRates:
    """The counts of the last seconds, as far as rates need them."""

    def __init__(self) -> None:
        self._counts: dict[Market, deque[tuple[float, str, int]]] = {}
        """(time, session, ticks): the first one at least RATE_S old, the others newer."""

    def copy(self) -> TickRates:
        """Return the counts so far as a value of their own."""
        other = TickRates()
        other._counts = {market: counts.copy() for market, counts in self._counts.items()}
        return other

    def add(self, at: float, market: Market, session: str, ticks: int) -> None:
        """Add the count of a market's session at a moment, in seconds; moments never go back."""
        counts = self._counts.setdefault(market, deque())
        if counts and counts[-1][1] != session:
            counts.clear()  # a new session counts from zero
        counts.append((at, session, ticks))
        while len(counts) > 2 and counts[1][0] <= at - RATE_S:
            counts.popleft()

    def rate(self, market: Market) -> float | None:
        """Return the recent ticks per second; None before the second count."""
        counts = self._counts.get(market)
        if counts is None or len(counts) < 2 or counts[-1][0] <= counts[0][0]:
            return None
        return (counts[-1][2] - counts[0][2]) / (counts[-1][0] - counts[0][0])
