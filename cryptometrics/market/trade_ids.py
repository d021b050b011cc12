"""Which trades of a pair are known: the exchange numbers them one by one, so ranges say it in little space.

A set like this answers for most ticks whether they may repeat one that is stored, without asking the
database. Pure.
"""

from __future__ import annotations

import re
from bisect import bisect_right

MOST_RANGES = 64
"""Ranges kept; when gaps make more of them the lowest are given up, and what lies there is unknown."""

_ranges_in = re.compile(r"\[(\d+),(\d+)\)").findall


class TradeIds:
    """A set of trade ids, complete from `floor` upwards."""

    __slots__ = ("_ends", "_starts", "floor", "next")

    def __init__(self, text: str = "{}", floor: int = 0) -> None:
        """Begin with what `str()` of another one gave; below `floor` nothing is known."""
        ranges = [(int(start), int(end)) for start, end in _ranges_in(text)]
        self._starts = [start for start, _ in ranges]
        self._ends = [end for _, end in ranges]  # the first id after each range
        self.floor = floor
        self.next = self._ends[-1] if ranges else 0
        """The id above the highest one in the set."""

    def __str__(self) -> str:
        """Return the ranges as PostgreSQL's int8multirange has them."""
        return "{" + ",".join(f"[{s},{e})" for s, e in zip(self._starts, self._ends, strict=True)) + "}"

    @property
    def highest(self) -> int:
        """The highest id in the set, -1 in an empty one."""
        return self.next - 1

    def __contains__(self, trade_id: int) -> bool:
        at = bisect_right(self._starts, trade_id) - 1
        return at >= 0 and trade_id < self._ends[at]

    def unknown(self, trade_id: int) -> bool:
        """Whether the set cannot tell."""
        return trade_id < self.floor

    def extend(self, first: int, end: int) -> None:
        """Put the ids from `first` to before `end` in; all of them are above the highest one so far."""
        if self._ends and first == self.next:
            self._ends[-1] = end
        else:
            self._starts.append(first)
            self._ends.append(end)
            self._keep_few()
        self.next = end

    def add(self, trade_id: int) -> None:
        """Put an id in; one below the floor changes nothing."""
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
            self._keep_few()
        self.next = ends[-1]

    def _keep_few(self) -> None:
        if len(self._starts) > MOST_RANGES:
            self.floor = self._ends[0]
            del self._starts[0], self._ends[0]
