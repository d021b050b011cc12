"""What a reader still has to read, when the runner splits it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import apache_beam as beam
import pytest
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.utils.timestamp import Timestamp

from cryptometrics.beam import kafka_source
from cryptometrics.beam.folding import Poll, TradeMemory
from cryptometrics.beam.job import Job, Shape
from cryptometrics.beam.kafka_source import FromKafka, ReadEndless
from cryptometrics.beam.offset_ranges import NO_END, OffsetRange, TopicShare
from cryptometrics.beam.pipeline import Windows
from cryptometrics.beam.restrictions import PollClaim, PollTracker, ReadRestriction
from tests.unit.beam.test_folding import Message, job, message

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Beam's imports warn of their own

NOW = datetime(2026, 7, 1, 13, tzinfo=UTC)


def claim(tracker: PollTracker, memory: TradeMemory, first: int, last: int) -> tuple[bool, int]:
    """Read offsets, each of the trade of that number; return whether it may be, and how many count."""
    poll = Poll(job(), memory)
    poll.read(0, [message(at, at, at) for at in range(first, last)], NOW, None)
    taken = tracker.try_claim(PollClaim({0: last}, [poll]))
    if taken:
        poll.keep(memory)
    return taken, poll.counts.ticks


def test_a_split_gives_what_is_left_with_the_memory_of_what_was_read() -> None:
    tracker, memory = (
        PollTracker(ReadRestriction((OffsetRange(0, 10, NO_END), OffsetRange(1, 5, NO_END)))),
        TradeMemory(),
    )
    assert claim(tracker, memory, 10, 20) == (True, 10)
    assert tracker.try_split(0.5) is None  # a pair's ticks are read in their order, by one reader
    split = tracker.try_split(0)
    assert split is not None
    primary, residual = split
    assert primary.ranges == (OffsetRange(0, 10, 20), OffsetRange(1, 5, 5))
    assert residual.ranges == (OffsetRange(0, 20, NO_END), OffsetRange(1, 5, NO_END))
    assert claim(tracker, memory, 20, 25)[0] is False  # the other one's by now
    assert tracker.check_done()
    assert tracker.try_split(0) is None
    # Who goes on reads them: none was remembered too early, and those before are known.
    other, its = PollTracker(residual), TradeMemory(residual.memory)
    assert claim(other, its, 20, 25) == (True, 5)
    assert claim(other, its, 15, 30) == (True, 5)


def test_what_is_bounded_is_read_to_its_end_and_says_how_far() -> None:
    tracker, memory = PollTracker(ReadRestriction((OffsetRange(0, 0, 40),))), TradeMemory()
    assert tracker.is_bounded()
    assert tracker.current_progress().fraction_completed == 0
    claim(tracker, memory, 0, 10)
    assert tracker.current_progress().fraction_completed == 0.25
    with pytest.raises(ValueError, match="read only up to offset 10"):
        tracker.check_done()
    claim(tracker, memory, 10, 40)
    assert tracker.check_done()
    assert tracker.try_split(0) is None


def test_the_streaming_pipeline_can_be_translated() -> None:
    following = Job("g1", "5m", Shape(timedelta(minutes=5)), timedelta(seconds=10), follow=True)
    pipeline = beam.Pipeline()
    pipeline | FromKafka(following, [TopicShare("t", (OffsetRange(0, 0, NO_END),))]) | Windows(following)
    described = str(pipeline.to_runner_api())
    assert "begun" in described


class Received(Message):
    """A message as a consumer gives it."""

    def error(self) -> None:
        return None


class FakeConsumer:
    """Gives one message of partition 0."""

    is_closed = False

    def consume(self, _most: int, _timeout: float) -> list[Received]:
        return [Received(*message(20, 0, 20))]

    def close(self) -> None:
        self.is_closed = True


def test_after_a_restore_what_is_read_first_is_judged_by_the_watermark_of_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "k:1")
    monkeypatch.setattr(kafka_source, "_consumer", lambda _topic, _positions: FakeConsumer())
    following = Job("g1", "5m", Shape(timedelta(minutes=5)), timedelta(seconds=10), follow=True)
    ranges = (OffsetRange(0, 20, NO_END), OffsetRange(1, 5, NO_END))  # of the second nothing is to be heard
    for known in (None, NOW - timedelta(minutes=1)):
        estimator = ManualWatermarkEstimator(None if known is None else Timestamp.from_utc_datetime(known))
        parts = ReadEndless(following).process(
            TopicShare("t", ranges), PollTracker(ReadRestriction(ranges)), estimator
        )
        _, part = next(iter(parts)).value
        assert part.watermark == known


def test_a_reader_that_follows_finds_the_local_kafka_at_another_port(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[FakeConsumer] = []

    def consumer(_topic: str, _positions: dict[int, int]) -> FakeConsumer:
        made.append(FakeConsumer())
        return made[-1]

    def start_kafka(port: int) -> None:
        state = {"kafka": {"bootstrap_servers": f"127.0.0.1:{port}"}}
        (tmp_path / "endpoints.json").write_text(json.dumps(state))

    def begin_bundle() -> int:
        """Return how many consumers were made until its first poll."""
        taken = reader._take_warm("t", {0: 20}, None)
        reader._warm[(0,)] = taken  # as at the end of a bundle
        return len(made)

    monkeypatch.setenv("CRYPTOMETRICS_HOME", str(tmp_path))
    monkeypatch.setattr(kafka_source, "_consumer", consumer)
    reader = ReadEndless(Job("g1", "5m", Shape(timedelta(minutes=5)), timedelta(), follow=True))
    start_kafka(1)
    assert (begin_bundle(), begin_bundle()) == (1, 1)
    (tmp_path / "endpoints.json").unlink()  # `down`: its address is still the last known
    assert begin_bundle() == 1
    start_kafka(2)
    assert begin_bundle() == 2
    assert [each.is_closed for each in made] == [True, False]
