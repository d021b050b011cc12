"""Kafka as a splittable DoFn: readers that own partitions, and restrictions that say how far each has come.

A restriction is the offsets of each partition that are still to be read, and what is remembered of those that
were. It is split between polls, in time and never inside a partition: the runner may stop a reader at any
moment and go on elsewhere, from the same offsets with the same memory.
"""

from __future__ import annotations

import contextlib
import gc
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import apache_beam as beam
import msgspec
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.metrics import Metrics
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from cryptometrics import log
from cryptometrics.beam import read_counts
from cryptometrics.beam.begin_once import Once
from cryptometrics.beam.folding import Poll, ReadCounts, TradeMemory
from cryptometrics.beam.watermark import Watermark
from cryptometrics.kafka.partition_ends import read_to_end

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from confluent_kafka import Consumer, Message

    from cryptometrics.beam.folding import StoredTrades
    from cryptometrics.beam.job import Job

FOREVER = 2**62
"""The end of a partition that is followed."""
POLL = 5_000
"""Messages folded together at most; what a reader holds in memory."""
GC_THRESHOLD = 500_000
POLL_S = 0.25
BUNDLE_S = 1.0
"""How long a reader of an endless topic goes on before it lets the runner commit what it has."""
STILL_S = 60.0
"""Seconds without a message, though there should be some, after which a bounded reader gives up."""


class Range(NamedTuple):
    """What is to be read of a partition: offsets from `start` up to but without `end`."""

    partition: int
    start: int
    end: int


class Restriction(NamedTuple):
    """What one reader still has to read, and what it remembers."""

    ranges: tuple[Range, ...]
    memory: tuple[StoredTrades, ...] = ()


class Reader(msgspec.Struct, frozen=True):
    """The element: what one reader owns from the beginning."""

    topic: str
    ranges: tuple[Range, ...]


class Claim(NamedTuple):
    """One poll: where it ends in each of its partitions, and the news to remember with it."""

    next_offsets: dict[int, int]
    polls: list[Poll]


class Tracker(RestrictionTracker):  # type: ignore[misc]  # Beam has no types
    """Claims polls. A split takes effect between two of them."""

    def __init__(self, restriction: Restriction) -> None:
        self._ranges = {each.partition: each for each in restriction.ranges}
        self._next = {each.partition: each.start for each in restriction.ranges}
        self._memory = TradeMemory(restriction.memory)
        self._is_split = False

    def current_restriction(self) -> Restriction:
        """Return what this reader has to read."""
        return Restriction(tuple(self._ranges.values()), self._memory.state())

    def try_claim(self, position: Claim) -> bool:
        """Take a poll over, unless what it read is another reader's by now."""
        if self._is_split:
            return False
        self._next |= position.next_offsets
        for poll in position.polls:
            poll.keep(self._memory)
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[Restriction, Restriction] | None:
        """Give all that is left away; a part of it cannot be, for a pair's ticks are read in their order."""
        if fraction_of_remainder != 0 or self._is_split:
            return None
        left = tuple(each._replace(start=self._next[each.partition]) for each in self._ranges.values())
        if all(each.start >= each.end for each in left):
            return None
        self._is_split = True
        self._ranges = {
            each.partition: each._replace(end=self._next[each.partition]) for each in self._ranges.values()
        }
        memory = self._memory.state()
        return Restriction(tuple(self._ranges.values())), Restriction(left, memory)

    def check_done(self) -> bool:
        """Raise ValueError where something was left unread."""
        for each in self._ranges.values():
            if self._next[each.partition] < each.end < FOREVER:
                raise ValueError(
                    f"partition {each.partition} was read up to {self._next[each.partition]} only"
                )
        return True

    def is_bounded(self) -> bool:
        """Whether there is an end."""
        return all(each.end != FOREVER for each in self._ranges.values())

    def current_progress(self) -> RestrictionProgress:
        """Return the share that is read: as `completed` and `remaining` Beam makes NaN of them."""
        done = sum(self._next[each.partition] - each.start for each in self._ranges.values())
        left = sum(
            each.end - self._next[each.partition] for each in self._ranges.values() if each.end != FOREVER
        )
        return RestrictionProgress(fraction=done / (done + left) if done + left else 1.0)


class Provider(RestrictionProvider):  # type: ignore[misc]
    """Makes restrictions of readers; they are not split at the start, for a reader owns its partitions."""

    def initial_restriction(self, element: Reader) -> Restriction:
        """Return all that a reader has to read."""
        return Restriction(element.ranges)

    def create_tracker(self, restriction: Restriction) -> Tracker:
        """Return what keeps account of a restriction."""
        return Tracker(restriction)

    def restriction_size(self, _element: Reader, restriction: Restriction) -> float:
        """Return how many offsets are left."""
        return float(sum(1 if each.end == FOREVER else each.end - each.start for each in restriction.ranges))

    def split(self, _element: Reader, restriction: Restriction) -> Iterator[Restriction]:
        """Leave it whole."""
        yield restriction

    def truncate(self, _element: Reader, _restriction: Restriction) -> None:
        """When a pipeline is drained nothing more is read."""


class _Warm:
    """A consumer between two bundles, with what it has fetched and what is known of event time."""

    def __init__(self, consumer: Consumer, watermark: Watermark, positions: dict[int, int]) -> None:
        self.consumer = consumer
        self.watermark = watermark
        self.positions = positions


class _Read(beam.DoFn):  # type: ignore[misc]
    """Reads what its element owns, and yields (pair, PartialAggregate)."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._warm: dict[tuple[int, ...], _Warm] = {}
        self._counters = {
            name: Metrics.counter("aggregate", name) for name in ReadCounts._fields if name != "too_late"
        }

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_warm": {}}

    def setup(self) -> None:
        """Make the process suit: a worker of a cluster logs to stderr, since nobody empties its stdout."""
        # A poll is thousands of objects without a cycle: looking for one would cost an eighth of the time.
        gc.set_threshold(GC_THRESHOLD)
        if self._job.follow:
            log.setup()

    def teardown(self) -> None:
        """Leave Kafka."""
        for warm in self._warm.values():
            warm.consumer.close()
        self._warm.clear()

    def _read(self, element: Reader, tracker: Any, estimator: Any) -> Iterator[TimestampedValue]:
        restriction: Restriction = tracker.current_restriction()
        ends = {each.partition: each.end for each in restriction.ranges}
        positions = {each.partition: each.start for each in restriction.ranges}
        memory = TradeMemory(restriction.memory)
        warm = self._take_warm(element.topic, positions, estimator.current_watermark())
        stop_at = heard_at = time.monotonic()
        stop_at += BUNDLE_S
        keep = False
        try:
            while any(positions[partition] < end for partition, end in ends.items()):
                received = warm.consumer.consume(POLL, POLL_S)
                now = datetime.now(UTC)
                polls = self._poll(
                    self._by_partition(received, positions, ends), memory, now, warm.watermark.value
                )
                if received and not tracker.try_claim(Claim(dict(positions), [poll for poll, _ in polls])):
                    return
                yield from self._kept(polls, memory, warm.watermark, now)
                if received:
                    heard_at = time.monotonic()
                if self._job.follow:
                    at_end = read_to_end(warm.consumer, element.topic, positions)
                    _advance(estimator, warm.watermark.advance(now, at_end))
                    # Also when nothing comes, no sooner: Flink's runner keeps something of every time.
                    if time.monotonic() > stop_at:
                        keep = True
                        tracker.defer_remainder(Duration(0))
                        return
                elif time.monotonic() - heard_at > STILL_S:
                    raise RuntimeError(f"Kafka has sent nothing of {element.topic} for {STILL_S:.0f} s")
        finally:
            if keep:
                warm.positions = dict(positions)
                self._warm[tuple(positions)] = warm
            else:
                warm.consumer.close()

    def _kept(
        self, polls: list[tuple[Poll, int]], memory: TradeMemory, watermark: Watermark, now: datetime
    ) -> Iterator[TimestampedValue]:
        """Remember what was claimed, and yield what it amounts to."""
        for poll, partition in polls:
            poll.keep(memory)
            if poll.newest is not None:
                watermark.see(partition, poll.newest, now)
            self._count(poll.counts)
            for pair, part in poll.parts:
                yield TimestampedValue((pair, part), Timestamp.from_utc_datetime(part.at))

    def _take_warm(self, topic: str, positions: dict[int, int], reached: Timestamp | None) -> _Warm:
        warm = self._warm.pop(tuple(positions), None)
        if warm is not None and warm.positions == positions:
            return warm
        if warm is not None:
            warm.consumer.close()
        log.get_logger().info("reader_begins", topic=topic, offsets=positions)
        return _Warm(
            _consumer(topic, positions),
            # After a restore the runner drops by the watermark of before: what it drops is to be counted.
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
            # A pair lies in one partition. After the topic grew it may lie in two, whose news of one poll do
            # not know of each other: what the feed repeats comes to the partition in which it was.
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


class ReadBounded(_Read):
    """Reads up to the ends that its element names."""

    def process(
        self,
        element: Reader,
        tracker: Any = beam.DoFn.RestrictionParam(Provider()),  # noqa: B008  (Beam's way)
        estimator: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),  # noqa: B008
    ) -> Iterable[TimestampedValue]:
        """Yield (pair, PartialAggregate)."""
        yield from self._read(element, tracker, estimator)


class ReadEndless(_Read):
    """Reads on and on, a bundle at a time."""

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        element: Reader,
        tracker: Any = beam.DoFn.RestrictionParam(Provider()),  # noqa: B008  (Beam's way)
        estimator: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),  # noqa: B008
    ) -> Iterable[TimestampedValue]:
        """Yield (pair, PartialAggregate)."""
        yield from self._read(element, tracker, estimator)


class FromKafka(beam.PTransform):  # type: ignore[misc]
    """The (pair, PartialAggregate) of what these readers own."""

    def __init__(self, job: Job, readers: list[Reader]) -> None:
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
            | "once" >> beam.ParDo(Once())
            | "read" >> beam.ParDo(ReadEndless(self._job)).with_output_types(tuple[str, Any])
        )


def _consumer(topic: str, positions: dict[int, int]) -> Consumer:
    from confluent_kafka import Consumer, TopicPartition

    from cryptometrics import config
    from cryptometrics.kafka import client

    # It is told what to read and never becomes a member of that group.
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
