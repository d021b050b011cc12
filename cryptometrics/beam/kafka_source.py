"""Read the topic: a bounded run reads the offsets of its shares, and one that follows never ends.

Ticks are folded where they are read, so a few elements cross the runner instead of thousands.
"""

from __future__ import annotations

import gc
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import apache_beam as beam
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from cryptometrics.beam.begin_partitions import BeginPartitions
from cryptometrics.beam.folding import Poll
from cryptometrics.beam.follow_topic import FollowPartition
from cryptometrics.beam.offset_ranges import NO_END
from cryptometrics.beam.read_counts import Counters
from cryptometrics.beam.received import GC_THRESHOLD, MAX_POLL, consumer_at, sorted_messages
from cryptometrics.beam.spread_keys import spread_keys
from cryptometrics.beam.trade_memory import TradeMemory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.beam.job import Job
    from cryptometrics.beam.offset_ranges import TopicShare

POLL_S = 0.25
MAX_SILENCE_S = 60.0
"""Seconds without a message after which a reader with offsets left gives up."""


class ReadShare(beam.DoFn):  # type: ignore[misc]  # Beam has no types
    """Reads the offsets of a share: TopicShare to (market, PartialAggregate)."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._counters = Counters()

    def setup(self) -> None:
        """Prepare the process."""
        gc.set_threshold(GC_THRESHOLD)

    def process(self, share: TopicShare) -> Iterator[TimestampedValue]:
        """Read to the ends of the share's ranges."""
        ends = {each.partition: each.end for each in share.ranges}
        positions = {each.partition: each.start for each in share.ranges}
        memory = TradeMemory()
        consumer = consumer_at(share.topic, positions)
        heard_at = time.monotonic()
        try:
            while any(positions[partition] < end for partition, end in ends.items()):
                received = consumer.consume(MAX_POLL, POLL_S)
                if received:
                    heard_at = time.monotonic()
                elif time.monotonic() - heard_at > MAX_SILENCE_S:
                    raise RuntimeError(
                        f"Kafka sent no message of topic {share.topic} for {MAX_SILENCE_S:.0f} s"
                    )
                # A pair lies in one partition, or in two after the topic grew. Within one poll they need not
                # know of each other's trades: a feed sends a duplicate to the partition of the original.
                polls = [
                    self._poll(partition, messages, memory)
                    for partition, messages in sorted_messages(received, positions, ends).items()
                ]
                for poll in polls:
                    poll.keep(memory)
                    self._counters.add(poll.counts)
                    for market, part in poll.parts:
                        yield TimestampedValue((market, part), Timestamp.from_utc_datetime(part.at))
        finally:
            consumer.close()

    def _poll(self, partition: int, messages: list[Any], memory: TradeMemory) -> Poll:
        poll = Poll(self._job, memory)
        poll.read(partition, cast("Any", messages), datetime.now(UTC), None)
        return poll


class FromKafka(beam.PTransform):  # type: ignore[misc]
    """The (market, PartialAggregate) of these shares of a topic; a run that follows has one per partition."""

    def __init__(self, job: Job, shares: list[TopicShare]) -> None:
        super().__init__()
        self._job = job
        self._shares = shares

    def expand(self, begin: Any) -> Any:
        """Give each share to a worker, and read."""
        if not self._job.follow:
            return (
                begin
                | "readers" >> beam.Create(self._shares)
                | "spread" >> beam.Reshuffle()
                | "read" >> beam.ParDo(ReadShare(self._job)).with_output_types(tuple[str, Any])
            )
        keyed = list(zip(spread_keys(len(self._shares)), self._shares, strict=True))
        endless = any(each.end == NO_END for share in self._shares for each in share.ranges)
        send = beam.ParDo(BeginPartitions()) if endless else beam.FlatMap(list)
        return (
            begin
            | "partitions" >> beam.Create([keyed])
            | "begin" >> send.with_output_types(tuple[int, Any])
            | "follow" >> beam.ParDo(FollowPartition(self._job)).with_output_types(tuple[str, Any])
        )
