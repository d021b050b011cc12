"""A partition that stands still although Kafka holds more of it.

A client may stop fetching a partition without a word: it was seen after the broker and the database had
been killed at the same moment. Nothing else would ever end that wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.times import Interval

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY_S = 3.0
"""How often is looked; from one look to the next a message on its way has arrived."""


class StallDetector:
    """Compares now and then how far the partitions have come."""

    def __init__(self, held: Callable[[int], tuple[int, int]]) -> None:
        """held: asks Kafka which offsets a partition has: the oldest, and the one after the newest."""
        self._held = held
        self._interval = Interval(EVERY_S)
        self._seen: dict[int, int] = {}
        self._behind: dict[int, int] = {}
        self._drained = False

    def find_stalled(self, positions: dict[int, int], *, drained: bool) -> int | None:
        """Return a partition that has not moved from one look to the next, though there was more to read.

        positions: partition → next offset to be read; drained: all that had been fetched was taken. What
        still waits behind other partitions' messages does not stand still.
        May raise KafkaException when Kafka does not answer.
        """
        self._drained |= drained
        if not self._interval.elapsed():
            return None
        stuck = [p for p, at in self._behind.items() if self._drained and positions.get(p) == at]
        unmoved = [p for p, at in positions.items() if self._seen.get(p) == at]
        self._behind = {p: positions[p] for p in unmoved if self._held(p)[1] > positions[p]}
        self._seen, self._drained = positions, False
        return stuck[0] if stuck else None

    def reset(self) -> None:
        """Begin to look anew: nothing was to be read for a while, so nothing could move."""
        self._seen, self._behind, self._drained = {}, {}, False
