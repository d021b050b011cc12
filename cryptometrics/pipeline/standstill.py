"""A partition that stands still although Kafka holds more of it.

A client may stop fetching a partition without a word: it was seen after the broker and the database had
been killed at the same moment. Nothing else would ever end that wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.pipeline.due import Due

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY_S = 5.0
"""How long a partition has to stand still, at least, before Kafka is asked whether there is more of it."""


class Standstill:
    """Compares now and then how far the partitions have come."""

    def __init__(self, held: Callable[[int], tuple[int, int]]) -> None:
        """held: asks Kafka which offsets a partition has: the oldest, and the one after the newest."""
        self._held = held
        self._due = Due(EVERY_S)
        self._seen: dict[int, int] = {}

    def found(self, positions: dict[int, int]) -> int | None:
        """Return a partition that has not moved since the last look, though there is more to read.

        positions: partition → next offset to be read. May raise KafkaException when Kafka does not answer.
        """
        if not self._due():
            return None
        unmoved = [partition for partition, at in positions.items() if self._seen.get(partition) == at]
        self._seen = positions
        return next(
            (partition for partition in unmoved if self._held(partition)[1] > positions[partition]), None
        )

    def forget(self) -> None:
        """Begin to look anew: nothing was to be read for a while, so nothing could move."""
        self._seen = {}
