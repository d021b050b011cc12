"""Which partitions a worker has: assigned by Kafka, then claimed in the database, then read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics import log
from cryptometrics.store import data_loss, offsets

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptometrics.kafka.group_consumer import GroupConsumer
    from cryptometrics.pipeline.database import Database


class Claims:
    """The partitions assigned, with the epoch of each one that is claimed."""

    def __init__(
        self,
        topic: offsets.GroupTopic,
        source: GroupConsumer,
        owner: str,
        *,
        skip_lost: bool,
    ) -> None:
        """owner: who we are, for people who look. skip_lost: go on where Kafka has lost what was unread."""
        self._topic = topic
        self._source = source
        self._owner = owner
        self._skip_lost = skip_lost
        self._epochs: dict[int, int] = {}
        self._growth = TopicGrowth(source.ends.held)
        self.unopened: set[int] = set()
        """Assigned, but not to be read yet."""

    def add(self, partitions: set[int]) -> None:
        """Take note of partitions that were assigned."""
        self.unopened |= partitions
        self._growth.forget()

    def let_go(self, partitions: set[int], database: Database | None) -> None:
        """Drop partitions that another worker owns, or will own."""
        self.unopened -= partitions
        if database is not None:
            database.calculator.drop(partitions)
        for partition in partitions:
            self._epochs.pop(partition, None)

    def opened(self) -> dict[int, int]:
        """Return the epoch of each partition that is being read."""
        return {p: epoch for p, epoch in self._epochs.items() if p not in self.unopened}

    def open(self, partition: int, database: Database) -> bool:
        """Claim a partition and read it from where the database says on; return False where that has to wait.

        Raises DataLossError where Kafka does not hold what was to be read next, unless that is to be skipped.
        """
        connection, backend = database.connection, database.backend
        self.see_same_topic(self._source.topic_id(fresh=True))
        stored = offsets.stored(connection, self._topic, partition)
        oldest, end = self._source.ends.held(partition)
        if stored is None:
            if not self._growth.is_over(offsets.next_offsets(connection, self._topic)):
                return False
            # The group was there before the partition, so all that ever was in it is to be read.
            stored = offsets.StoredOffset(self._topic.id, 0)
        loss = data_loss.found(stored, self._topic.id, oldest, end)
        if loss is not None and not self._skip_lost:
            raise loss.error(self._topic, partition)
        claim = None
        if (epoch := self._epochs.get(partition)) is not None:
            claim = offsets.renew(connection, self._topic, partition, epoch, backend)
        if claim is None:
            first = stored.next_offset
            claim = offsets.claim(connection, self._topic, partition, first, self._owner, backend)
        if loss is not None:
            claim = data_loss.skip(connection, self._topic, claim, loss)
        self._epochs[partition] = claim.epoch
        database.calculator.own(claim)
        self._source.go_to(partition, claim.next_offset)
        self.unopened.discard(partition)
        return True

    def see_same_topic(self, topic_id: str) -> None:
        """Raise where the topic was made again while it was read: Kafka goes on as if it were the old one."""
        if topic_id != self._topic.id:
            raise data_loss.DataLossError(
                f"the topic {self._topic.name} was made again while group {self._topic.group} read it: "
                "start `cryptometrics process` again to see what is lost, and what can be done"
            )


class TopicGrowth:
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
