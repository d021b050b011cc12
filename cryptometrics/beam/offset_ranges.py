"""Which offsets a run reads, and who reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from cryptometrics.beam.kafka_source import FOREVER, Range, Reader
from cryptometrics.errors import ServiceUnavailableError, UserError
from cryptometrics.kafka import errors
from cryptometrics.kafka.client import make_admin
from cryptometrics.kafka.partition_ends import PartitionEnds
from cryptometrics.kafka.topic import describe_topic
from cryptometrics.market.ticks import MAX_AHEAD

if TYPE_CHECKING:
    from cryptometrics.beam.job import Job
    from cryptometrics.config import Settings


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
    topic = describe_topic(settings)
    ends = PartitionEnds(make_admin(settings), topic.name)
    try:
        ranges = [_range(ends, partition, job, first, last) for partition in range(topic.partitions)]
    except KafkaException as error:
        raise ServiceUnavailableError(
            f"Kafka does not report the offsets of topic {topic.name} ({errors.text(error)}): try again"
        ) from None
    if not job.follow:
        ranges = [each for each in ranges if each.start < each.end]
        if not ranges:
            raise UserError(f"the topic {topic.name} holds nothing in these bounds")
    shares = min(count or len(ranges), len(ranges))
    return [Reader(topic.name, tuple(ranges[share::shares])) for share in range(shares)]


def _range(ends: PartitionEnds, partition: int, job: Job, first: int | None, last: int | None) -> Range:
    low, high = ends.held(partition)
    begin = low if first is None else max(low, first)
    if job.since is not None:
        since = int((job.since - MAX_AHEAD).timestamp() * 1000)
        found = ends.first_since(partition, max(since, 0))
        begin = high if found is None else max(begin, found)
    if job.follow:
        return Range(partition, min(begin, high), FOREVER)
    return Range(partition, min(begin, high), high if last is None else min(high, last))
