"""A topic that gets more partitions: a pair may move to a new one, and its older ticks have to come first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics import log

if TYPE_CHECKING:
    from collections.abc import Callable


class Growth:
    """Says when a partition that is new to the group may begin."""

    def __init__(self, held: Callable[[int], tuple[int, int]]) -> None:
        """held: asks Kafka which offsets a partition has: the oldest, and the one after the newest."""
        self._held = held
        self._ends: dict[int, int] | None = None

    def forget(self) -> None:
        """Let the next question be about a growth of its own: the topic may have grown once more."""
        self._ends = None

    def is_over(self, stored: dict[int, int]) -> bool:
        """Whether the old partitions are stored up to their ends of the moment of the first question.

        stored: partition → next offset, of those that the group has begun. May raise KafkaException.
        """
        if self._ends is None:
            self._ends = {partition: self._held(partition)[1] for partition in stored}
            log.get_logger().warning(
                "topic_grew", old_partitions=len(stored), hint="new ones wait for the old ones"
            )
        return all(stored[partition] >= end for partition, end in self._ends.items())
