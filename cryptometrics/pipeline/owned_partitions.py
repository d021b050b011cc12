"""The partitions of a worker: Kafka assigns them, the worker claims them in the database, then reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics import log
from cryptometrics.store import data_loss, partition_claims

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptometrics.kafka.group_consumer import GroupConsumer
    from cryptometrics.pipeline.worker_sessions import Database


class Claims:
    """The assigned partitions, and the epoch of each claimed one."""

    def __init__(
        self,
        topic: partition_claims.GroupTopic,
        consumer: GroupConsumer,
        owner: str,
        *,
        skip_lost: bool,
    ) -> None:
        """owner: a description of this worker for people. skip_lost: continue after records lost unread."""
        self._topic = topic
        self._consumer = consumer
        self._owner = owner
        self._skip_lost = skip_lost
        self._epochs: dict[int, int] = {}
        self._growth = TopicGrowth(consumer.ends.held)
        self.unopened: set[int] = set()
        """Assigned, but not read yet."""

    def add(self, partitions: set[int]) -> None:
        """Add newly assigned partitions."""
        self.unopened |= partitions
        self._growth.reset()

    def release(self, partitions: set[int], database: Database | None) -> None:
        """Drop partitions that another worker owns, or will own."""
        self.unopened -= partitions
        if database is not None:
            database.calculator.drop(partitions)
        for partition in partitions:
            self._epochs.pop(partition, None)

    def opened(self) -> dict[int, int]:
        """Return the epoch of each partition being read."""
        return {p: epoch for p, epoch in self._epochs.items() if p not in self.unopened}

    def open(self, partition: int, database: Database) -> bool:
        """Claim a partition and read it from its stored offset; return False if it has to wait.

        Raises DataLossError if Kafka no longer holds the next record, unless losses are to be skipped, and
        UserError if the group is being deleted, or was deleted meanwhile.
        """
        connection, backend = database.connection, database.backend
        self.check_topic(self._consumer.topic_id(fresh=True))
        stored = partition_claims.stored(connection, self._topic, partition)
        oldest, end = self._consumer.ends.held(partition)
        if stored is None:
            partition_claims.refuse_deleted(connection, self._topic)
            if not self._growth.is_over(partition_claims.next_offsets(connection, self._topic)):
                return False
            # The partition is newer than the group, so everything in it is unread.
            stored = partition_claims.StoredOffset(self._topic.id, 0)
        loss = data_loss.found(stored, self._topic.id, oldest, end)
        if loss is not None and not self._skip_lost:
            raise loss.error(self._topic, partition)
        claim = None
        if (epoch := self._epochs.get(partition)) is not None:
            claim = partition_claims.renew(connection, self._topic, partition, epoch, backend)
        if claim is None:
            first = stored.next_offset
            claim = partition_claims.claim(connection, self._topic, partition, first, self._owner, backend)
        if loss is not None:
            claim = data_loss.skip(connection, self._topic, claim, loss)
        self._epochs[partition] = claim.epoch
        database.calculator.own(claim)
        self._consumer.go_to(partition, claim.next_offset)
        self.unopened.discard(partition)
        return True

    def check_topic(self, topic_id: str) -> None:
        """Raise DataLossError if the topic was recreated, which the Kafka client does not notice."""
        if topic_id != self._topic.id:
            raise data_loss.DataLossError(
                f"the topic {self._topic.name} was recreated while group {self._topic.group} read it: "
                "start `cryptometrics process` again to see the loss and what to do"
            )


class TopicGrowth:
    """Decides when a partition that is new to the group may begin.

    A pair may move to a new partition, and its older ticks have to be stored first.
    """

    def __init__(self, held: Callable[[int], tuple[int, int]]) -> None:
        """held: returns a partition's oldest and end offset in Kafka."""
        self._held = held
        self._ends: dict[int, int] | None = None

    def reset(self) -> None:
        """Expect a new growth: the topic may have grown once more."""
        self._ends = None

    def is_over(self, stored: dict[int, int]) -> bool:
        """Return whether the old partitions are stored up to the ends they had at the first call.

        stored: partition → next offset, of the partitions that the group has begun. May raise KafkaException.
        """
        if self._ends is None:
            self._ends = {partition: self._held(partition)[1] for partition in stored}
            log.get_logger().warning(
                "topic_grew", old_partitions=len(stored), hint="new partitions wait for the old ones"
            )
        return all(stored[partition] >= end for partition, end in self._ends.items())
