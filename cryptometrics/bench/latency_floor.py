"""Measure the floor of latency: one record through the same broker, then one durable commit of one row.

No worker can be faster, as it does at least this for each tick that arrives alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import Producer, TopicPartition

from cryptometrics.errors import CryptometricsError
from cryptometrics.kafka import client

if TYPE_CHECKING:
    from confluent_kafka import Consumer

    from cryptometrics.bench.scratch import Scratch

PARTITION = 0
ANSWER_S = 10.0
"""Seconds within which a record must come back."""
WARM_UP = 10
"""Records that are not counted: the clients connect meanwhile."""
PAUSE_S = 0.005
"""Seconds between two records, as ticks have time between them, too."""

_TABLE = "CREATE TABLE IF NOT EXISTS floor (id bigint PRIMARY KEY, at timestamptz DEFAULT now())"
_INSERT = "INSERT INTO floor (id) VALUES (%s)"


@dataclass(frozen=True)
class Floor:
    """Milliseconds from produce to the commit of one row, one record at a time."""

    samples: int
    p50: float
    p99: float


def measure(scratch: Scratch, seconds: float) -> Floor:
    """Send records for this long, each after the commit of the one before."""
    topic = scratch.aside.kafka_topic
    scratch.connection.execute(_TABLE)
    producer = Producer(client.client_conf(scratch.settings, **{"linger.ms": 0, "acks": "all"}))
    consumer = scratch.reader()
    _, end = consumer.get_watermark_offsets(TopicPartition(topic, PARTITION), timeout=ANSWER_S)
    consumer.assign([TopicPartition(topic, PARTITION, end)])
    times: list[float] = []
    stop_at, number = time.monotonic() + seconds, 0
    while number <= 2 * WARM_UP or time.monotonic() < stop_at:
        number += 1
        begun = time.perf_counter()
        producer.produce(topic, b"{}", partition=PARTITION)
        producer.poll(0)
        _receive(consumer)
        scratch.connection.execute(_INSERT, [number])
        if number > WARM_UP:
            times.append(1000 * (time.perf_counter() - begun))
        time.sleep(PAUSE_S)
    consumer.close()
    times.sort()
    return Floor(len(times), round(times[len(times) // 2], 1), round(times[int(len(times) * 0.99)], 1))


def _receive(consumer: Consumer) -> None:
    """Wait for the next record."""
    deadline = time.monotonic() + ANSWER_S
    while time.monotonic() < deadline:
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            return
    raise CryptometricsError(f"Kafka did not return a record within {ANSWER_S:g} s")
