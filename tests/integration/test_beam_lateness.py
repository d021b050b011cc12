"""When windows are written and which ticks are late, on Beam's TestStream.

A reader's watermark travels with the aggregates. So a test reads batches of ticks as the source does, and the
stream's watermark is the reader's.
"""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from cryptometrics.beam import read_counts
from cryptometrics.beam.folding import PartialAggregate
from cryptometrics.beam.job import Job, Shape
from cryptometrics.beam.pipeline import ToRows
from cryptometrics.beam.watermark import Watermark
from cryptometrics.market.windows import MAX_OUT_OF_ORDER, fixed_start
from tests.aggregates import of_tick

if TYPE_CHECKING:
    from cryptometrics.beam.postgres_sink import Row

# Beam's imports, and its old runner for TestStream, warn of their own.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

NOW = datetime(2026, 7, 1, 13, tzinfo=UTC)
START = datetime(2026, 6, 30, 23, 58, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
IDLE = timedelta(seconds=60)


class Read(NamedTuple):
    """A poll: the second of the wall clock, the partition, and the event seconds of its ticks."""

    partition: int
    seconds: tuple[float, ...]
    clock: float = 0
    at_end: tuple[int, ...] = ()


class Outcome(NamedTuple):
    """What was written: of each window (minutes after START) the ticks, pane by pane; and what was not."""

    panes: dict[float, list[tuple[int, bool]]]
    too_late: int


def note(row: Row, path: str) -> None:
    """Write a row down: where the runner carries what it calls, no list of the test is reached."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps([(row.start - START) / MINUTE, row.aggregate.ticks, row.complete]) + "\n")


def run(*reads: Read, shape: Shape | None = None, lateness: float = 10) -> Outcome:
    shape = shape or Shape(MINUTE)
    job = Job("g1", "test", shape, timedelta(seconds=lateness), follow=True)
    watermark = Watermark(sorted({read.partition for read in reads}), NOW, IDLE)
    stream = test_stream.TestStream()
    offset = 0
    for read in reads:
        now = NOW + timedelta(seconds=read.clock)
        elements = []
        for second in read.seconds:
            time = START + timedelta(seconds=second)
            offset += 1
            aggregate = of_tick((time, read.partition, offset), Decimal(100), Decimal(101))
            assert shape.grain is not None
            part = PartialAggregate(aggregate, fixed_start(time, shape.grain), watermark.value)
            elements.append(
                TimestampedValue((f"P{read.partition}-USD", part), Timestamp.from_utc_datetime(part.at))
            )
        if elements:
            stream = stream.add_elements(elements)
            watermark.see(read.partition, START + timedelta(seconds=max(read.seconds)), now)
        before, value = watermark.value, watermark.advance(now, read.at_end)
        if value is not None and value != before:
            whole = value.replace(microsecond=value.microsecond // 1000 * 1000)  # as TestStream wants it
            stream = stream.advance_watermark_to(Timestamp.from_utc_datetime(whole))
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner", "BundleBasedDirectRunner"], streaming=True))
    with tempfile.NamedTemporaryFile("r+") as notes:
        pipeline | stream | ToRows(job) | beam.Map(note, notes.name)
        before_run = read_counts.total().too_late
        pipeline.run().wait_until_finish()
        panes: dict[float, list[tuple[int, bool]]] = {}
        for line in notes:
            minute, ticks, complete = json.loads(line)
            panes.setdefault(minute, []).append((ticks, complete))
    return Outcome(panes, read_counts.total().too_late - before_run)


def test_in_order_each_window_is_written_once_and_complete() -> None:
    outcome = run(Read(0, (1, 2)), Read(0, (61, 62, 63)), Read(0, (125,)))
    assert outcome == ({0: [(2, True)], 1: [(3, True)], 2: [(1, True)]}, 0)


def test_what_is_out_of_order_within_the_allowance_of_the_watermark_is_not_late() -> None:
    second = MAX_OUT_OF_ORDER.total_seconds()
    outcome = run(Read(0, (59.5,)), Read(0, (60 + second - 0.5,)), Read(0, (58,)), Read(0, (130,)))
    assert outcome == ({0: [(2, True)], 1: [(1, True)], 2: [(1, True)]}, 0)


def test_late_within_the_allowance_the_whole_window_is_written_again() -> None:
    outcome = run(Read(0, (1, 2)), Read(0, (65,)), Read(0, (3,)), Read(0, (4, 66)), Read(0, (200,)))
    assert outcome.panes[0] == [(2, True), (3, True), (4, True)]
    assert outcome.panes[1] == [(2, True)]
    assert outcome.too_late == 0


def test_beyond_the_allowance_it_is_counted_and_never_silent() -> None:
    outcome = run(
        Read(0, (1, 2)), Read(0, (60 + 10 + 2,)), Read(0, (3, 4, 5)), Read(0, (73,)), Read(0, (200,))
    )
    assert outcome.panes[0] == [(2, True)]
    assert outcome.panes[1] == [(2, True)]
    assert outcome.too_late == 3


def test_of_windows_that_overlap_a_late_tick_misses_those_that_have_ended() -> None:
    shape = Shape(2 * MINUTE, MINUTE)
    outcome = run(Read(0, (61,)), Read(0, (60 + 60 + 15,)), Read(0, (62,)), Read(0, (400,)), shape=shape)
    assert outcome.panes[0] == [(1, True)]  # 0 to 120 s: over, with its 10 s
    assert outcome.panes[1] == [(3, True)]  # 60 to 180 s
    assert outcome.too_late == 1


def test_an_idle_partition_holds_nothing_back_and_one_with_a_backlog_does() -> None:
    silent = run(Read(1, (1,)), Read(0, (1,)), Read(0, (125,), clock=60, at_end=(0, 1)), Read(0, (2,)))
    assert silent.panes[0][:2] == [(1, True), (1, True)]
    assert silent.too_late == 1
    behind = run(
        Read(1, (1,)), Read(0, (1,)), Read(0, (125,), clock=60, at_end=(0,)), Read(0, (2,)), Read(1, (2,))
    )
    assert sorted(behind.panes[0]) == [(2, True), (2, True)]
    assert behind.too_late == 0


def test_windows_without_ticks_have_no_row() -> None:
    outcome = run(Read(0, (1,)), Read(0, (601,)))
    assert outcome == ({0: [(1, True)], 10: [(1, True)]}, 0)


def test_the_day_changes_between_two_windows() -> None:
    outcome = run(Read(0, (119.999,)), Read(0, (120,)), Read(0, (300,)), shape=Shape(timedelta(days=1)))
    day = (datetime(2026, 6, 30, tzinfo=UTC) - START) / MINUTE
    assert outcome == ({day: [(1, True)], 2: [(2, True)]}, 0)
