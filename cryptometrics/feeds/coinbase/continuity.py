"""What came of one pair and what did not: the continuity of its trade ids, and the quality of its data. Pure.

The exchange numbers a pair's trades one by one, and its heartbeat tells the last number; the `sequence` of
the ticker jumps at will and says nothing. Several trades of one moment may share a ticker, so a trade counts
as heard if its ticker or its match came. Times are seconds since the epoch by the receiver's clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptometrics.market.gap_records import Gap, Kind
from cryptometrics.market.trade_ids import TradeIds
from cryptometrics.times import from_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

GRACE_S = 2.0
"""How long a trade may come late before it counts as missed; longer than heartbeats are apart."""
SILENCE_S = 15.0
"""So long without a heartbeat, and the pair counts as down."""
MOST_HOLES = 1000
"""Holes that are waited for; beyond it the oldest is given up early."""


@dataclass(slots=True)
class Quality:
    """What is worth knowing of a pair's data."""

    ticks: int = 0
    """Tickers and quotes published."""
    duplicates: int = 0
    """Tickers of a trade that had one already."""
    late: int = 0
    """Tickers of a trade older than one that had come."""
    crossed: int = 0
    """Quotes whose bid is above the ask."""
    locked: int = 0
    """Quotes whose bid is the ask."""
    gaps: int = 0
    """Without the start."""
    trades_missed: int = 0
    reconnects: int = 0
    """How often the pair was lost and listened to again."""
    covered: float = 0.0
    """Seconds in which the pair was heard."""
    longest_silence: float = 0.0
    """Seconds between two frames of the pair at most."""
    quote_age: float = 0.0
    """Seconds that a quote was the newest at most, from its event time on."""
    least_skew: float = math.inf
    most_skew: float = -math.inf
    """Seconds from event time to receipt, at least and at most; negative where the clocks differ."""


@dataclass(slots=True)
class _Hole:
    """Trades that have not come though later ones have."""

    first: int
    last: int
    begins: float
    noticed: float


class PairWatch:
    """Follows one pair and tells each gap when it is certain."""

    __slots__ = (
        "_begun", "_heard_at", "_holes", "_quoted_at", "_since", "_tail", "_tell", "_tickers", "_up_since",
        "_waited_from", "_waiting", "heartbeat_at", "highest", "pair", "quality",
    )  # fmt: skip

    def __init__(self, pair: str, tell: Callable[[Gap], None]) -> None:
        """tell: is given each gap, in the order in which they belong among the ticks."""
        self.pair = pair
        self.quality = Quality()
        self.highest = -1
        """The highest trade that came, or was missed for certain; -1 before the first."""
        self.heartbeat_at: float | None = None
        """When the last heartbeat came; None before the first one of a connection."""
        self._tell = tell
        self._holes: list[_Hole] = []
        self._tail: tuple[int, float] | None = None
        """The last trade of a heartbeat that was ahead of us, and when it said so."""
        self._waiting: Kind | None = Kind.START
        self._since = 0.0  # when what we wait for the end of began
        self._waited_from: float | None = None  # when the first frame came, since we wait
        self._heard_at: float | None = None
        self._up_since = 0.0
        self._tickers = TradeIds()
        self._quoted_at: float | None = None
        self._begun = False  # whether a first ticker, which may be old, has come since we listen

    # Frames

    def heard(self, at: float) -> None:
        """Note that any frame of the pair came."""
        if self._heard_at is not None and at - self._heard_at > self.quality.longest_silence:
            self.quality.longest_silence = at - self._heard_at
        self._heard_at = at

    def trade(self, trade_id: int, at: float) -> None:
        """Note that a ticker or a match of this trade came."""
        if self._waiting is not None:
            self._resume(at, trade_id)
        expected = self.highest + 1
        if trade_id >= expected:
            if trade_id > expected and self.highest >= 0:
                noticed = min(at, self._tail[1]) if self._tail else at
                self._open(_Hole(expected, trade_id - 1, self._heard_before(at), noticed))
            self.highest = trade_id
            if self._tail is not None and trade_id >= self._tail[0]:
                self._tail = None
        elif self._holes:
            self._fill(trade_id)

    def present(self, at: float) -> None:
        """Note that a frame came that carries data, but the number of no trade."""
        if self._waiting is not None:
            self._resume(at, None)

    def heartbeat(self, last_trade_id: int | None, at: float) -> None:
        """Note a heartbeat, which tells the exchange's last trade of the pair."""
        self.heartbeat_at = at
        if self._waiting is not None:
            # The trade itself is sent, too, when a subscription begins: give it the chance to come first.
            if self._waited_from is None:
                self._waited_from = at
            if at - self._waited_from < GRACE_S:
                return
            self._resume(at, None if last_trade_id is None else last_trade_id + 1)
        elif last_trade_id is not None and last_trade_id > self.highest and self._tail is None:
            self._tail = last_trade_id, at
        self.settle(at)

    def ticker(self, trade_id: int | None, event: float | None, at: float) -> None:
        """Judge the quality of a ticker; `event` is its time."""
        quality = self.quality
        quality.ticks += 1
        if trade_id is not None:
            tickers = self._tickers
            if trade_id < tickers.next:
                if trade_id in tickers:
                    quality.duplicates += 1
                elif not tickers.unknown(trade_id):
                    quality.late += 1
            tickers.add(trade_id)
        if self._begun:
            self.skew(event, at)
        self._begun = True
        self._quoted(event, at)

    def quote(self, event: float | None, at: float) -> None:
        """Judge the quality of a quote of the order book."""
        self.quality.ticks += 1
        self._quoted(event, at)

    def skew(self, event: float | None, at: float) -> None:
        """Compare the event time of a frame, which is sent at once, with that of its receipt."""
        if event is not None:
            skew, quality = at - event, self.quality
            quality.least_skew = min(quality.least_skew, skew)
            quality.most_skew = max(quality.most_skew, skew)

    # Time

    def settle(self, now: float) -> None:
        """Tell what has not come within GRACE_S."""
        holes = self._holes
        while holes and now - holes[0].noticed >= GRACE_S:
            self._miss(holes.pop(0), now)
        if self._tail is not None and now - self._tail[1] >= GRACE_S:
            last, noticed = self._tail
            self._tail = None
            if last > self.highest:
                self._miss(_Hole(self.highest + 1, last, self._heard_before(noticed), noticed), now)
                self.highest = last

    def silent(self, now: float) -> bool:
        """Whether the pair counts as down because its heartbeats have stopped."""
        return self._waiting is None and self.heartbeat_at is not None and now - self.heartbeat_at > SILENCE_S

    def lost(self, kind: Kind, now: float) -> None:
        """Note that the pair is not listened to any more; what was missed is known when it comes again."""
        self._give_up_holes(now)
        self._tail = self._waited_from = self.heartbeat_at = None
        self._begun = False
        if self._waiting is None:
            self._waiting, self._since = kind, self._heard_before(now)
            self.quality.reconnects += 1
            self.quality.covered += max(self._since - self._up_since, 0.0)

    def end(self, now: float) -> None:
        """Tell what is certain at the end: what comes after the highest trade, the next start will know."""
        self._give_up_holes(now)
        if self._waiting is None:
            self.quality.covered += max(now - self._up_since, 0.0)
            self._up_since = now
            if self._heard_at is not None:
                self.quality.longest_silence = max(self.quality.longest_silence, now - self._heard_at)
            self._age(now)

    # Gaps

    def _resume(self, at: float, first: int | None) -> None:
        """End the waiting; first: the first trade heard, if the frame tells one."""
        kind, self._waiting = self._waiting, None
        assert kind is not None  # noqa: S101  (else nothing is waited for)
        self._waited_from, self._up_since = None, at
        if kind is Kind.START:
            last = first - 1 if first else None
            self._tell(Gap(self.pair, kind, from_seconds(at), None, None, last))
            if last is not None:
                self.highest = last
            return
        missed: tuple[int, int] | tuple[None, None] = (None, None)
        if first is not None and 0 <= self.highest < first - 1:
            missed = self.highest + 1, first - 1
            self.highest = first - 1
        self._count(Gap(self.pair, kind, from_seconds(at), from_seconds(min(self._since, at)), *missed))

    def _open(self, hole: _Hole) -> None:
        self._holes.append(hole)
        if len(self._holes) > MOST_HOLES:
            self._miss(self._holes.pop(0), hole.noticed)

    def _fill(self, trade_id: int) -> None:
        for number, hole in enumerate(self._holes):
            if hole.first <= trade_id <= hole.last:
                parts = (
                    _Hole(hole.first, trade_id - 1, hole.begins, hole.noticed),
                    _Hole(trade_id + 1, hole.last, hole.begins, hole.noticed),
                )
                self._holes[number : number + 1] = [part for part in parts if part.first <= part.last]
                return

    def _give_up_holes(self, now: float) -> None:
        for hole in self._holes:
            self._miss(hole, now)
        self._holes.clear()

    def _miss(self, hole: _Hole, now: float) -> None:
        begins, ends = from_seconds(hole.begins), from_seconds(max(min(hole.noticed, now), hole.begins))
        self._count(Gap(self.pair, Kind.MISSED, ends, begins, hole.first, hole.last))

    def _count(self, gap: Gap) -> None:
        self.quality.gaps += 1
        self.quality.trades_missed += gap.trades_missed or 0
        self._tell(gap)

    def _heard_before(self, at: float) -> float:
        return at if self._heard_at is None else min(self._heard_at, at)

    # Quotes

    def _quoted(self, event: float | None, at: float) -> None:
        if event is not None:
            self._age(at)
            self._quoted_at = event if self._quoted_at is None else max(event, self._quoted_at)

    def _age(self, now: float) -> None:
        if self._quoted_at is not None and now - self._quoted_at > self.quality.quote_age:
            self.quality.quote_age = now - self._quoted_at
