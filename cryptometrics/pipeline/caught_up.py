"""When a worker has caught up: everything that the topic held at its start is stored, by any worker."""

from __future__ import annotations

from cryptometrics.times import Interval

CHECK_S = 0.2
"""Time between two checks of the stored offsets."""


class CatchUpTarget:
    """The end offsets of all partitions at a worker's start."""

    def __init__(self, held: dict[int, tuple[int, int]], stored: dict[int, int]) -> None:
        """held: partition → oldest and end offset in Kafka.

        stored: partition → next offset in the database, read before Kafka was asked.
        """
        self._ends = {partition: end for partition, (_, end) in held.items()}
        # Beyond the end: records were lost, or the topic was recreated. Whoever opens the partition decides.
        self._beyond = {p: offset for p, offset in stored.items() if offset > self._ends.get(p, offset)}
        self.interval = Interval(CHECK_S)

    def opened(self, partition: int) -> None:
        """Note that this worker has opened a partition, so its stored offset is right."""
        self._beyond.pop(partition, None)

    def is_reached(self, stored: dict[int, int]) -> bool:
        """Return whether these next offsets, by partition, are at the target."""
        self._beyond = {p: offset for p, offset in self._beyond.items() if stored.get(p) == offset}
        # An unopened partition may hide a loss, even if it is empty.
        return not self._beyond and all(stored.get(p, -1) >= end for p, end in self._ends.items())
