"""What a reader does before anything crosses the runner, against `process`'s own calculation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import reduce
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.beam.folding import PartialAggregate, Poll, ReadCounts, merged_parts
from cryptometrics.beam.job import Job, Shape
from cryptometrics.beam.trade_memory import TradeMemory
from cryptometrics.beam.watermark import Watermark
from cryptometrics.market.windows import MAX_OUT_OF_ORDER, Aggregate, merge
from tests.aggregates import of_tick

NOW = datetime(2026, 7, 1, 13, tzinfo=UTC)
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTES = Shape(timedelta(minutes=1))


class Message(NamedTuple):
    """What is used of a message of the topic."""

    at: int
    content: bytes
    pair: bytes = b"BTC-USD"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes:
        return self.pair

    def value(self) -> bytes:
        return self.content

    def timestamp(self) -> tuple[int, int]:
        return (0, 0)


def message(at: int, second: float, trade_id: int | None = None, bid: str = "100.5") -> Message:
    time = (NOON + timedelta(seconds=second)).isoformat()
    trade = f',"trade_id":{trade_id}' if trade_id is not None else ""
    body = (
        f'"type":"ticker","product_id":"BTC-USD","best_bid":"{bid}","best_ask":"101","time":"{time}"{trade}'
    )
    return Message(at, f"{{{body}}}".encode())


def job(shape: Shape = MINUTES, **more: datetime) -> Job:
    return Job("g1", "test", shape, timedelta(seconds=10), **more)  # type: ignore[arg-type]


def read(
    messages: list[Message], size: int, its: Job | None = None, memory: TradeMemory | None = None
) -> tuple[list[tuple[str, PartialAggregate]], ReadCounts]:
    memory = memory or TradeMemory()
    parts, counts = [], ReadCounts()
    for begin in range(0, len(messages), size):
        poll = Poll(its or job(), memory)
        poll.read(0, messages[begin : begin + size], NOW, None)
        poll.keep(memory)
        memory = TradeMemory(memory.packed())  # as after a restore
        parts += poll.parts
        counts = counts.plus(poll.counts)
    return parts, counts


def whole(parts: list[tuple[str, PartialAggregate]]) -> dict[datetime, Aggregate]:
    found: dict[datetime, Aggregate] = {}
    for _, part in parts:
        known = found.get(part.at)
        found[part.at] = part.aggregate if known is None else merge(known, part.aggregate)
    return found


@given(
    st.lists(st.tuples(st.integers(0, 150), st.integers(0, 30)), min_size=1, max_size=40), st.integers(1, 41)
)
def test_polls_of_any_size_fold_to_the_same_and_repetitions_count_once(
    ticks: list[tuple[int, int]], size: int
) -> None:
    messages = [message(at, second, trade_id) for at, (second, trade_id) in enumerate(ticks)]
    expected: dict[datetime, Aggregate] = {}
    seen: set[tuple[int, int]] = set()
    for at, (second, trade_id) in enumerate(ticks):
        if (trade_id, second) in seen:
            continue
        time = NOON + timedelta(seconds=second)
        start = time.replace(second=0)
        late = bool(seen) and trade_id < max(seen)[0]
        one = of_tick((time, 0, at), Decimal("100.5"), Decimal(101), late=late)
        expected[start] = merge(expected[start], one) if start in expected else one
        seen.add((trade_id, second))
    parts, counts = read(messages, size)
    assert whole(parts) == expected
    assert {part.at: part.aggregate for _, part in merged_parts(parts)} == expected
    assert counts.ticks == sum(each.ticks for each in expected.values())
    assert counts.ticks + counts.duplicates == len(ticks)


def test_what_is_no_tick_is_counted_and_not_folded() -> None:
    parts, counts = read([message(0, 1), Message(1, b"{}"), message(2, 2, bid="102")], 3)
    assert counts == ReadCounts(ticks=1, rejected=2)
    assert [part.aggregate.ticks for _, part in parts] == [1]


def test_a_range_of_event_time_is_cut_out_but_remembered() -> None:
    bounded = job(since=NOON + timedelta(seconds=10), until=NOON + timedelta(seconds=20))
    messages = [message(0, 9, 5), message(1, 10, 6), message(2, 19, 4), message(3, 20, 7), message(4, 10, 6)]
    parts, counts = read(messages, 2, bounded)
    assert counts == ReadCounts(ticks=2, duplicates=1, outside=2)
    assert reduce(merge, [part.aggregate for _, part in parts]).late == 1


def test_parts_of_sessions_end_where_the_gap_is() -> None:
    sessions = job(Shape(None, gap=timedelta(seconds=5)))
    parts, _ = read([message(n, second) for n, second in enumerate((30, 1, 5.9, 35, 11))], 5, sessions)
    spans = [(part.aggregate.opened[0], part.aggregate.closed[0]) for _, part in parts]
    seconds = [((a - NOON).total_seconds(), (b - NOON).total_seconds()) for a, b in spans]
    assert seconds == [(1, 5.9), (11, 11), (30, 30), (35, 35)]


def test_windows_that_overlap_are_folded_by_what_they_share() -> None:
    assert Shape(timedelta(minutes=10), timedelta(minutes=4)).grain == timedelta(minutes=2)
    assert Shape(timedelta(seconds=90), timedelta(minutes=1)).grain == timedelta(seconds=30)
    assert Shape(timedelta(hours=1)).name == "1h"
    assert Shape(timedelta(seconds=90), timedelta(minutes=1)).name == "1m30s-every-1m"


# The watermark


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


IDLE = timedelta(seconds=60)


def test_the_watermark_is_the_minimum_over_the_partitions() -> None:
    watermark = Watermark([0, 1], NOW, IDLE)
    watermark.see(0, at(100), NOW)
    assert watermark.advance(NOW, []) is None  # nothing is known of the other one
    watermark.see(1, at(50), NOW)
    assert watermark.advance(NOW, [0, 1]) == at(50) - MAX_OUT_OF_ORDER
    watermark.see(1, at(40), NOW)
    watermark.see(0, at(200), NOW)
    assert watermark.advance(NOW, [0, 1]) == at(50) - MAX_OUT_OF_ORDER  # it never goes back


def test_a_partition_is_idle_only_when_read_to_its_end() -> None:
    watermark = Watermark([0, 1], NOW, IDLE)
    watermark.see(0, at(100), NOW)
    watermark.see(1, at(50), NOW)
    later = NOW + IDLE
    watermark.see(0, at(160), later)
    assert watermark.advance(later, [0]) == at(50) - MAX_OUT_OF_ORDER  # there is more of it, however slow
    assert watermark.advance(later, [0, 1]) == at(160) - MAX_OUT_OF_ORDER
    assert watermark.advance(later + IDLE, [0, 1]) == NOW + IDLE  # all are silent: the clock says it


def test_a_tick_of_the_future_moves_the_watermark_to_the_present_at_most() -> None:
    watermark = Watermark([0], NOW, IDLE)
    watermark.see(0, NOW + timedelta(hours=5), NOW)
    assert watermark.advance(NOW, []) == NOW - MAX_OUT_OF_ORDER
