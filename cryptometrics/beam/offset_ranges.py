"""Choose the offsets a run reads, and share the partitions among its readers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
from confluent_kafka import KafkaException

from cryptometrics.errors import ServiceUnavailableError, UserError
from cryptometrics.kafka import errors
from cryptometrics.kafka.client import make_admin
from cryptometrics.kafka.partition_ends import PartitionEnds
from cryptometrics.kafka.topic import describe_topic
from cryptometrics.market.ticks import MAX_AHEAD

if TYPE_CHECKING:
    from cryptometrics.beam.job import Job
    from cryptometrics.config import Settings


NO_END = 2**62
"""The end of a range that follows the topic."""


class OffsetRange(NamedTuple):
    """Offsets to read of a partition: from `start`, and before `end`."""

    partition: int
    start: int
    end: int


class TopicShare(msgspec.Struct, frozen=True):
    """The partitions that one reader owns: an element of the source."""

    topic: str
    ranges: tuple[OffsetRange, ...]


def topic_shares(
    settings: Settings,
    job: Job,
    *,
    first: int | None = None,
    last: int | None = None,
    count: int | None = None,
) -> list[TopicShare]:
    """Return the shares of the readers, up to the current ends of the partitions unless the job follows.

    first, last: offsets in each partition, `last` exclusive; limited to those that Kafka holds.
    count: the number of readers; None: one per partition.
    The job's bounds are event times, and a tick's time may be a day ahead of Kafka's. So reading begins a
    day earlier, which also shows which ticks are duplicates or late.
    Raises UserError if the bounds contain no offsets, ServiceUnavailableError if Kafka does not answer.
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
            raise UserError(f"the topic {topic.name} has no records in these bounds")
    shares = min(count or len(ranges), len(ranges))
    return [TopicShare(topic.name, tuple(ranges[share::shares])) for share in range(shares)]


def _range(ends: PartitionEnds, partition: int, job: Job, first: int | None, last: int | None) -> OffsetRange:
    low, high = ends.held(partition)
    begin = low if first is None else max(low, first)
    if job.since is not None:
        since = int((job.since - MAX_AHEAD).timestamp() * 1000)
        found = ends.first_since(partition, max(since, 0))
        begin = high if found is None else max(begin, found)
    if job.follow:
        return OffsetRange(partition, min(begin, high), NO_END)
    return OffsetRange(partition, min(begin, high), high if last is None else min(high, last))
