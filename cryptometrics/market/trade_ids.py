"""The set of known trade ids of a pair, kept as ranges, as the exchange numbers trades consecutively.

For most ticks the set shows without a query that no earlier tick has the same trade.
"""

from __future__ import annotations

import re
from bisect import bisect_right

MAX_RANGES = 64
"""Ranges kept. Beyond that the lowest is dropped, and the ids up to its end become unknown."""

_ranges_in = re.compile(r"\[(\d+),(\d+)\)").findall


class TradeIds:
    """A set of trade ids, complete from `floor` upwards."""

    __slots__ = ("_ends", "_starts", "floor", "next")

    def __init__(self, text: str = "{}", floor: int = 0) -> None:
        """Restore a set from its `str()`; below `floor` nothing is known."""
        ranges = [(int(start), int(end)) for start, end in _ranges_in(text)]
        self._starts = [start for start, _ in ranges]
        self._ends = [end for _, end in ranges]  # the first id after each range
        self.floor = floor
        self.next = self._ends[-1] if ranges else 0
        """The id above the highest one in the set."""

    def __str__(self) -> str:
        """Return the ranges in the text form of PostgreSQL's int8multirange."""
        return "{" + ",".join(f"[{s},{e})" for s, e in zip(self._starts, self._ends, strict=True)) + "}"

    @property
    def highest(self) -> int:
        """The highest id in the set, -1 in an empty one."""
        return self.next - 1

    def __contains__(self, trade_id: int) -> bool:
        at = bisect_right(self._starts, trade_id) - 1
        return at >= 0 and trade_id < self._ends[at]

    def unknown(self, trade_id: int) -> bool:
        """Whether the id is below the floor, so that the set cannot tell."""
        return trade_id < self.floor

    def extend(self, first: int, end: int) -> None:
        """Add the ids from `first` up to, not including, `end`; all are above the highest so far."""
        if self._ends and first == self.next:
            self._ends[-1] = end
        else:
            self._starts.append(first)
            self._ends.append(end)
            self._limit_ranges()
        self.next = end

    def add(self, trade_id: int) -> None:
        """Add an id; one below the floor changes nothing."""
        starts, ends = self._starts, self._ends
        if trade_id == self.next and ends:  # the next trade: nearly always
            ends[-1] = self.next = trade_id + 1
            return
        if trade_id < self.floor:
            return
        at = bisect_right(starts, trade_id)
        if at and trade_id < ends[at - 1]:
            return
        joins_before = at > 0 and ends[at - 1] == trade_id
        joins_after = at < len(starts) and starts[at] == trade_id + 1
        if joins_before and joins_after:
            ends[at - 1] = ends[at]
            del starts[at], ends[at]
        elif joins_before:
            ends[at - 1] += 1
        elif joins_after:
            starts[at] -= 1
        else:
            starts.insert(at, trade_id)
            ends.insert(at, trade_id + 1)
            self._limit_ranges()
        self.next = ends[-1]

    def _limit_ranges(self) -> None:
        if len(self._starts) > MAX_RANGES:
            self.floor = self._ends[0]
            del self._starts[0], self._ends[0]
