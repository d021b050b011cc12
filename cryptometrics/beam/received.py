"""Sort what a consumer received: messages by partition, and how far they move the reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from cryptometrics import config
from cryptometrics.kafka import client

if TYPE_CHECKING:
    from collections.abc import Iterable

    from confluent_kafka import Message

MAX_POLL = 5_000
"""Messages folded together; bounds the memory of a reader."""
GC_THRESHOLD = 500_000
"""Net allocations before the cyclic garbage collector runs: a poll creates thousands of objects without
cycles, and looking for cycles takes an eighth of the time."""


def consumer_at(topic: str, positions: dict[int, int]) -> Consumer:
    """Return a consumer that begins at these offsets of partitions; it never joins a group."""
    consumer = Consumer(client.consumer_conf(config.load(), "cryptometrics-aggregate", "aggregate"))
    consumer.assign([TopicPartition(topic, partition, offset) for partition, offset in positions.items()])
    return consumer


def sorted_messages(
    received: Iterable[Message], positions: dict[int, int], ends: dict[int, int]
) -> dict[int, list[Message]]:
    """Return the messages by partition, and move the positions behind them.

    ends: exclusive upper bounds; messages beyond are left out. The event at the end of a partition moves its
    position, too.
    Raises KafkaException for an error of the consumer.
    """
    found: dict[int, list[Message]] = {}
    for message in received:
        partition, offset, error = cast("int", message.partition()), message.offset(), message.error()
        if error is not None and error.code() == KafkaError._PARTITION_EOF:
            positions[partition] = max(positions[partition], min(cast("int", offset), ends[partition]))
        elif error is not None:
            raise KafkaException(error)
        elif positions[partition] <= cast("int", offset) < ends[partition]:
            positions[partition] = cast("int", offset) + 1
            found.setdefault(partition, []).append(message)
        elif cast("int", offset) >= ends[partition]:
            positions[partition] = ends[partition]
    return found
