"""The messages of a partition, read by a consumer that joins no group and commits nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException, TopicPartition

from cryptometrics.errors import CryptometricsError, ServiceUnavailableError, UserError
from cryptometrics.kafka import client, errors
from cryptometrics.kafka.client import make_admin
from cryptometrics.kafka.partition_ends import PartitionEnds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from confluent_kafka import KafkaError, Message

    from cryptometrics.config import Settings
    from cryptometrics.verify.findings import Place

AT_ONCE = 10_000
"""Messages fetched at once."""
IDLE_S = 0.5
"""How long a first message is waited for before the limit is looked at."""
LINGER_S = 0.005
"""How long more messages are waited for."""


class Messages:
    """Reads partitions again, one after the other; close it in the end."""

    def __init__(self, settings: Settings) -> None:
        self._wait = settings.wait
        self._admin = make_admin(settings)
        self._consumer = client.make_consumer(settings, _conf(settings))

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()

    def held(self, place: Place) -> tuple[int, int]:
        """Return the offsets that Kafka holds of a partition: the oldest, and the one after the newest."""
        try:
            return PartitionEnds(self._admin, _topic(place)).held(place.partition)
        except KafkaException as error:
            kind = UserError if errors.is_forbidden(error) else ServiceUnavailableError
            raise kind(f"Kafka does not say what it holds of {place}: {errors.text(error)}") from None

    def read(self, place: Place, begin: int, end: int) -> Iterator[tuple[int, Message]]:
        """Yield offset and message from `begin` to before `end`, as far as there are any.

        Raises ServiceUnavailableError when nothing comes for `settings.wait` seconds, CryptometricsError
        when Kafka refuses: UserError for want of a right.
        """
        self._consumer.assign([_at(place, begin)])
        for message in self._events(place):
            error, offset = message.error(), message.offset()
            if error is None and offset is not None:
                if offset < end:
                    yield offset, message
                if offset >= end - 1:
                    return
            elif error is not None and errors.is_partition_end(error):
                return
            elif error is not None and _is_final(error):
                kind = UserError if errors.is_forbidden(error) else CryptometricsError
                raise kind(f"Kafka does not let {place} be read: {error.str()}")

    def _events(self, place: Place) -> Iterator[Message]:
        heard = time.monotonic()
        while time.monotonic() - heard < self._wait:
            received = self._consumer.consume(1, IDLE_S)
            if received:
                received += self._consumer.consume(AT_ONCE - 1, LINGER_S)
                # What is left over from the partition before is passed over.
                yield from (event for event in received if event.partition() == place.partition)
                heard = time.monotonic()
        raise ServiceUnavailableError(
            f"Kafka sent nothing of {place} for {self._wait:g} s: see whether it is up, and run this again"
        )


def _conf(settings: Settings) -> dict[str, Any]:
    tuning = {
        "queued.min.messages": 100_000,
        "queued.max.messages.kbytes": 32 * 1024,
        # A full queue is soon empty again: librdkafka would look only after a second.
        "fetch.queue.backoff.ms": 5,
        # What is to be read is there: to wait for more only delays the end of a partition.
        "fetch.wait.max.ms": 10,
    }
    promised = {
        "group.id": "cryptometrics-verify",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
    }
    return tuning | client.client_conf(settings, **promised)


def _is_final(error: KafkaError) -> bool:
    """Whether it is Kafka's own answer; librdkafka's trouble to reach it may pass, and has its limit."""
    return error.fatal() or errors.is_from_broker(error) or errors.is_offset_missing(error)


def _at(place: Place, offset: int) -> TopicPartition:
    return TopicPartition(_topic(place), place.partition, offset)


def _topic(place: Place) -> str:
    assert place.topic is not None  # noqa: S101  (only of rows without books)
    return place.topic
