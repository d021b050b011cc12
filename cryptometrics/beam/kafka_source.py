"""Read the topic as a splittable DoFn: each reader owns partitions, and its restriction records its progress.

Ticks are folded where they are read, so a few elements cross the runner instead of thousands.
"""

from __future__ import annotations

import contextlib
import gc
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import apache_beam as beam
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from cryptometrics import log
from cryptometrics.beam import read_counts
from cryptometrics.beam.begin_once import BeginOnce
from cryptometrics.beam.folding import Poll, ReadCounts, TradeMemory
from cryptometrics.beam.restrictions import PollClaim, ShareRestrictionProvider
from cryptometrics.beam.watermark import Watermark
from cryptometrics.kafka.partition_ends import read_to_end

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from confluent_kafka import Consumer, Message

    from cryptometrics.beam.job import Job
    from cryptometrics.beam.offset_ranges import TopicShare
    from cryptometrics.beam.restrictions import ReadRestriction

MAX_POLL = 5_000
"""Messages folded together; bounds the memory of a reader."""
GC_THRESHOLD = 500_000
POLL_S = 0.25
BUNDLE_S = 1.0
"""Seconds a reader that follows the topic goes on before it lets the runner commit."""
MAX_SILENCE_S = 60.0
"""Seconds without a message after which a bounded reader with offsets left gives up."""


class _IdleConsumer:
    """A consumer kept between two bundles, with its fetched messages and its watermark."""

    def __init__(
        self, consumer: Consumer, address: str, watermark: Watermark, positions: dict[int, int]
    ) -> None:
        self.consumer = consumer
        self.address = address
        """Address of Kafka when it was made; the local one may be started again at another."""
        self.watermark = watermark
        self.positions = positions


class _TopicReader(beam.DoFn):  # type: ignore[misc]
    """Reads the partitions that its element owns, and yields (market, PartialAggregate)."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._warm: dict[tuple[int, ...], _IdleConsumer] = {}
        self._counters = {
            name: Metrics.counter("aggregate", name) for name in ReadCounts._fields if name != "too_late"
        }

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_warm": {}}

    def setup(self) -> None:
        """Prepare the process; a cluster's worker logs to stderr, since nobody reads its stdout."""
        # A poll creates thousands of objects without cycles; looking for cycles takes an eighth of the time.
        gc.set_threshold(GC_THRESHOLD)
        if self._job.follow:
            log.setup()

    def teardown(self) -> None:
        """Close the consumers."""
        for warm in self._warm.values():
            warm.consumer.close()
        self._warm.clear()

    def _read(self, element: TopicShare, tracker: Any, estimator: Any) -> Iterator[TimestampedValue]:
        restriction: ReadRestriction = tracker.current_restriction()
        ends = {each.partition: each.end for each in restriction.ranges}
        positions = {each.partition: each.start for each in restriction.ranges}
        memory = TradeMemory(restriction.memory)
        warm = self._take_warm(element.topic, positions, estimator.current_watermark())
        stop_at = heard_at = time.monotonic()
        stop_at += BUNDLE_S
        keep = False
        try:
            while any(positions[partition] < end for partition, end in ends.items()):
                received = warm.consumer.consume(MAX_POLL, POLL_S)
                now = datetime.now(UTC)
                polls = self._poll(
                    self._by_partition(received, positions, ends), memory, now, warm.watermark.value
                )
                claim = PollClaim(dict(positions), [poll for poll, _ in polls])
                if received and not tracker.try_claim(claim):
                    return
                yield from self._kept(polls, memory, warm.watermark, now)
                if received:
                    heard_at = time.monotonic()
                if self._job.follow:
                    at_end = read_to_end(warm.consumer, element.topic, positions)
                    _advance(estimator, warm.watermark.advance(now, at_end))
                    # Also without messages; but not sooner, as each deferral leaves state behind in Flink.
                    if time.monotonic() > stop_at:
                        keep = True
                        tracker.defer_remainder(Duration(0))
                        return
                elif time.monotonic() - heard_at > MAX_SILENCE_S:
                    raise RuntimeError(
                        f"Kafka sent no message of topic {element.topic} for {MAX_SILENCE_S:.0f} s"
                    )
        finally:
            if keep:
                warm.positions = dict(positions)
                self._warm[tuple(positions)] = warm
            else:
                warm.consumer.close()

    def _kept(
        self, polls: list[tuple[Poll, int]], memory: TradeMemory, watermark: Watermark, now: datetime
    ) -> Iterator[TimestampedValue]:
        """Store what was claimed in the memory, and yield its parts."""
        for poll, partition in polls:
            poll.keep(memory)
            if poll.newest is not None:
                watermark.see(partition, poll.newest, now)
            self._count(poll.counts)
            for market, part in poll.parts:
                yield TimestampedValue((market, part), Timestamp.from_utc_datetime(part.at))

    def _take_warm(self, topic: str, positions: dict[int, int], reached: Timestamp | None) -> _IdleConsumer:
        from cryptometrics import config

        warm, address = self._warm.pop(tuple(positions), None), config.load().kafka_address
        if warm is not None and (warm.positions, warm.address) == (positions, address):
            return warm
        if warm is not None:
            warm.consumer.close()
        log.get_logger().info("reader_begins", topic=topic, offsets=positions)
        return _IdleConsumer(
            _consumer(topic, positions),
            address,
            # After a restore the runner drops by its old watermark; start there, so that drops are counted.
            Watermark(
                positions,
                datetime.now(UTC),
                timedelta(seconds=self._job.idle),
                None if reached is None else reached.to_utc_datetime().replace(tzinfo=UTC),
            ),
            positions,
        )

    def _poll(
        self,
        messages: dict[int, list[Message]],
        memory: TradeMemory,
        now: datetime,
        watermark: datetime | None,
    ) -> list[tuple[Poll, int]]:
        polls = []
        for partition, its in messages.items():
            # A pair lies in one partition, after the topic grew perhaps in two. Their news of one poll are
            # independent: a feed sends its duplicates to the partition of the original.
            poll = Poll(self._job, memory)
            poll.read(partition, cast("Any", its), now, watermark if self._job.follow else None)
            polls.append((poll, partition))
        return polls

    def _by_partition(
        self, received: list[Message], positions: dict[int, int], ends: dict[int, int]
    ) -> dict[int, list[Message]]:
        """Sort messages, and move the positions behind them; markers at an end move them, too."""
        from confluent_kafka import KafkaError, KafkaException

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

    def _count(self, counts: ReadCounts) -> None:
        read_counts.add(counts)
        for name, counter in self._counters.items():
            if number := getattr(counts, name):
                counter.inc(number)


class ReadBounded(_TopicReader):
    """Reads up to the ends of its element's ranges."""

    def process(
        self,
        element: TopicShare,
        tracker: Any = beam.DoFn.RestrictionParam(ShareRestrictionProvider()),  # noqa: B008  (Beam's way)
        estimator: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),  # noqa: B008
    ) -> Iterable[TimestampedValue]:
        """Yield (market, PartialAggregate)."""
        yield from self._read(element, tracker, estimator)


class ReadEndless(_TopicReader):
    """Follows the topic, a bundle at a time."""

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        element: TopicShare,
        tracker: Any = beam.DoFn.RestrictionParam(ShareRestrictionProvider()),  # noqa: B008  (Beam's way)
        estimator: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),  # noqa: B008
    ) -> Iterable[TimestampedValue]:
        """Yield (market, PartialAggregate)."""
        yield from self._read(element, tracker, estimator)


class FromKafka(beam.PTransform):  # type: ignore[misc]
    """The (market, PartialAggregate) of the partitions that these readers own."""

    def __init__(self, job: Job, readers: list[TopicShare]) -> None:
        super().__init__()
        self._job = job
        self._readers = readers

    def expand(self, begin: Any) -> Any:
        """Give each reader to a worker, and read."""
        if not self._job.follow:
            return (
                begin
                | "readers" >> beam.Create(self._readers)
                | "spread" >> beam.Reshuffle()
                | "read" >> beam.ParDo(ReadBounded(self._job)).with_output_types(tuple[str, Any])
            )
        return (
            begin
            | "readers" >> beam.Create(list(enumerate(self._readers)))
            | "once" >> beam.ParDo(BeginOnce())
            | "read" >> beam.ParDo(ReadEndless(self._job)).with_output_types(tuple[str, Any])
        )


def _consumer(topic: str, positions: dict[int, int]) -> Consumer:
    from confluent_kafka import Consumer, TopicPartition

    from cryptometrics import config
    from cryptometrics.kafka import client

    # It reads assigned partitions and never joins the group.
    consumer = Consumer(client.consumer_conf(config.load(), "cryptometrics-aggregate", "aggregate"))
    consumer.assign([TopicPartition(topic, partition, offset) for partition, offset in positions.items()])
    return consumer


def _advance(estimator: Any, watermark: datetime | None) -> None:
    if watermark is None:
        return
    moment = Timestamp.from_utc_datetime(watermark)
    known = estimator.current_watermark()
    if known is None or moment > known:
        with contextlib.suppress(ValueError):
            estimator.set_watermark(moment)
