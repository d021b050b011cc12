"""One product's order book, rebuilt from a snapshot and updates. Pure and exact.

Sizes are absolute: each level's newest one counts, and zero takes the level away. That a level is taken away
which was never there is normal.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.feeds.coinbase.messages import BadFrameError, number

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from cryptometrics.feeds.coinbase.messages import Level

SPARE = 64
"""Levels that a side may remember beyond twice those it has, before it is put in order."""


class Best(NamedTuple):
    """The best price of a side and its size, as texts of the wire."""

    price: str
    size: str


class _Side:
    """Bids or asks: the levels by price, and a heap whose top is the best of them.

    A level that is taken away stays in the heap until it comes to the top, so each change costs at most the
    logarithm of their number.
    """

    __slots__ = ("_heap", "_sign", "levels")

    def __init__(self, sign: int) -> None:
        """sign: 1 where the lowest price is the best, -1 where the highest is."""
        self._sign = sign
        self.levels: dict[Decimal, Best] = {}
        self._heap: list[Decimal] = []

    def set(self, price: str, size: str) -> None:
        key, amount = number(price), number(size)
        if not key or amount is None:  # a price of 0 is none
            raise BadFrameError(f"no level: {price[:40]!r}, {size[:40]!r}")
        if not amount:
            self.levels.pop(key, None)
            return
        if key not in self.levels:
            heapq.heappush(self._heap, self._placed(key))
        self.levels[key] = Best(price, size)

    def _placed(self, key: Decimal) -> Decimal:
        """Return the key as it is in the heap, or back; not `-key`, which would round it."""
        return key if self._sign > 0 else key.copy_negate()

    def best(self) -> Best | None:
        heap, levels = self._heap, self.levels
        if len(heap) > 2 * len(levels) + SPARE:
            heap[:] = map(self._placed, levels)
            heapq.heapify(heap)
        while heap:
            if (found := levels.get(self._placed(heap[0]))) is not None:
                return found
            heapq.heappop(heap)
        return None


class OrderBook:
    """Bids and asks of one product as of the newest update."""

    __slots__ = ("_asks", "_bids")

    def __init__(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Begin with a snapshot; raise BadFrameError where a level of it is none."""
        self._bids, self._asks = _Side(-1), _Side(1)
        self.apply(("buy", *level) for level in bids)
        self.apply(("sell", *level) for level in asks)

    def apply(self, changes: Iterable[Level]) -> None:
        """Take the changes of an update: side, price, size.

        Raises BadFrameError at the first that is none; those before it are taken.
        """
        for change in changes:
            if len(change) < 3 or change[0] not in {"buy", "sell"}:
                raise BadFrameError("a change is not side, price and size")
            (self._bids if change[0] == "buy" else self._asks).set(change[1], change[2])

    def best(self) -> tuple[Best | None, Best | None]:
        """Return the best bid and the best ask; None of a side without levels."""
        return self._bids.best(), self._asks.best()

    def depth(self) -> tuple[int, int]:
        """Return how many levels of bids and of asks there are."""
        return len(self._bids.levels), len(self._asks.levels)
