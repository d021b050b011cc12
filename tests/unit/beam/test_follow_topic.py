"""A partition read in turns: what a turn stores, what the next one finds, where it holds the watermark."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.worker.bundle_processor import OutputTimer
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp

from cryptometrics.beam import follow_topic, read_counts
from cryptometrics.beam.follow_topic import FollowPartition, next_round
from cryptometrics.beam.job import Job, Shape
from cryptometrics.beam.kafka_source import FromKafka
from cryptometrics.beam.offset_ranges import NO_END, OffsetRange, TopicShare
from cryptometrics.beam.partition_feeds import PartitionFeeds
from cryptometrics.beam.pipeline import ToRows, Windows
from cryptometrics.market.windows import MAX_OUT_OF_ORDER, merge
from tests.unit.beam.test_folding import NOON, Message, message

if TYPE_CHECKING:
    from pathlib import Path

    from cryptometrics.beam.folding import PartialAggregate
    from cryptometrics.beam.postgres_sink import Row

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Beam's imports warn of their own

FOLLOWING = Job("g1", "5m", Shape(timedelta(minutes=5)), timedelta(seconds=10), follow=True)


class Received(Message):
    """A message as a consumer gives it."""

    def error(self) -> None:
        return None


class Partition:
    """Partition 0, and a consumer of it that fetches `at_once` messages at a time."""

    def __init__(self, messages: list[Message], at_once: int) -> None:
        self._messages = [Received(*each) for each in messages]
        self._at_once = at_once
        self._position = 0
        self.begins: list[int] = []

    def consumer_at(self, _topic: str, positions: dict[int, int]) -> Partition:
        self._position = positions[0]
        self.begins.append(self._position)
        return self

    def consume(self, _most: int, _timeout: float) -> list[Received]:
        found = self._messages[self._position : self._position + self._at_once]
        self._position += len(found)
        return found

    def get_watermark_offsets(self, _at: object, *, cached: bool) -> tuple[int, int]:
        assert cached
        return 0, len(self._messages)

    def close(self) -> None:
        pass

    def add(self, *messages: Message) -> None:
        self._messages += [Received(*each) for each in messages]


class Cell:
    """A state of the runner: of one value or a bag of several."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    def read(self) -> Any:
        return self.values[0] if self.values else None

    def write(self, value: bytes) -> None:
        self.values = [value]

    def add(self, value: bytes) -> None:
        self.values.append(value)

    def clear(self) -> None:
        self.values = []


class Bag(Cell):
    """A state of several values."""

    def read(self) -> Any:
        return self.values


class Timers:
    """What the SDK sends to the runner when a timer is set."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def encode_to_stream(self, timer: Any, _stream: object, _nested: bool) -> None:
        self.sent.append(timer)

    def maybe_flush(self) -> None:
        pass

    def timer(self) -> OutputTimer:
        fired = Timestamp.now()  # what the SDK takes for the hold of such a timer
        return OutputTimer("", GlobalWindow(), fired, None, TimeDomain.REAL_TIME, "next_turn", self, self)


class Key:
    """A partition as the runner keeps it."""

    def __init__(self, share: TopicShare, job: Job = FOLLOWING) -> None:
        self.progress, self.trades, self.timers = Cell(), Bag(), Timers()
        self.reader = FollowPartition(job)
        self.reader.process((0, share), self.progress, self.timers.timer())

    def turn(self) -> list[tuple[str, PartialAggregate]]:
        return [each.value for each in self.reader.turn(self.progress, self.trades, self.timers.timer())]

    @property
    def held_at(self) -> Timestamp:
        return self.timers.sent[-1].hold_timestamp


@pytest.fixture(autouse=True)
def _own_feeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "k:1")
    monkeypatch.setattr(follow_topic, "_feeds", PartitionFeeds())


def share(start: int = 0, end: int = NO_END) -> TopicShare:
    return TopicShare("t", (OffsetRange(0, start, end),))


def read_from(monkeypatch: pytest.MonkeyPatch, messages: list[Message], at_once: int = 100) -> Partition:
    partition = Partition(messages, at_once)
    monkeypatch.setattr(follow_topic, "consumer_at", partition.consumer_at)
    return partition


def test_a_turn_reads_on_where_the_last_one_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    partition = read_from(monkeypatch, [message(at, at, at) for at in range(5)])
    key = Key(share(start=2))
    assert key.held_at == MIN_TIMESTAMP
    (first,) = key.turn()
    assert (first[0], first[1].aggregate.ticks, first[1].watermark) == ("coinbase BTC-USD", 3, None)
    assert key.held_at == stamp(NOON + timedelta(seconds=4) - MAX_OUT_OF_ORDER)
    assert key.turn() == []
    partition.add(message(5, 6, 5), message(6, 4, 4))  # the second repeats a trade
    (second,) = key.turn()
    assert second[1].aggregate.ticks == 1
    assert second[1].watermark == NOON + timedelta(seconds=4) - MAX_OUT_OF_ORDER
    assert partition.begins == [2]  # one consumer for all turns


def test_a_turn_with_many_polls_gives_one_part_for_each_stretch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_topic, "MAX_POLL", 1)
    monkeypatch.setattr(follow_topic, "READ_S", 60.0)
    read_from(monkeypatch, [message(at, at * 10, at) for at in range(60)], at_once=1)
    (first, second) = Key(share()).turn()
    assert [part.aggregate.ticks for _, part in (first, second)] == [30, 30]
    assert reduce(merge, [first[1].aggregate, second[1].aggregate]).closed[2] == 59


class Clock:
    """A tenth of a second passes between two looks at it."""

    def __init__(self) -> None:
        self._now = 0

    def monotonic(self) -> float:
        self._now += 1
        return self._now / 10

    def time(self) -> float:
        return 0.0


def test_only_busy_partitions_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_topic, "MAX_POLL", 1)
    monkeypatch.setattr(follow_topic, "READ_S", 1.05)
    monkeypatch.setattr(follow_topic, "time", Clock())
    partition = read_from(monkeypatch, [message(at, at, at) for at in range(40)], at_once=1)
    key = Key(share())

    def bundle(turns: int) -> list[int]:
        key.reader.start_bundle()
        return [sum(part.aggregate.ticks for _, part in key.turn()) for _ in range(turns)]

    assert bundle(2) == [11, 11]
    assert bundle(2) == [6, 6]  # two had too little time
    assert bundle(1) == [6]  # now the last messages, which take less than a turn
    assert bundle(1) == [0]
    partition.add(*[message(at, at, at) for at in range(40, 60)])
    assert bundle(1) == [11]


def test_restored_it_has_its_offset_its_trades_and_its_watermark(monkeypatch: pytest.MonkeyPatch) -> None:
    partition = read_from(monkeypatch, [message(at, at, at) for at in range(5)])
    key = Key(share())
    key.turn()
    checkpoint = list(key.progress.values), list(key.trades.values)
    partition.add(message(5, 7, 5))
    key.turn()
    # The last turn was lost with the worker, or its bundle failed: what it left in this process is not used.
    key.progress.values, key.trades.values = checkpoint
    partition.add(message(6, 3, 3))
    (again,) = key.turn()
    assert again[1].aggregate.ticks == 1  # the trade of offset 6 was read before the checkpoint
    assert again[1].watermark == NOON + timedelta(seconds=4) - MAX_OUT_OF_ORDER
    assert partition.begins == [0, 5]


def test_the_local_kafka_is_found_at_another_port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def start_kafka(port: int) -> None:
        state = {"kafka": {"bootstrap_servers": f"127.0.0.1:{port}"}}
        (tmp_path / "endpoints.json").write_text(json.dumps(state))

    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS")
    monkeypatch.setenv("CRYPTOMETRICS_HOME", str(tmp_path))
    partition = read_from(monkeypatch, [message(at, at, at) for at in range(5)])
    key = Key(share())
    start_kafka(1)
    key.turn()
    key.turn()
    (tmp_path / "endpoints.json").unlink()  # `down`: its address is still the last known
    key.turn()
    assert partition.begins == [0]
    start_kafka(2)
    key.turn()
    assert partition.begins == [0, 5]


def test_a_start_that_is_repeated_begins_nothing_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    read_from(monkeypatch, [message(at, at, at) for at in range(5)])
    key = Key(share())
    key.turn()
    timers = len(key.timers.sent)
    key.reader.process((0, share()), key.progress, key.timers.timer())
    assert len(key.timers.sent) == timers
    assert key.turn() == []


def test_a_checkpoint_without_the_partition_is_not_continued() -> None:
    with pytest.raises(RuntimeError, match="has no state of partition 0 of topic t"):
        Key(share(), replace(FOLLOWING, continues=True))


def test_the_state_has_the_same_size_however_much_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read_from(monkeypatch, [message(at, at / 1000, at) for at in range(12_000)], at_once=3_000)
    key = Key(share(start=0, end=6_000))
    key.turn()
    half = sum(map(len, key.progress.values + key.trades.values))
    longer = key.progress.read().replace(b"\xcd\x17\x70", b"\xcd\x2e\xe0")  # the end: all of them
    assert longer != key.progress.read()
    key.progress.write(longer)
    assert key.turn() != []
    assert abs(sum(map(len, key.progress.values + key.trades.values)) - half) < 10


def test_rounds_begin_at_whole_seconds() -> None:
    assert next_round(1_000.0) == next_round(1_000.99) == Timestamp(1_001)


def test_the_streaming_pipeline_can_be_translated() -> None:
    pipeline = beam.Pipeline()
    pipeline | FromKafka(FOLLOWING, [share()]) | Windows(FOLLOWING)
    described = str(pipeline.to_runner_api())
    assert "next_turn" in described


def test_a_runner_carries_it_from_turn_to_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    read_from(monkeypatch, [message(at, at % 100, at % 4_000) for at in range(8_000)], at_once=1_000)
    before = read_counts.total()
    with beam.Pipeline(options=PipelineOptions(["--runner", "FnApiRunner"])) as pipeline:
        pipeline | FromKafka(FOLLOWING, [share(end=8_000)]) | ToRows(FOLLOWING) | beam.Map(note)
    after = read_counts.total()
    assert (after.ticks - before.ticks, after.duplicates - before.duplicates) == (4_000, 4_000)
    # The runner may have closed the window between two turns; the rest was late then, and its row came again.
    assert {row.start: row.aggregate.ticks for row in _rows if row.complete} == {NOON: 4_000}


_rows: list[Row] = []


def note(row: Row) -> None:
    """Keep what the runner carries, which is in this process."""
    _rows.append(row)


def stamp(time: datetime) -> Timestamp:
    return Timestamp.from_utc_datetime(time.astimezone(UTC))
