"""What the screen shows at one moment, and what becomes of several of them: rates and sparklines. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from decimal import Decimal

    from cryptometrics.store.catalog import SessionRow

RATE_S = 5.0
"""Over how long ticks a second are counted."""
HISTORY_S = 900.0
"""How far back a sparkline goes at most."""
SAMPLE_S = 1.0
"""How often a mid price is kept for it."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of the topic: how far it is stored, and its counts."""

    topic: str
    partition: int
    next_offset: int
    metrics: int
    rejected: int
    gaps: int
    duplicates: int
    holes: int


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that fires."""

    pair: str | None
    rule: str
    severity: str
    message: str
    fired_at: datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is stored of a group, all of the same moment."""

    group: str
    at: datetime
    """By the database's clock, so that every viewer sees the same age."""
    rows: list[SessionRow]
    """The newest session of each pair, in the order of their names."""
    partitions: list[Partition]
    alerts: list[Alert]
    """The newest first; empty, too, where alerts are not used."""

    def total(self, fate: str) -> int:
        """Return how many offsets had a fate, over all partitions."""
        return sum(getattr(partition, fate) for partition in self.partitions)


@dataclass(slots=True)
class _Past:
    """What is remembered of a pair."""

    counts: deque[tuple[float, str, int]] = field(default_factory=deque)
    """(seconds, session, ticks), not older than RATE_S but for the first."""
    mids: deque[tuple[float, Decimal]] = field(default_factory=deque)


class Memory:
    """Remembers snapshots of one group, as much as rates and sparklines need."""

    def __init__(self) -> None:
        self._pasts: dict[str, _Past] = {}

    def see(self, snapshot: Snapshot) -> None:
        """Take the next snapshot."""
        now = snapshot.at.timestamp()
        for row in snapshot.rows:
            past = self._pasts.setdefault(row.pair, _Past())
            if past.counts and past.counts[-1][1] != row.session:
                past.counts.clear()  # another session counts anew
            past.counts.append((now, row.session, row.ticks))
            while len(past.counts) > 2 and past.counts[1][0] <= now - RATE_S:
                past.counts.popleft()
            if not past.mids or past.mids[-1][0] <= now - SAMPLE_S:
                past.mids.append((now, row.mid_price))
            while past.mids[0][0] < now - HISTORY_S:
                past.mids.popleft()

    def recall(self, pair: str, mids: Iterable[tuple[datetime, Decimal]]) -> None:
        """Put older mid prices before those seen, in the order of time."""
        past = self._pasts.setdefault(pair, _Past())
        first = past.mids[0][0] if past.mids else float("inf")
        older = [(at.timestamp(), mid) for at, mid in mids if at.timestamp() < first]
        past.mids.extendleft(reversed(older))

    def rate(self, pair: str) -> float | None:
        """Return the ticks a second of the last seconds; None before there are two snapshots."""
        counts = self._pasts.setdefault(pair, _Past()).counts
        if len(counts) < 2 or counts[-1][0] <= counts[0][0]:
            return None
        return (counts[-1][2] - counts[0][2]) / (counts[-1][0] - counts[0][0])

    def mids(self, pair: str, points: int) -> list[Decimal | None]:
        """Return the last mid price of each of `points` equal spans from the oldest known to now.

        A span without one has that of the span before it.
        """
        mids = self._pasts.setdefault(pair, _Past()).mids
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
