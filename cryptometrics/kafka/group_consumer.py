"""Read the topic as a member of a consumer group, from the offsets that PostgreSQL stores."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaException,
    TopicCollection,
    TopicPartition,
)

from cryptometrics import log
from cryptometrics.kafka import errors
from cryptometrics.kafka.client import consumer_conf, located, log_error, make_admin, make_consumer
from cryptometrics.kafka.membership import Membership
from cryptometrics.kafka.open_transactions import TransactionMonitor
from cryptometrics.kafka.partition_ends import PartitionEnds, known_end, read_to_end

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from confluent_kafka import KafkaError, Message
    from confluent_kafka.admin import TopicDescription  # type: ignore[attr-defined]  # it is documented there

    from cryptometrics.config import Settings
    from cryptometrics.kafka.record import Record
    from cryptometrics.kafka.topic import Topic

IDLE_S = 0.25
"""Seconds an idle consumer waits for a first message before its caller gets control back."""
LINGER_S = 0.005
"""Seconds a partial batch waits at most for more messages while the database writes the one before."""
SETTLE_S = 0.002
"""Seconds that the partitions of one fetch need to arrive one after another; part of the budget."""
COMMIT_PAUSE_S = 10.0
"""Seconds without commits after a connection was lost; a session without its coordinator lasts less."""
TOPIC_ID_RENEWED_S = 1.0
"""Seconds after which the topic's id is requested again."""
TOPIC_ID_ANSWER_S = 3.0
"""Seconds Kafka has to answer that request."""
TOPIC_ID_EXPIRES_S = 3.0
"""Largest age of the id when messages are read; after a longer pause the consumer waits for a new answer."""


class GroupConsumer:
    """Reads the topic as a member of the group, from the offsets its owner gives.

    Kafka's committed offsets are written for lag tools and never read.
    """

    def __init__(
        self, settings: Settings, topic: Topic, group: str, instance_id: str, latency: float = 0.0
    ) -> None:
        """Read `topic` as the member `instance_id`.

        latency: seconds that a record may wait for company, from its arrival in Kafka. The broker holds it
        back, by its own clock: so there is one fetch per budget, and no record needs a request of its own.
        """
        self._settings = settings
        self._topic = topic
        self._settle = min(SETTLE_S, latency / 2)
        self._conf = consumer_conf(settings, group, instance_id, hold=latency - self._settle)
        self._conf |= {"error_cb": self._see_error, "on_commit": self._see_commit}
        self._address: str | None = self._conf["bootstrap.servers"]
        self._name, self._moves = instance_id, 0
        self._consumer = make_consumer(settings, self._conf)
        self._subscribe: Callable[[], None] = lambda: None
        self.fenced = False
        """Whether another member has taken this one's place for good."""
        self.disconnected = False
        """Whether a connection to a broker was lost since this member joined."""
        self.ends = PartitionEnds(make_admin(settings), topic.name)
        self.transactions = self._monitor()
        self._membership = Membership(group, instance_id)
        self._topic_id = topic.id
        self._asked: Future[TopicDescription] | None = None
        self._asked_at = self._heard_at = time.monotonic()
        self._committed: dict[int, int] = {}
        self._commits_from = time.monotonic()
        """When the next commit may be sent."""
        self._is_committing = False
        """Whether one waits for its answer."""
        self.assigned: set[int] = set()

    def join(
        self,
        on_assign: Callable[[set[int]], None],
        on_revoke: Callable[[set[int]], None],
        on_lost: Callable[[set[int]], None],
    ) -> None:
        """Join the group; the callbacks run inside `consume` and `keep_place`."""

        def assign(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            # Accept the partitions but read nothing yet: the database holds the offsets to begin at.
            for partition in partitions:
                partition.offset = OFFSET_BEGINNING
            consumer.incremental_assign(partitions)
            consumer.pause(partitions)
            new = {partition.partition for partition in partitions}
            self.assigned |= new
            on_assign(new)

        def leave(then: Callable[[set[int]], None]) -> Callable[[Consumer, list[TopicPartition]], None]:
            def callback(consumer: Consumer, partitions: list[TopicPartition]) -> None:
                gone = {partition.partition for partition in partitions}
                then(gone)
                self.assigned -= gone
                consumer.incremental_unassign(partitions)

            return callback

        self._subscribe = lambda: self._consumer.subscribe(
            [self._topic.name], on_assign=assign, on_revoke=leave(on_revoke), on_lost=leave(on_lost)
        )
        self._subscribe()

    def rejoin(self) -> None:
        """Join again, with a new client."""
        self._consumer.close()
        self.assigned.clear()
        self._consumer = make_consumer(self._settings, self._conf)
        self.fenced = self.disconnected = False
        self._is_committing = False
        self._subscribe()

    def is_left_out(self) -> bool:
        """Return whether the client has lost its place in the group and does not join again."""
        return self._membership.is_lost(self.ends.admin, self.assigned)

    def follow(self) -> None:
        """Follow the local Kafka, which may have been started again at another address.

        Raises KafkaException while it is stopped. Meanwhile the consumer knows no broker, so that it does not
        join the group in another cluster.
        """
        address = self._settings.running_kafka
        if address != self._address:
            self._address, self._moves = address, self._moves + 1
            # Under its old name the new client would get its old partitions without a rebalance, and those
            # that changed hands when Kafka stopped would have no owner.
            name = f"{self._name}-{self._moves}"
            self._conf = located(self._conf, address) | {"group.instance.id": name}
            self._membership = Membership(self._conf["group.id"], name)
            self.rejoin()
            if address is not None:
                self.ends.admin, self._asked = make_admin(self._settings), None
                self.transactions = self._monitor()
        self._check_address()

    def _monitor(self) -> TransactionMonitor:
        group, address = self._conf["group.id"], self._settings.kafka_address
        return TransactionMonitor(self.ends.admin, self._topic.name, address, group=group)

    def _check_address(self) -> None:
        """Raise KafkaException unless Kafka runs at the consumer's address."""
        if self._address is None or self._address != self._settings.running_kafka:
            raise errors.stopped()

    def consume(
        self, limit: int, wait_for_writer: Callable[[float], bool]
    ) -> tuple[list[Record], list[Message]]:
        """Return the available messages, and the events.

        wait_for_writer: waits so many seconds until the writer is idle, and returns whether it is. While it
        is not, a partial batch waits a moment for more messages: larger batches cost less per message.
        """
        received = self._consumer.consume(1, IDLE_S)
        if received:
            received += self._consumer.consume(limit - 1, self._settle)
            if len(received) < limit and not wait_for_writer(0):
                wait_for_writer(LINGER_S)
                received += self._consumer.consume(limit - len(received), 0)
        messages = [message for message in received if message.error() is None]
        events = [] if len(messages) == len(received) else [m for m in received if m.error() is not None]
        for event in events:
            self._see_fence(event)
        return cast("list[Record]", messages), events

    def keep_place(self, seconds: float) -> bool:
        """Serve rebalances while all partitions are paused; return whether a message came nevertheless."""
        message = self._consumer.poll(seconds)
        if message is None:
            return False
        self._see_fence(message)
        return message.error() is None

    def _see_fence(self, message: Message) -> None:
        error = message.error()
        if error is not None and errors.is_fatal(error):
            self.fenced = True

    def _see_error(self, error: KafkaError) -> None:
        if errors.is_transient(error):
            self.disconnected = True
            self._pause_commits()
        log_error(error)

    def go_to(self, partition: int, offset: int) -> None:
        """Read a partition from this offset; discard what was fetched from elsewhere."""
        self._consumer.incremental_unassign([self._at(partition)])
        self._consumer.incremental_assign([self._at(partition, offset)])
        self._consumer.resume([self._at(partition)])

    def pause(self) -> None:
        """Stop reading for now."""
        self._consumer.pause(self._all())

    def resume(self) -> None:
        """Resume reading where it was paused."""
        self._consumer.resume(self._all())

    def topic_id(self, *, fresh: bool = False) -> str:
        """Return the id of the topic with this name; one created again after a deletion has a new id.

        The answer is at most a few seconds old and renewed in the background; `fresh` waits for a new one.
        Raises KafkaException if Kafka does not answer.
        """
        self._check_address()
        if self._asked is not None and self._asked.done() and self._asked.exception() is None:
            self._topic_id, self._heard_at = str(self._asked.result().topic_id), self._asked_at
        age = time.monotonic() - self._heard_at
        if fresh or age > TOPIC_ID_EXPIRES_S:
            self._topic_id = self._wait_for_topic_id()
            self._heard_at = self._asked_at
        elif age > TOPIC_ID_RENEWED_S and (self._asked is None or self._asked.done()):
            self._ask_topic()
        return self._topic_id

    def _wait_for_topic_id(self) -> str:
        try:
            return str(self._ask_topic().result().topic_id)
        except KafkaException as error:
            if errors.is_transient(error):
                # The request goes to the controller that the client knows. If that broker is away, the client
                # waits for it and asks no other; a new client asks all of them.
                self.ends.admin = make_admin(self._settings)
            raise

    def _ask_topic(self) -> Future[TopicDescription]:
        self._asked_at = time.monotonic()
        name = self._topic.name
        self._asked = self.ends.admin.describe_topics(
            TopicCollection([name]), request_timeout=TOPIC_ID_ANSWER_S
        )[name]
        return self._asked

    def lags(self, stored: dict[int, int]) -> dict[int, int]:
        """Return the number of unstored messages in each assigned partition, as far as known."""
        return {
            partition: max(known_end(self._consumer, self._topic.name, partition) - stored[partition], 0)
            for partition in self.assigned & stored.keys()
        }

    def at_end(self, positions: dict[int, int]) -> list[int]:
        """Return the partitions that have been read to their end, as far as known."""
        return read_to_end(self._consumer, self._topic.name, positions)

    def commit(self, stored: dict[int, int], *, last: bool = False) -> None:
        """Commit the stored offsets to Kafka for lag tools; a failure has no consequences.

        The client gives up no partition before its commits are answered, and without a coordinator they wait.
        So one that nobody needs could keep a worker out of its group, for minutes in the worst case.

        last: none follows, so it is sent even if the one before is not answered yet.
        """
        if time.monotonic() < self._commits_from or (self._is_committing and not last):
            return
        mine = {partition: stored[partition] for partition in self.assigned & stored.keys()}
        news = [self._at(*place) for place in mine.items() if self._committed.get(place[0]) != place[1]]
        if not news:
            return
        self._committed |= mine
        try:
            self._consumer.commit(offsets=news, asynchronous=True)
            self._is_committing = True
        except KafkaException as error:
            self._pause_commits()
            log.get_logger().debug("kafka_commit_failed", error=str(error))

    def _see_commit(self, error: KafkaError | None, _offsets: list[TopicPartition]) -> None:
        self._is_committing = False
        if error is not None:
            self._pause_commits()

    def _pause_commits(self) -> None:
        self._commits_from = time.monotonic() + COMMIT_PAUSE_S

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _all(self) -> list[TopicPartition]:
        return [self._at(partition) for partition in self.assigned]

    def _at(self, partition: int, offset: int | None = None) -> TopicPartition:
        if offset is None:
            return TopicPartition(self._topic.name, partition)
        return TopicPartition(self._topic.name, partition, offset)
