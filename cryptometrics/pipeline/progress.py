"""How far partitions have come: whether a worker has caught up, and whether a partition is stalled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.times import Interval

if TYPE_CHECKING:
    from collections.abc import Callable

CATCH_UP_CHECK_S = 0.2
"""Time between two checks of the stored offsets."""
STALL_CHECK_S = 3.0
"""Time between two checks for stalled partitions, enough for a message in transit to arrive."""


class CatchUpTarget:
    """The ends of all partitions at a worker's start; once any worker has stored them, it has caught up."""

    def __init__(self, held: dict[int, tuple[int, int]], stored: dict[int, int]) -> None:
        """held: partition → oldest and end offset in Kafka.

        stored: partition → next offset in the database, read before Kafka was asked.
        """
        self._ends = {partition: end for partition, (_, end) in held.items()}
        # Beyond the end: records were lost, or the topic was recreated. Whoever opens the partition decides.
        self._beyond = {p: offset for p, offset in stored.items() if offset > self._ends.get(p, offset)}
        self.interval = Interval(CATCH_UP_CHECK_S)

    def opened(self, partition: int) -> None:
        """Note that this worker has opened a partition, so its stored offset is right."""
        self._beyond.pop(partition, None)

    def is_reached(self, stored: dict[int, int]) -> bool:
        """Return whether these next offsets, by partition, are at the target."""
        self._beyond = {p: offset for p, offset in self._beyond.items() if stored.get(p) == offset}
        # An unopened partition may hide a loss, even if it is empty.
        return not self._beyond and all(stored.get(p, -1) >= end for p, end in self._ends.items())


class StallDetector:
    """Finds a partition that makes no progress although Kafka holds more of it.

    The Kafka client can stop fetching a partition silently: this happened when the broker and the database
    were killed at the same moment. Nothing else would ever end that wait.
    """

    def __init__(self, held: Callable[[int], tuple[int, int]]) -> None:
        """held: returns a partition's oldest and end offset in Kafka."""
        self._held = held
        self._interval = Interval(STALL_CHECK_S)
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
