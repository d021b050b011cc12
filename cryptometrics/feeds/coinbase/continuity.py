"""The continuity of one pair's trade ids: which trades did not come. Pure.

The exchange numbers a pair's trades consecutively, and its heartbeat has the last number. (`sequence` of the
ticker skips numbers and proves nothing.) Trades of one moment may share a ticker, so a trade counts as
received if its ticker or its match came. Times are seconds since the epoch by the receiver's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptometrics.feeds.quality import Quality
from cryptometrics.market.gap_records import Gap, GapKind
from cryptometrics.times import from_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

GRACE_S = 2.0
"""How late a trade may come before it counts as missed; longer than the time between heartbeats."""
SILENCE_S = 15.0
"""Time without a heartbeat after which a pair counts as down."""
MAX_HOLES = 1000
"""Holes that are kept open; beyond it the oldest one is reported early."""


@dataclass(slots=True)
class _Hole:
    """Trades that have not come although later ones have."""

    first: int
    last: int
    begins: float
    noticed: float


class Continuity:
    """Follows the trades of one pair and reports each gap as soon as it is certain."""

    __slots__ = (
        "_accounted", "_holes", "_on_gap", "_since", "_tail", "_waited_from", "_waiting", "heartbeat_at",
        "highest", "pair", "quality",
    )  # fmt: skip

    def __init__(self, pair: str, on_gap: Callable[[Gap], None]) -> None:
        """on_gap: called with each gap, in order with the ticks."""
        self.pair = pair
        self.quality = Quality()
        self.highest = -1
        """The highest trade that came or was certainly missed; -1 as long as none is known."""
        self._accounted = -1
        """The highest trade that the topic has: by its tick, or in a gap record."""
        self.heartbeat_at: float | None = None
        """When the last heartbeat came; None before the first one of a connection."""
        self._on_gap = on_gap
        self._holes: list[_Hole] = []
        self._tail: tuple[int, float] | None = None
        """The last trade of a heartbeat that is ahead of the trades, and the heartbeat's time."""
        self._waiting: GapKind | None = GapKind.START
        """GapKind of the gap that the next frame ends; None while data comes."""
        self._since = 0.0
        """When that gap began."""
        self._waited_from: float | None = None
        """When the first heartbeat came during that gap."""

    @property
    def has_started(self) -> bool:
        """Whether data of the pair has ever come."""
        return self._waiting is not GapKind.START

    @property
    def is_up(self) -> bool:
        """Whether data of the pair comes."""
        return self._waiting is None

    # Frames

    def trade(self, trade_id: int, at: float, *, stored: bool) -> None:
        """Record a ticker or match of this trade; stored: whether the topic gets a tick for it now."""
        if self._waiting is not None:
            self._resume(at, trade_id)
        if stored and trade_id > self._accounted:
            self._accounted = trade_id
        expected = self.highest + 1
        if trade_id >= expected:
            if trade_id > expected and self.highest >= 0:
                noticed = min(at, self._tail[1]) if self._tail else at
                self._open(_Hole(expected, trade_id - 1, self.quality.heard_before(at), noticed))
            self.highest = trade_id
            if self._tail is not None and trade_id >= self._tail[0]:
                self._tail = None
        elif self._holes:
            self._fill(trade_id)

    def present(self, at: float) -> None:
        """Record a frame that carries data but no trade id."""
        if self._waiting is not None:
            self._resume(at, None)

    def heartbeat(self, last_trade_id: int | None, at: float) -> None:
        """Record a heartbeat with the last trade of the pair."""
        self.heartbeat_at = at
        if self._waiting is not None:
            # A subscription begins with that trade, too: let it come first.
            if self._waited_from is None:
                self._waited_from = at
            if at - self._waited_from < GRACE_S:
                return
            self._resume(at, None if last_trade_id is None else last_trade_id + 1)
        elif last_trade_id is not None and self.highest < 0:  # nothing before it is known to be missed
            self.highest = self._accounted = last_trade_id
        elif last_trade_id is not None and last_trade_id > self.highest and self._tail is None:
            self._tail = last_trade_id, at
        self.settle(at)

    # Time

    def settle(self, now: float) -> None:
        """Report the trades that have not come within GRACE_S."""
        holes = self._holes
        while holes and now - holes[0].noticed >= GRACE_S:
            self._miss(holes.pop(0), now)
        if self._tail is not None and now - self._tail[1] >= GRACE_S:
            last, noticed = self._tail
            self._tail = None
            if last > self.highest:
                begins = self.quality.heard_before(noticed)
                self._miss(_Hole(self.highest + 1, last, begins, noticed), now)
                self.highest = last

    def silent(self, now: float) -> bool:
        """Return whether the pair counts as down because its heartbeats stopped."""
        return self._waiting is None and self.heartbeat_at is not None and now - self.heartbeat_at > SILENCE_S

    def lost(self, kind: GapKind, now: float) -> None:
        """Record that the pair is no longer received; the gap is reported when it comes again."""
        self._report_holes(now)
        self._tail = self._waited_from = self.heartbeat_at = None
        # A trade whose ticker was still to come is missed: its match alone stores nothing.
        self.highest = self._accounted
        if self._waiting is None:
            self._waiting, self._since = kind, self.quality.heard_before(now)
            self.quality.disconnected(self._since)

    def end(self, now: float) -> None:
        """Report the gaps that are certain at the end, and until when the pair was heard.

        The next start reports trades after the highest.
        """
        self._report_holes(now)
        heard = self.quality.heard_before(now)
        if self._waiting is None:
            self.quality.end(now)
        elif self._waiting is not GapKind.START:
            heard = min(self._since, now)
            self.report(self._waiting, heard, now)
        if self.has_started:
            self._on_gap(Gap(self.pair, GapKind.END, from_seconds(heard), None))

    def report(self, kind: GapKind, begins: float, ends: float) -> None:
        """Report a gap of quotes, in which no trade is known to be missed."""
        self._report(Gap(self.pair, kind, from_seconds(ends), from_seconds(begins)))

    # Gaps

    def _resume(self, at: float, first: int | None) -> None:
        """End the gap that lasts; first: the first trade received, if the frame has one."""
        kind, self._waiting = self._waiting, None
        assert kind is not None  # noqa: S101  (callers check it)
        self._waited_from = None
        self.quality.connected(at)
        if kind is GapKind.START:
            last = first - 1 if first else None
            self._on_gap(Gap(self.pair, kind, from_seconds(at), None, None, last))
            if last is not None:
                self.highest = self._accounted = last
            return
        missed: tuple[int, int] | tuple[None, None] = (None, None)
        if first is not None and 0 <= self.highest < first - 1:
            missed = self.highest + 1, first - 1
            self.highest = self._accounted = first - 1
        self._report(Gap(self.pair, kind, from_seconds(at), from_seconds(min(self._since, at)), *missed))

    def _open(self, hole: _Hole) -> None:
        self._holes.append(hole)
        if len(self._holes) > MAX_HOLES:
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

    def _report_holes(self, now: float) -> None:
        for hole in self._holes:
            self._miss(hole, now)
        self._holes.clear()

    def _miss(self, hole: _Hole, now: float) -> None:
        self._accounted = max(self._accounted, hole.last)
        begins, ends = from_seconds(hole.begins), from_seconds(max(min(hole.noticed, now), hole.begins))
        self._report(Gap(self.pair, GapKind.MISSED, ends, begins, hole.first, hole.last))

    def _report(self, gap: Gap) -> None:
        self.quality.gap(gap.trades_missed)
        self._on_gap(gap)
