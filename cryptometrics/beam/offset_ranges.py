"""Which offsets a run reads, and who reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaException, TopicPartition

from cryptometrics.beam.kafka_source import FOREVER, Range, Reader
from cryptometrics.errors import ServiceUnavailableError, UserError
from cryptometrics.kafka import client
from cryptometrics.market.tick_decoder import FURTHEST_AHEAD

if TYPE_CHECKING:
    from cryptometrics.beam.job import Job
    from cryptometrics.config import Settings

ANSWER_S = 10.0
"""Seconds in which Kafka has to say what a partition holds."""


def readers(
    settings: Settings,
    job: Job,
    *,
    first: int | None = None,
    last: int | None = None,
    count: int | None = None,
) -> list[Reader]:
    """Return the readers of the topic: what they read ends where it ends now, unless the job follows it.

    first, last: offsets in each partition, the latter not read any more; within what Kafka holds.
    count: how many readers share the partitions; None: one each.
    Times of the job are event times, and ticks may be a day ahead of the moment at which Kafka got them. So
    reading begins a day before the first, which also tells what is a duplicate and what comes late.
    Raises UserError where nothing lies in these bounds, ServiceUnavailableError when Kafka does not answer.
    """
    topic = client.describe_topic(settings)
    conf = client.consumer_conf(settings, "cryptometrics-aggregate", "aggregate")
    consumer = client.make_consumer(settings, conf)
    try:
        ranges = [
            _range(consumer, topic.name, partition, job, first, last) for partition in range(topic.partitions)
        ]
    except KafkaException as error:
        raise ServiceUnavailableError(
            f"Kafka does not say what the topic {topic.name} holds ({error.args[0].str()}): try again"
        ) from None
    finally:
        consumer.close()
    if not job.follow:
        ranges = [each for each in ranges if each.start < each.end]
        if not ranges:
            raise UserError(f"the topic {topic.name} holds nothing in these bounds")
    shares = min(count or len(ranges), len(ranges))
    return [Reader(topic.name, tuple(ranges[share::shares])) for share in range(shares)]


def _range(
    consumer: Consumer, topic: str, partition: int, job: Job, first: int | None, last: int | None
) -> Range:
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER_S)
    begin = low if first is None else max(low, first)
    if job.since is not None:
        from_then = int((job.since - FURTHEST_AHEAD).timestamp() * 1000)
        (found,) = consumer.offsets_for_times(
            [TopicPartition(topic, partition, max(from_then, 0))], timeout=ANSWER_S
        )
        begin = high if found.offset < 0 else max(begin, found.offset)
    if job.follow:
        return Range(partition, min(begin, high), FOREVER)
    return Range(partition, min(begin, high), high if last is None else min(high, last))
