"""Follow the topic: every partition is a key, and its state is how far it has been read, and its trades.

A partition is read in turns. Each turn reads what there is, stores the new state over the old one, and sets
the timer of the next turn, which holds the watermark until then. So the state has the same size after an hour
and after a year, and a runner may move partitions between its tasks when it is restarted with more of them.

This is not a splittable DoFn: whenever one pauses, Beam's runner for Flink stores what is left to read under
a new name, and never frees it (still so in 2.56).
"""

from __future__ import annotations

import gc
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import apache_beam as beam
import msgspec
from apache_beam.coders import BytesCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp

from cryptometrics import config, log
from cryptometrics.beam.folding import Poll, merged_parts
from cryptometrics.beam.held_timer import set_held
from cryptometrics.beam.partition_feeds import PartitionFeed, PartitionFeeds
from cryptometrics.beam.read_counts import Counters
from cryptometrics.beam.received import GC_THRESHOLD, MAX_POLL, consumer_at, sorted_messages
from cryptometrics.beam.trade_memory import TradeMemory
from cryptometrics.beam.watermark import Watermark
from cryptometrics.kafka.partition_ends import known_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.beam.folding import PartialAggregate
    from cryptometrics.beam.job import Job
    from cryptometrics.beam.offset_ranges import TopicShare

ROUND_S = 1.0
"""All partitions take a turn at each multiple of this many seconds."""
READ_S = 0.85
"""Seconds the busy partitions of a task read in a round, together. In the rest of it the runner commits, and
sends the watermark, which it does only while no turn is waiting."""
POLL_S = 0.05
"""Seconds to wait for messages that the consumer has not fetched yet."""

_feeds = PartitionFeeds()
"""The feeds of this process."""


class ReadProgress(msgspec.Struct, frozen=True):
    """How far a partition has been read."""

    topic: str
    partition: int
    offset: int
    """The next one to read."""
    end: int
    """The first one not to read: NO_END, except in tests."""
    watermark: datetime | None
    turn: str
    """Names the turn that wrote it."""


class FollowPartition(beam.DoFn):  # type: ignore[misc]  # Beam has no types
    """Reads a partition for ever: (key, TopicShare of one partition) to (market, PartialAggregate)."""

    PROGRESS = ReadModifyWriteStateSpec("progress", BytesCoder())
    TRADES = BagStateSpec("trades", BytesCoder())
    NEXT_TURN = TimerSpec("next_turn", TimeDomain.REAL_TIME)

    def __init__(self, job: Job) -> None:
        self._job = job
        self._counters = Counters()
        self._busy = 0
        """Turns of this bundle that had more to read than time."""
        self._busy_before = 0
        """Those of the bundle before. They share the time; others need little of it."""

    def setup(self) -> None:
        """Prepare the process; a cluster's worker logs to stderr, since nobody reads its stdout."""
        gc.set_threshold(GC_THRESHOLD)
        log.setup()

    def start_bundle(self) -> None:
        """Count the turns that are busy anew."""
        self._busy, self._busy_before = 0, self._busy

    def process(
        self,
        element: tuple[int, TopicShare],
        progress: Any = beam.DoFn.StateParam(PROGRESS),  # noqa: B008  (Beam's way)
        next_turn: Any = beam.DoFn.TimerParam(NEXT_TURN),  # noqa: B008
    ) -> None:
        """Begin to read a partition, once.

        Flink's runner may repeat the start of a pipeline when it restores a checkpoint. The checkpoint
        already contains the partition, further on; beginning again would count every tick twice.
        """
        _, share = element
        (offsets,) = share.ranges
        if progress.read() is None:
            if self._job.continues:
                # To begin anew would write windows without the ticks before, over whole ones.
                raise RuntimeError(
                    f"the checkpoint has no state of partition {offsets.partition} of topic {share.topic}: "
                    "it is of another version, or the topic has grown; use --from instead of --savepoint_path"
                )
            beginning = ReadProgress(share.topic, offsets.partition, offsets.start, offsets.end, None, "")
            progress.write(msgspec.msgpack.encode(beginning))
            set_held(next_turn, Timestamp.now(), MIN_TIMESTAMP)

    @on_timer(NEXT_TURN)  # type: ignore[untyped-decorator]
    def turn(
        self,
        progress: Any = beam.DoFn.StateParam(PROGRESS),  # noqa: B008
        trades: Any = beam.DoFn.StateParam(TRADES),  # noqa: B008
        next_turn: Any = beam.DoFn.TimerParam(NEXT_TURN),  # noqa: B008
    ) -> Iterator[TimestampedValue]:
        """Read on, and yield (market, PartialAggregate) for each market and stretch of time."""
        before = msgspec.msgpack.decode(progress.read(), type=ReadProgress)
        feed = self._feed(before, trades)
        try:
            parts = self._read(before, feed)
        except BaseException:
            feed.consumer.close()
            raise
        for market, part in parts:
            yield TimestampedValue((market, part), Timestamp.from_utc_datetime(part.at))

        feed.turn = secrets.token_hex(8)
        after = msgspec.structs.replace(
            before, offset=feed.offset, watermark=feed.watermark.value, turn=feed.turn
        )
        progress.write(msgspec.msgpack.encode(after))
        if after.offset != before.offset:
            trades.clear()
            for packed in feed.memory.packed():
                trades.add(packed)
        _feeds.keep((after.topic, after.partition), feed)
        if after.offset < after.end:
            set_held(next_turn, next_round(time.time()), _timestamp(after.watermark))

    def _feed(self, progress: ReadProgress, trades: Any) -> PartitionFeed:
        """Return what the last turn left in this process, otherwise a new consumer with the stored state."""
        address = config.load().kafka_address
        feed = _feeds.take((progress.topic, progress.partition), progress.turn, address)
        if feed is not None:
            return feed
        positions = {progress.partition: progress.offset}
        log.get_logger().info("reader_begins", topic=progress.topic, offsets=positions)
        # The runner drops what is late by the stored watermark; start there, so that drops are counted.
        idle = timedelta(seconds=self._job.idle)
        watermark = Watermark(positions, datetime.now(UTC), idle, progress.watermark)
        memory = TradeMemory(trades.read())
        return PartitionFeed(
            consumer_at(progress.topic, positions), address, watermark, memory, progress.offset
        )

    def _read(self, before: ReadProgress, feed: PartitionFeed) -> list[tuple[str, PartialAggregate]]:
        """Read as long as a turn may take, or up to what the next turn can read in one poll."""
        partition, positions = before.partition, {before.partition: feed.offset}
        stop_at = time.monotonic() + READ_S / max(self._busy_before, 1)
        parts: list[tuple[str, PartialAggregate]] = []
        while True:
            received = feed.consumer.consume(MAX_POLL, POLL_S)
            now = datetime.now(UTC)
            for messages in sorted_messages(received, positions, {partition: before.end}).values():
                # The runner still has the watermark from before the turn, so that one decides what is late.
                poll = Poll(self._job, feed.memory)
                poll.read(partition, cast("Any", messages), now, before.watermark)
                poll.keep(feed.memory)
                if poll.newest is not None:
                    feed.watermark.see(partition, poll.newest, now)
                self._counters.add(poll.counts)
                parts += poll.parts
            end = known_end(feed.consumer, before.topic, partition)
            left = min(end, before.end) - positions[partition] if end >= 0 else MAX_POLL
            feed.watermark.advance(now, [partition] if left <= 0 else [])
            over = time.monotonic() > stop_at
            if over or left <= 0 or (received and left < MAX_POLL):
                self._busy += over
                feed.offset = positions[partition]
                return merged_parts(parts)


def next_round(now: float) -> Timestamp:
    """Return when the next round begins, in seconds since 1970."""
    return Timestamp((now // ROUND_S + 1) * ROUND_S)


def _timestamp(watermark: datetime | None) -> Timestamp:
    return MIN_TIMESTAMP if watermark is None else Timestamp.from_utc_datetime(watermark)
