"""Outages of the feed: messages that do not come, and the gap records that say so. Pure."""

from __future__ import annotations

from bisect import bisect
from typing import TYPE_CHECKING

from cryptometrics.feeds.simulator.scenarios import Effect
from cryptometrics.market.gap_records import Gap, GapKind, encode
from cryptometrics.market.venues import SIMULATED
from cryptometrics.times import from_microseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptometrics.feeds.simulator.fixed_point import Whole
    from cryptometrics.feeds.simulator.scenarios import Conditions
    from cryptometrics.kafka.publisher import Message


class Outages:
    """Leaves out what a feed does not receive; each pair goes on with a gap record, as the live feed does."""

    def __init__(self, pairs: Sequence[str], start: int, conditions: Conditions) -> None:
        """start: of the stream, in microseconds since the epoch."""
        self._pairs = pairs
        self._start = start
        self._conditions = conditions
        self._begins = conditions.begins(Effect.OUTAGE)
        self._begun = [0] * len(pairs)
        """How many outages had begun at each pair's last trade."""
        self._missed: dict[str, tuple[int, int]] = {}
        """Pair → when its outage began and the first trade that did not come."""

    def apply(
        self, block: list[Message | None], offsets: Whole, trades: Iterable[tuple[int, Sequence[int]]]
    ) -> None:
        """Empty the slots of outages, and put a gap record into each pair's first slot after one.

        The trade of that slot counts as missed.
        offsets: microseconds since the start. trades: of each pair, its first trade id and the places of its
        trades.
        """
        lasting = self._conditions.at(Effect.OUTAGE, offsets)
        if lasting is None:
            return
        out = (lasting > 0).tolist()
        times = offsets.tolist()
        for place, is_out in enumerate(out):
            if is_out:
                block[place] = None
        for number, (pair, (first_trade_id, places)) in enumerate(zip(self._pairs, trades, strict=True)):
            for trade_id, place in enumerate(places, first_trade_id):
                begun = bisect(self._begins, times[place])
                if begun > self._begun[number]:
                    self._missed.setdefault(pair, (self._begins[self._begun[number]], trade_id))
                    self._begun[number] = begun
                if pair in self._missed and not out[place]:
                    begin, first_missed = self._missed.pop(pair)
                    begins, ends = (from_microseconds(self._start + at) for at in (begin, times[place]))
                    block[place] = encode(
                        Gap(pair, GapKind.DOWN, ends, begins, first_missed, trade_id, venue=SIMULATED)
                    )
