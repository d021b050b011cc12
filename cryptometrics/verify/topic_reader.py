"""Read the messages of a partition again, without joining a group or committing offsets."""

from __future__ import annotations

import itertools
import operator
import time
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import confluent_kafka
from confluent_kafka import KafkaException, Message

from cryptometrics.errors import CryptometricsError, ServiceUnavailableError, UserError
from cryptometrics.kafka import client, errors
from cryptometrics.kafka.client import make_admin
from cryptometrics.kafka.partition_ends import PartitionEnds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from confluent_kafka import Consumer, KafkaError

    from cryptometrics.config import Settings
    from cryptometrics.verify.findings import TopicPartition

MAX_MESSAGES = 10_000
"""Messages fetched in one call."""
IDLE_S = 0.5
"""How long one call waits for a first message, before the time limit is checked."""
LINGER_S = 0.005
"""How long one call waits for further messages."""


class TopicReader:
    """Reads partitions again, one after the other; must be closed."""

    def __init__(self, settings: Settings) -> None:
        self._wait = settings.wait
        self._admin = make_admin(settings)
        self._consumer = client.make_consumer(settings, _conf(settings))

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()

    def held(self, partition: TopicPartition) -> tuple[int, int]:
        """Return the oldest offset that Kafka holds of a partition, and the exclusive upper bound."""
        try:
            return PartitionEnds(self._admin, _topic_of(partition)).held(partition.partition)
        except KafkaException as error:
            kind = UserError if errors.is_forbidden(error) else ServiceUnavailableError
            raise kind(f"Kafka does not report the offsets of {partition}: {errors.text(error)}") from None

    def open(self, partition: TopicPartition, begin: int, end: int) -> PartitionReader:
        """Begin to read the messages in [begin, end) of a partition; the one before must be done."""
        return PartitionReader(self._consumer, partition, begin, end, self._wait)


class PartitionReader:
    """Reads the messages of a partition in turn, only as far as they are asked for."""

    def __init__(
        self, consumer: Consumer, partition: TopicPartition, begin: int, end: int, wait: float
    ) -> None:
        self._consumer, self._partition, self._wait = consumer, partition, wait
        self._end = end
        self._ahead: list[Message] = []
        """Messages that were received and not asked for: those behind a hole, as a rule none."""
        self._go_to(begin)

    def skip_to(self, offset: int) -> None:
        """Leave out the messages before an offset, if there are many."""
        if self._next + MAX_MESSAGES < min(offset, self._end):
            self._go_to(offset)

    def read_through(self, last: int) -> list[Message]:
        """Return the next messages that exist, up to the offset `last` or the end.

        Raises ServiceUnavailableError if Kafka sends nothing for `settings.wait` seconds, UserError if the
        user lacks a right, CryptometricsError if Kafka refuses for another reason.
        """
        last = min(last, self._end - 1)
        messages, self._ahead = self._ahead, []
        while self._next <= last:
            messages += self._receive(last - self._next + 1)
        beyond = bisect_right(messages, last, key=_offset)
        messages, self._ahead = messages[:beyond], messages[beyond:]
        return messages

    def _go_to(self, offset: int) -> None:
        self._next, self._ahead = offset, []
        if offset < self._end:
            self._consumer.assign([_position(self._partition, offset)])

    def _receive(self, most: int) -> list[Message]:
        """Return some messages, as soon as there is one; none at the end of the partition."""
        deadline = time.monotonic() + self._wait
        while time.monotonic() < deadline:
            received = self._consumer.consume(1, IDLE_S)
            if received and most > 1:
                received += self._consumer.consume(min(most, MAX_MESSAGES) - 1, LINGER_S)
            messages, events = self._sorted(received)
            if messages:
                self._next = _offset(messages[-1]) + 1
            if self._is_end(events):
                self._next = self._end
            if messages or self._next == self._end:
                return messages
        raise ServiceUnavailableError(
            f"Kafka sent no message of {self._partition} for {self._wait:g} s: "
            "check that it is up, then try again"
        )

    def _sorted(self, received: list[Message]) -> tuple[list[Message], list[Message]]:
        """Return the messages of the partition and its events; there may be some of the partition before."""
        number = self._partition.partition
        # Nearly always all are messages of this partition, and no code runs for each of them.
        if [*map(Message.partition, received)].count(number) < len(received):
            received = [each for each in received if each.partition() == number]
        is_event = [*map(operator.is_not, map(Message.error, received), itertools.repeat(None))]
        if not any(is_event):
            return received, []
        messages = itertools.compress(received, map(operator.not_, is_event))
        return list(messages), list(itertools.compress(received, is_event))

    def _is_end(self, events: Iterable[Message]) -> bool:
        """Whether the partition has no more messages; raise what forbids reading it."""
        for event in events:
            error = event.error()
            if error is not None and errors.is_partition_end(error):
                return True
            if error is not None and _is_final(error):
                kind = UserError if errors.is_forbidden(error) else CryptometricsError
                raise kind(f"Kafka refuses to let {self._partition} be read: {error.str()}")
        return False


def _conf(settings: Settings) -> dict[str, Any]:
    tuning = {
        "queued.min.messages": 100_000,
        "queued.max.messages.kbytes": 32 * 1024,
        # A full queue empties quickly; the default checks again only after a second.
        "fetch.queue.backoff.ms": 5,
        # The messages are there already: waiting for more only delays the end of a partition.
        "fetch.wait.max.ms": 10,
    }
    required = {
        "group.id": "cryptometrics-verify",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
    }
    return tuning | client.client_conf(settings, **required)


def _is_final(error: KafkaError) -> bool:
    """Whether Kafka itself reports the error; librdkafka retries network errors, within the time limit."""
    return error.fatal() or errors.is_from_broker(error) or errors.is_offset_missing(error)


def _offset(message: Message) -> int:
    offset = message.offset()
    assert offset is not None  # noqa: S101  (None only for events)
    return offset


def _position(partition: TopicPartition, offset: int) -> confluent_kafka.TopicPartition:
    return confluent_kafka.TopicPartition(_topic_of(partition), partition.partition, offset)


def _topic_of(partition: TopicPartition) -> str:
    assert partition.topic is not None  # noqa: S101  (None only for rows without a book)
    return partition.topic
