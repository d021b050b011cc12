"""Read the messages of a partition again, without joining a group or committing offsets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import confluent_kafka
from confluent_kafka import KafkaException

from cryptometrics.errors import CryptometricsError, ServiceUnavailableError, UserError
from cryptometrics.kafka import client, errors
from cryptometrics.kafka.client import make_admin
from cryptometrics.kafka.partition_ends import PartitionEnds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from confluent_kafka import KafkaError, Message

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

    def read(self, partition: TopicPartition, begin: int, end: int) -> Iterator[list[Message]]:
        """Yield the messages in [begin, end) that exist, many at a time.

        Raises ServiceUnavailableError if Kafka sends nothing for `settings.wait` seconds, UserError if the
        user lacks a right, CryptometricsError if Kafka refuses for another reason.
        """
        if begin >= end:
            return
        self._consumer.assign([_position(partition, begin)])
        for received in self._events(partition):
            events = [event for event in received if event.error() is not None]
            messages = [event for event in received if event.error() is None] if events else received
            last = messages[-1].offset() if messages else None
            if last is not None and last >= end - 1:
                yield [message for message in messages if (message.offset() or 0) < end]
                return
            yield messages
            if self._is_end(partition, events):
                return

    @staticmethod
    def _is_end(partition: TopicPartition, events: Iterable[Message]) -> bool:
        """Whether the partition has no more messages; raise what forbids reading it."""
        for event in events:
            error = event.error()
            if error is not None and errors.is_partition_end(error):
                return True
            if error is not None and _is_final(error):
                kind = UserError if errors.is_forbidden(error) else CryptometricsError
                raise kind(f"Kafka refuses to let {partition} be read: {error.str()}")
        return False

    def _events(self, partition: TopicPartition) -> Iterator[list[Message]]:
        last_received = time.monotonic()
        while time.monotonic() - last_received < self._wait:
            received = self._consumer.consume(1, IDLE_S)
            if received:
                received += self._consumer.consume(MAX_MESSAGES - 1, LINGER_S)
                # Skip messages of the previous partition.
                yield [event for event in received if event.partition() == partition.partition]
                last_received = time.monotonic()
        raise ServiceUnavailableError(
            f"Kafka sent no message of {partition} for {self._wait:g} s: check that it is up, then try again"
        )


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


def _position(partition: TopicPartition, offset: int) -> confluent_kafka.TopicPartition:
    return confluent_kafka.TopicPartition(_topic_of(partition), partition.partition, offset)


def _topic_of(partition: TopicPartition) -> str:
    assert partition.topic is not None  # noqa: S101  (None only for rows without a book)
    return partition.topic
