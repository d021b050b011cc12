"""When a worker has caught up: all that was in the topic at its start is stored, by whichever workers."""

from __future__ import annotations

from cryptometrics.times import Interval

EVERY_S = 0.2
"""How often it is asked whether everything is stored."""


class CatchUpTarget:
    """The ends of all partitions at the start."""

    def __init__(self, held: dict[int, tuple[int, int]], stored: dict[int, int]) -> None:
        """held: partition → the offsets that Kafka holds: the oldest, and the one after the newest.

        stored: partition → next offset, as it was before Kafka was asked.
        """
        self._ends = {partition: end for partition, (_, end) in held.items()}
        # Beyond the end: what that means is found out by whoever opens the partition.
        self._beyond = {p: at for p, at in stored.items() if at > self._ends.get(p, at)}
        self.interval = Interval(EVERY_S)
        """Between two looks at what is stored."""

    def opened(self, partition: int) -> None:
        """Take note that this worker has opened a partition."""
        self._beyond.pop(partition, None)

    def is_reached(self, stored: dict[int, int]) -> bool:
        """Whether that is so, now that this is stored."""
        self._beyond = {p: at for p, at in self._beyond.items() if stored.get(p) == at}
        # A partition that nobody has opened may hide a loss, even where it is empty.
        return not self._beyond and all(stored.get(p, -1) >= end for p, end in self._ends.items())
