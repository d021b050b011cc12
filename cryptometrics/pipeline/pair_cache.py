"""A worker's cache of the past: for each partition that it owns, its position, its pairs and their sessions.

The cache runs ahead of the database by the batches in flight. When one of those fails, the whole cache is
dropped and loaded again, so entries may change in place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cryptometrics.market.trade_ids import TradeIds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from cryptometrics.market.metrics import Session
    from cryptometrics.market.table import PairTicks
    from cryptometrics.market.venues import Market
    from cryptometrics.store.batch_transaction import PairState
    from cryptometrics.store.partition_claims import Claim
    from cryptometrics.store.worker_past import TickKey

MAX_SESSIONS = 50_000
"""Sessions in the cache; with more, all are dropped, and loaded again when needed."""


class Past(Protocol):
    """What a calculation looks up in the past of its consumer group."""

    def pairs(self, markets: Collection[Market]) -> dict[Market, PairState]:
        """Return the state of each of these pairs that has a tick."""

    def sessions(self, keys: Collection[tuple[Market, str]]) -> dict[tuple[Market, str], Session]:
        """Return the state of each of these (market, session) that has a tick."""

    def stored(self, ticks: Iterable[TickKey]) -> set[TickKey]:
        """Return which of these ticks have a row."""

    def add_day(self, day: date) -> None:
        """Make sure that the table takes rows of this UTC day."""


class LastTrade(NamedTuple):
    """The highest trade of a pair, and the time of its newest quote."""

    trade_id: int
    """-1 without a trade."""
    time: datetime | None


@dataclass(slots=True, eq=False)
class CachedPair:
    """A pair at a venue: its newest quote, its trade ids, its sessions in use."""

    market: Market
    stored: PairState | None
    """As of the newest calculated batch; None before the first."""
    trade_ids: TradeIds
    sessions: dict[str, Session | None] = field(default_factory=dict)
    """By name; None for a session without a tick."""

    @property
    def last_trade(self) -> LastTrade:
        """The pair's last trade as of the newest calculated batch."""
        return LastTrade(self.trade_ids.highest, self.stored.time if self.stored else None)


@dataclass(slots=True, eq=False)
class OwnedPartition:
    """A partition that this worker may write, and the position up to which it is calculated."""

    partition: int
    epoch: int
    next_offset: int
    pairs: dict[Market, CachedPair] = field(default_factory=dict)


class PairCache:
    """The partitions that a worker owns, with their pairs and sessions."""

    def __init__(self, past: Past, session: str | None) -> None:
        """Look up in `past` what is missing; session: its name, None for one session a UTC day."""
        self._past = past
        self._session = session
        self._owned: dict[int, OwnedPartition] = {}
        self._days: set[str] = set()

    def own(self, claim: Claim) -> None:
        """Begin a partition at the offset of its claim."""
        self._owned[claim.partition] = OwnedPartition(claim.partition, claim.epoch, claim.next_offset)

    def partition(self, partition: int) -> OwnedPartition | None:
        """Return a partition, None if it is not owned."""
        return self._owned.get(partition)

    def drop(self, partitions: Iterable[int]) -> None:
        """Drop partitions with their pairs."""
        for partition in partitions:
            self._owned.pop(partition, None)

    def drop_all(self) -> None:
        """Drop everything, also which days have a table partition: one may have been pruned."""
        self._owned.clear()
        self._days.clear()

    def drop_pairs(self) -> None:
        """Drop pairs and sessions; no batch may be in flight."""
        for owned in self._owned.values():
            owned.pairs.clear()

    def positions(self) -> dict[int, int]:
        """Return the next offset to calculate of each owned partition."""
        return {partition: owned.next_offset for partition, owned in self._owned.items()}

    def size(self) -> int:
        """Return the number of sessions in the cache."""
        return sum(len(pair.sessions) for owned in self._owned.values() for pair in owned.pairs.values())

    def pair(self, ticks: PairTicks) -> CachedPair:
        """Return the pair of some ticks, after `load` of them."""
        return self._owned[ticks.partition].pairs[ticks.market]

    def ready(self, partition: int, market: Market, session: str, day: str) -> CachedPair | None:
        """Return a pair if nothing has to be looked up for its tick of this session and day, else None."""
        pair = self._owned[partition].pairs.get(market)
        return pair if pair is not None and session in pair.sessions and day in self._days else None

    def last_trade(self, market: Market) -> LastTrade:
        """Return the last trade of a pair, also of one that is not in the cache."""
        pair = self._elsewhere(market)
        if pair is not None:
            return pair.last_trade
        stored = self._past.pairs([market]).get(market)
        return _new_pair(market, stored).last_trade

    def load(self, pairs: Iterable[PairTicks]) -> None:
        """Load what these ticks need and the cache lacks: pairs, sessions, table partitions of days."""
        missing: dict[tuple[Market, str], list[OwnedPartition]] = {}
        for ticks in pairs:
            owned = self._owned[ticks.partition]
            pair = owned.pairs.get(ticks.market)
            # A pair in two partitions of this worker is one pair all the same.
            if pair is None and (pair := self._elsewhere(ticks.market)) is not None:
                owned.pairs[ticks.market] = pair
            for day in ticks.days:
                name = self._session or day
                if pair is None or name not in pair.sessions:
                    missing.setdefault((ticks.market, name), []).append(owned)
                self._add_day(day)
        if missing:
            self._look_up(missing)

    def _look_up(self, missing: dict[tuple[Market, str], list[OwnedPartition]]) -> None:
        new = {market for (market, _), owners in missing.items() if market not in owners[0].pairs}
        stored = self._past.pairs(new) if new else {}
        sessions = self._past.sessions(missing)
        for (market, session), owners in missing.items():
            pair = owners[0].pairs.get(market) or _new_pair(market, stored.get(market))
            for owned in owners:
                owned.pairs[market] = pair
            pair.sessions[session] = sessions.get((market, session))

    def _elsewhere(self, market: Market) -> CachedPair | None:
        """Return a pair from whichever partition has it."""
        found = (owned.pairs.get(market) for owned in self._owned.values())
        return next((pair for pair in found if pair is not None), None)

    def _add_day(self, day: str) -> None:
        if day not in self._days:
            self._past.add_day(date.fromisoformat(day))
            self._days.add(day)


def _new_pair(market: Market, stored: PairState | None) -> CachedPair:
    trades = TradeIds(stored.trade_ids, stored.trade_ids_floor) if stored else TradeIds()
    return CachedPair(market, stored, trades)
