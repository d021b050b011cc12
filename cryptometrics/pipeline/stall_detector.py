"""Detects a partition that makes no progress although Kafka holds more of it.

The Kafka client can stop fetching a partition silently: this happened when the broker and the database were
killed at the same moment. Nothing else would ever end that wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.times import Interval

if TYPE_CHECKING:
    from collections.abc import Callable

CHECK_S = 3.0
"""Time between two checks, enough for a message in transit to arrive."""


class StallDetector:
    """Compares the positions of the partitions from one check to the next."""

    def __init__(self, held: Callable[[int], tuple[int, int]]) -> None:
        """held: returns a partition's oldest and end offset in Kafka."""
        self._held = held
        self._interval = Interval(CHECK_S)
        self._previous: dict[int, int] = {}
        self._suspects: dict[int, int] = {}
        self._drained = False

    def find_stalled(self, positions: dict[int, int], *, drained: bool) -> int | None:
        """Return a partition that has not moved between two checks although it has more to read.

        positions: partition → next offset to read. drained: everything that was fetched has been consumed;
        until then a partition may just be waiting behind the messages of others.
        May raise KafkaException if Kafka does not answer.
        """
        self._drained |= drained
        if not self._interval.elapsed():
            return None
        stalled = [p for p, at in self._suspects.items() if self._drained and positions.get(p) == at]
        unmoved = [p for p, at in positions.items() if self._previous.get(p) == at]
        self._suspects = {p: positions[p] for p in unmoved if self._held(p)[1] > positions[p]}
        self._previous, self._drained = positions, False
        return stalled[0] if stalled else None

    def reset(self) -> None:
        """Discard earlier positions: while consumption was paused, nothing could move."""
        self._previous, self._suspects, self._drained = {}, {}, False
