"""The data of the screen: a snapshot of one moment, and the history for rates and sparklines. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from decimal import Decimal

    from cryptometrics.market.venues import Market
    from cryptometrics.store.latest_risk import LatestRisk
    from cryptometrics.store.stored_sessions import SessionRow

RATE_S = 5.0
"""Period over which ticks per second are computed."""
HISTORY_S = 900.0
"""Maximum period of a sparkline."""
SAMPLE_S = 1.0
"""Interval between two mid prices of a sparkline."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of the topic: its next offset and the outcomes so far."""

    topic: str
    partition: int
    next_offset: int
    metrics: int
    rejected: int
    gaps: int
    duplicates: int
    holes: int


@dataclass(frozen=True, slots=True)
class FiringAlert:
    """An alert that fires now."""

    venue: str
    """Empty for a rule about rejected ticks."""
    pair: str | None
    rule: str
    severity: str
    message: str
    fired_at: datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is stored of a group at one moment."""

    group: str
    at: datetime
    """Time by the database's clock, so that every viewer sees the same age."""
    rows: list[SessionRow]
    """The newest session of each market, sorted by pair and venue."""
    partitions: list[Partition]
    alerts: list[FiringAlert]
    """Newest first; empty if alerts are not used."""
    risk: Mapping[Market, LatestRisk] = field(default_factory=dict)
    """Figures over 24 hours, of the markets that have any."""

    def total(self, outcome: str) -> int:
        """Return the number of offsets with an outcome, over all partitions."""
        return sum(getattr(partition, outcome) for partition in self.partitions)


@dataclass(slots=True)
class _MarketHistory:
    """The history of one market."""

    counts: deque[tuple[float, str, int]] = field(default_factory=deque)
    """(time, session, ticks): the first one at least RATE_S old, the others newer."""
    mids: deque[tuple[float, Decimal]] = field(default_factory=deque)


class History:
    """The recent snapshots of one group, as far as rates and sparklines need them."""

    def __init__(self) -> None:
        self._markets: dict[Market, _MarketHistory] = {}

    def add(self, snapshot: Snapshot) -> None:
        """Add the next snapshot."""
        now = snapshot.at.timestamp()
        for row in snapshot.rows:
            history = self._markets.setdefault(row.market, _MarketHistory())
            if history.counts and history.counts[-1][1] != row.session:
                history.counts.clear()  # a new session counts from zero
            history.counts.append((now, row.session, row.ticks))
            while len(history.counts) > 2 and history.counts[1][0] <= now - RATE_S:
                history.counts.popleft()
            if not history.mids or history.mids[-1][0] <= now - SAMPLE_S:
                history.mids.append((now, row.mid_price))
            while history.mids[0][0] < now - HISTORY_S:
                history.mids.popleft()

    def prepend(self, market: Market, mids: Iterable[tuple[datetime, Decimal]]) -> None:
        """Add mid prices, in order of time, before those of the snapshots."""
        history = self._markets.setdefault(market, _MarketHistory())
        first = history.mids[0][0] if history.mids else float("inf")
        older = [(at.timestamp(), mid) for at, mid in mids if at.timestamp() < first]
        history.mids.extendleft(reversed(older))

    def rate(self, market: Market) -> float | None:
        """Return the recent ticks per second; None before the second snapshot."""
        counts = self._markets.setdefault(market, _MarketHistory()).counts
        if len(counts) < 2 or counts[-1][0] <= counts[0][0]:
            return None
        return (counts[-1][2] - counts[0][2]) / (counts[-1][0] - counts[0][0])

    def mids(self, market: Market, points: int) -> list[Decimal | None]:
        """Return the last mid price of each of `points` equal spans from the oldest one to now.

        A span without a mid price repeats the one before.
        """
        mids = self._markets.setdefault(market, _MarketHistory()).mids
        if not mids or points < 1:
            return []
        first, last = mids[0][0], mids[-1][0]
        width = max((last - first) / points, SAMPLE_S)
        found: list[Decimal | None] = [None] * min(points, int((last - first) / width) + 1)
        for at, mid in mids:
            found[min(int((at - first) / width), len(found) - 1)] = mid
        for number in range(1, len(found)):
            found[number] = found[number] if found[number] is not None else found[number - 1]
        return found
