"""The order book of one product, rebuilt from a snapshot and updates. Pure and exact.

Sizes are absolute: an update replaces the size of its level, and zero removes the level. Updates may remove
levels that never existed.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.feeds.coinbase.values import BadFrameError, number, plain

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from cryptometrics.feeds.coinbase.values import Level

SPARE = 64
"""Size of a side's heap beyond twice its levels at which it is rebuilt."""


class BestLevel(NamedTuple):
    """The best price of a side and its size, as text in the form of the topic."""

    price: str
    size: str


class _Side:
    """Bids or asks: the levels by price, and a heap with the best one on top.

    A removed level stays in the heap until it reaches the top, so a change takes logarithmic time.
    """

    __slots__ = ("_heap", "_sign", "levels")

    def __init__(self, sign: int) -> None:
        """sign: 1 if the lowest price is the best, -1 if the highest is."""
        self._sign = sign
        self.levels: dict[Decimal, BestLevel] = {}
        self._heap: list[Decimal] = []

    def set(self, price: str, size: str) -> None:
        key, amount = number(price), number(size)
        price_text, size_text = plain(price), plain(size)
        if not key or amount is None or price_text is None or size_text is None:  # 0 is not a price
            raise BadFrameError(f"not a level: {price[:40]!r}, {size[:40]!r}")
        if not amount:
            self.levels.pop(key, None)
            return
        if key not in self.levels:
            heapq.heappush(self._heap, self._placed(key))
        self.levels[key] = BestLevel(price_text, size_text)

    def _placed(self, key: Decimal) -> Decimal:
        """Convert a key to its form in the heap, or back; `-key` would round it."""
        return key if self._sign > 0 else key.copy_negate()

    def best(self) -> BestLevel | None:
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
    """Bids and asks of one product."""

    __slots__ = ("_asks", "_bids")

    def __init__(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Load a snapshot; raise BadFrameError if a level is malformed."""
        self._bids, self._asks = _Side(-1), _Side(1)
        self.apply(("buy", *level) for level in bids)
        self.apply(("sell", *level) for level in asks)

    def apply(self, changes: Iterable[Level]) -> None:
        """Apply the changes of an update: side, price, size.

        Raises BadFrameError at the first malformed change, after applying those before it.
        """
        for change in changes:
            if len(change) < 3 or change[0] not in {"buy", "sell"}:
                raise BadFrameError("a change is not side, price and size")
            (self._bids if change[0] == "buy" else self._asks).set(change[1], change[2])

    def best(self) -> tuple[BestLevel | None, BestLevel | None]:
        """Return the best bid and the best ask; None for an empty side."""
        return self._bids.best(), self._asks.best()
