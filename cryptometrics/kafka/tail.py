"""Read the newest records of the topic, without joining a group."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, cast

from confluent_kafka import KafkaException, TopicPartition

from cryptometrics.errors import ServiceUnavailableError
from cryptometrics.kafka import client, errors
from cryptometrics.kafka.partition_ends import PartitionEnds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from confluent_kafka import Consumer

    from cryptometrics.config import Settings
    from cryptometrics.kafka.record import Record
    from cryptometrics.kafka.topic import Topic

LENGTHS = (1_000, 50_000)
"""Records of each partition that are read; more only if the caller goes on."""
MAX_RECORDS = 5_000
"""Records fetched in one call."""
POLL_S = 0.1
"""How long one call waits for records."""


def read_tails(settings: Settings, topic: Topic, group: str) -> Iterator[Iterator[Record]]:
    """Yield the newest records of each partition in order, then more of them again, up to LENGTHS.

    group: the name for the brokers' rights. Ends early if the topic has no more records.
    Raises KafkaException if Kafka refuses, ServiceUnavailableError if it sends nothing for `settings.wait`
    seconds.
    """
    ends = PartitionEnds(client.make_admin(settings), topic.name)
    held = ends.held_by(range(topic.partitions), wait=settings.wait)
    held = {partition: (oldest, end) for partition, (oldest, end) in held.items() if oldest < end}
    if not held:
        return
    required = {
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",  # retention may have removed the oldest ones meanwhile
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
    }
    conf = client.client_conf(settings, **required)
    with contextlib.closing(client.make_consumer(settings, conf)) as consumer:
        for length in LENGTHS:
            parts = {partition: (max(oldest, end - length), end) for partition, (oldest, end) in held.items()}
            yield _read(consumer, topic.name, parts, settings.wait)
            if parts == held:
                return


def _read(
    consumer: Consumer, topic: str, parts: Mapping[int, tuple[int, int]], wait: float
) -> Iterator[Record]:
    """Yield the records of [begin, end) of each partition."""
    consumer.assign([TopicPartition(topic, partition, begin) for partition, (begin, _) in parts.items()])
    unread = dict(parts)
    last_received = time.monotonic()
    while unread:
        for message in consumer.consume(MAX_RECORDS, POLL_S):
            last_received = time.monotonic()
            error = message.error()
            partition = cast("int", message.partition())
            if error is not None and errors.is_partition_end(error):
                unread.pop(partition, None)
            elif error is not None and (error.fatal() or errors.is_from_broker(error)):
                raise KafkaException(error)
            elif error is None and partition in unread:
                record = cast("Record", message)
                end = unread[partition][1]
                if record.offset() < end:
                    yield record
                if record.offset() >= end - 1:
                    del unread[partition]
        if time.monotonic() - last_received > wait:
            raise ServiceUnavailableError(
                f"Kafka sent no record of topic {topic} for {wait:g} s: check that it is up, then try again"
            )
