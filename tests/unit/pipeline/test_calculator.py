"""Batches: every offset has one outcome, and how messages are cut into batches changes nothing.

The past is kept in memory here, with just what a database would give back; that PostgreSQL does give it
back is tested with the real one (tests/integration/test_worker_past.py and test_process.py).
"""

from __future__ import annotations

import gc
import json
import struct
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptometrics.market import table_metrics
from cryptometrics.market.gap_records import Gap, GapKind, encode
from cryptometrics.market.tick_decoder import Reason
from cryptometrics.market.ticks import EXACT
from cryptometrics.market.trade_ids import MAX_RANGES
from cryptometrics.market.venues import Market
from cryptometrics.market.windows import TradeSums
from cryptometrics.pipeline import small_batch
from cryptometrics.pipeline.calculator import CalculatedBatch, Calculator
from cryptometrics.store.copy_rows import COPY_COLUMNS, one_row
from cryptometrics.store.partition_claims import Claim

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from cryptometrics.market.metrics import Session
    from cryptometrics.store.batch_transaction import PairState
    from cryptometrics.store.worker_past import TickKey

EVENING = datetime(2026, 6, 30, 23, 59, 55, tzinfo=UTC)
PAIRS = ("BTC-USD", "ETH-USD")
BTC = Market("coinbase", "BTC-USD")
Row = dict[str, Any]
EACH_WAY = pytest.mark.usefixtures("measured")


@dataclass(frozen=True)
class Message:
    """A record of the topic."""

    of: int
    at: int
    content: bytes | None
    name: bytes | None = b"BTC-USD"
    created: tuple[int, int] = (1, 1_782_907_198_000)

    def partition(self) -> int:
        return self.of

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes | None:
        return self.name

    def value(self) -> bytes | None:
        return self.content

    def timestamp(self) -> tuple[int, int]:
        return self.created


def quote(
    bid: str,
    ask: str,
    second: int = 0,
    trade_id: int | None = None,
    venue: str | None = None,
    pair: str = "BTC-USD",
) -> bytes:
    time = (EVENING + timedelta(seconds=second)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    fields = {"type": "ticker", "product_id": pair, "best_bid": bid, "best_ask": ask, "time": time}
    optional = {"trade_id": trade_id, "venue": venue}
    return json.dumps(fields | {key: value for key, value in optional.items() if value is not None}).encode()


def sized_quote(second: int, bid_size: str | None, ask_size: str | None, kind: str = "ticker") -> bytes:
    """Return a quote with sizes, and a trade of 2 at 10 that the taker bought in even seconds."""
    fields = json.loads(quote("1", "2", second)) | {"type": kind, "best_bid_size": bid_size}
    fields |= {"best_ask_size": ask_size, "price": "10", "last_size": "2"}
    return json.dumps(fields | {"side": "sell" if second % 2 else "buy"}).encode()


def start(before: int | None, venue: str = "coinbase") -> bytes:
    """Return the record of a feed's start that heard the trade after `before` first."""
    return encode(Gap("BTC-USD", GapKind.START, EVENING, None, None, before, venue=venue))[1]


class Memory:
    """What batches have stored."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.known_pairs: dict[Market, PairState] = {}
        self.known_sessions: dict[tuple[Market, str], Session] = {}
        self.days: list[date] = []
        self.outcomes: dict[tuple[int, int], str] = {}
        self.counts: Counter[tuple[int, str]] = Counter()
        self.next_offsets: dict[int, int] = {}
        self.asked: list[TickKey] = []
        self.late = 0
        self.gaps: list[tuple[Any, ...]] = []

    def pairs(self, markets: Collection[Market]) -> dict[Market, PairState]:
        return {market: self.known_pairs[market] for market in markets if market in self.known_pairs}

    def sessions(self, keys: Collection[tuple[Market, str]]) -> dict[tuple[Market, str], Session]:
        return {key: _copied(self.known_sessions[key]) for key in keys if key in self.known_sessions}

    def stored(self, ticks: Iterable[TickKey]) -> set[TickKey]:
        wanted = set(ticks)
        self.asked += wanted
        return wanted & {(Market(r["venue"], r["pair"]), r["trade_id"], r["time"]) for r in self.rows}

    def add_day(self, day: date) -> None:
        self.days.append(day)

    def commit(self, work: CalculatedBatch) -> None:
        """Write it as the database would, noting the outcome of each offset: none may get a second one."""
        batch = work.batch
        self.late += work.late
        for partition, part in batch.parts.items():
            assert self.next_offsets.get(partition, part.expected) == part.expected
            self.next_offsets[partition] = part.next_offset
            for name in ("metrics", "rejected", "gaps", "duplicates", "holes"):
                self.counts[partition, name] += getattr(part, name)
        rows = sorted(
            map(_parsed, _split(b"".join((*batch.rows, *map(one_row, batch.single_rows))))),
            key=itemgetter("partition", "offset"),
        )
        outcomes = [((row["partition"], row["offset"]), "metrics") for row in rows]
        outcomes += [((r.partition, r.offset), "rejected") for r in batch.rejected]
        outcomes += [((g.partition, g.offset), "gaps") for g in batch.gaps]
        self.gaps += [
            (g.partition, g.offset, g.begins, g.first_trade_id, g.last_trade_id, g.trades_missed)
            for g in batch.gaps
        ]
        outcomes += [
            ((s.partition, offset), f"{s.reason}s")
            for s in batch.skipped
            for offset in range(s.first_offset, s.last_offset + 1)
        ]
        for place, outcome in outcomes:
            assert place not in self.outcomes, (place, outcome, self.outcomes[place])
            self.outcomes[place] = outcome
        by_day: dict[tuple[int, str], list[int]] = {}
        for row in rows:
            by_day.setdefault((row["partition"], row["time"].date().isoformat()), []).append(row["offset"])
        counted = {(d.partition, d.day): (d.rows, d.first_offset, d.last_offset) for d in batch.days}
        assert counted == {place: (len(at), min(at), max(at)) for place, at in by_day.items()}
        assert len(counted) == len(batch.days)
        self.rows += rows
        self.known_sessions |= {key: _copied(session) for key, session in batch.sessions.items()}
        self.known_pairs |= {state.market: state for state in batch.pairs}


def _copied(session: Session) -> Session:
    return type(session)(*(getattr(session, name) for name in session.__struct_fields__))


def _parsed(fields: list[bytes | None]) -> Row:
    names = COPY_COLUMNS.split(", ")
    values: Row = dict(zip(names, fields, strict=True))
    for name in names[1:8]:
        values[name] = _decimal(values[name])
    for name in ("bid_size", "ask_size"):
        values[name] = None if values[name] is None else _decimal(values[name])
    for name in ("pair", "consumer_group", "venue", "session", "kind"):
        values[name] = values[name].decode()
    since_2000 = timedelta(microseconds=_whole(values.pop("timestamp")))
    values["time"] = datetime(2000, 1, 1, tzinfo=UTC) + since_2000
    values["trade_id"] = None if values["trade_id"] is None else _whole(values["trade_id"])
    values["partition"] = _whole(values.pop("kafka_partition"))
    values["offset"] = _whole(values.pop("kafka_offset"))
    return values


def _split(rows: bytes) -> Iterator[list[bytes | None]]:
    """The fields of each row in COPY's binary format."""
    at = 0
    while at < len(rows):
        count, at = _whole(rows[at : at + 2]), at + 2
        fields: list[bytes | None] = []
        for _ in range(count):
            size, at = _whole(rows[at : at + 4]), at + 4
            fields.append(None if size < 0 else rows[at : at + size])
            at += max(size, 0)
        yield fields
    assert at == len(rows)


def _decimal(number: bytes) -> Decimal:
    digits, weight, sign, places, *values = struct.unpack(f"!{len(number) // 2}h", number)
    assert len(values) == digits
    assert not sign
    total = sum(
        (Decimal(value).scaleb(4 * (weight - at)) for at, value in enumerate(values)), start=Decimal(0)
    )
    return total.quantize(Decimal(1).scaleb(-places), context=EXACT)


def _whole(number: bytes) -> int:
    return int.from_bytes(number, "big", signed=True)


def calculator(memory: Memory, firsts: dict[int, int], session: str | None = None) -> Calculator:
    made = Calculator("g", session, memory)
    for partition, first in firsts.items():
        made.own(Claim(partition, 1, first))
    return made


def once(messages: Sequence[Message], session: str | None = None, first: int = 0) -> Memory:
    """Return what one batch of these messages of partition 0 stores."""
    memory = Memory()
    memory.commit(calculator(memory, {0: first}, session).calculate(messages, []))
    return memory


# Streams of two partitions, a pair in each, of two venues: few prices, trade ids and moments, so that ticks
# repeat, come late, share an id but not a time, and cross midnight.
venues = st.sampled_from([None, None, "coinbase", "simulated"])
contents = st.one_of(
    st.builds(
        quote,
        st.sampled_from(["1", "1.50", "2"]),
        st.sampled_from(["2", "2.25", "3"]),
        st.integers(0, 9),
        st.none() | st.integers(0, 8) | st.sampled_from([100, 1000, 2**62]),
        venues,
    ),
    st.builds(start, st.none() | st.integers(0, 9), st.sampled_from(["coinbase", "simulated"])),
    st.sampled_from([None, b"", b"{}", quote("3", "2"), quote("0", "1"), quote("1", "2", pair="X")]),
)


@st.composite
def streams(draw: st.DrawFn) -> list[Message]:
    counters = {0: draw(st.integers(0, 3)), 1: 7}
    stream = []
    for content in draw(st.lists(contents, max_size=30)):
        partition = draw(st.integers(0, 1))
        counters[partition] += draw(st.sampled_from([0, 0, 0, 1, 3]))
        pair = PAIRS[partition].encode()
        value = content.replace(b"BTC-USD", pair) if content else content
        stream.append(Message(partition, counters[partition], value, pair))
        counters[partition] += 1
    return stream


class Expected:
    """A plain recomputation, tick by tick, of what has to be stored."""

    def __init__(self, stream: Sequence[Message]) -> None:
        self.outcomes: dict[tuple[int, int], str] = {}
        self.rows: list[tuple[Any, ...]] = []
        self.late: Counter[tuple[Market, str]] = Counter()
        self.ticks: Counter[tuple[Market, str]] = Counter()
        position = {0: 0, 1: 0}
        seen: set[tuple[Market, int, str]] = set()
        highest: dict[Market, int] = {}
        newest: dict[Market, datetime] = {}
        self.gaps: list[tuple[Any, ...]] = []
        sessions: dict[tuple[Market, str], list[tuple[Decimal, Decimal]]] = {}
        for message in stream:
            for hole in range(position[message.of], message.at):
                self.outcomes[message.of, hole] = "holes"
            position[message.of] = message.at + 1
            place = message.of, message.at
            self.outcomes[place] = "rejected"
            if not message.content or len(message.content) < 3:
                continue
            fields = json.loads(message.content)
            pair, time = fields["product_id"], fields["time"]
            market = Market(fields.get("venue", "coinbase"), pair)
            if fields["type"] == "gap":
                self.outcomes[place] = "gaps"
                last: int | None = fields.get("last_trade_id")
                first: int | None = None
                missed = None if market in newest else 0  # without trade ids nobody counts
                if market in highest:
                    first = highest[market] + 1
                    missed = None if last is None else max(last - highest[market], 0)
                self.gaps.append((*place, newest.get(market), first, last, missed))
                continue
            bid, ask = Decimal(fields["best_bid"]), Decimal(fields["best_ask"])
            if pair == "X" or bid > ask or not bid:
                continue
            trade_id = fields.get("trade_id")
            if trade_id is not None and (market, trade_id, time) in seen:
                self.outcomes[place] = "duplicates"
                continue
            self.outcomes[place] = "metrics"
            key = market, time[:10]
            if trade_id is not None:
                seen.add((market, trade_id, time))
                self.late[key] += trade_id < highest.get(market, -1)
                highest[market] = max(trade_id, highest.get(market, -1))
            at = datetime.fromisoformat(time)
            newest[market] = max(at, newest.get(market, at))
            self.ticks[key] += 1
            quotes = sessions.setdefault(key, [])
            quotes.append((bid, ask))
            self.rows.append(
                (
                    *place, *market, time[:10], bid, ask, (bid + ask) / 2, ask - bid,
                    max(b for b, _ in quotes), min(a for _, a in quotes), max(a - b for b, a in quotes),
                    trade_id,
                )
            )  # fmt: skip
        self.ends = position


def as_tuples(rows: Iterable[Row]) -> list[tuple[Any, ...]]:
    names = (
        "partition", "offset", "venue", "pair", "session", "bid", "ask", "mid_price", "spread", "highest_bid",
        "lowest_ask", "max_spread", "trade_id",
    )  # fmt: skip
    return sorted(tuple(row[name] for name in names) for row in rows)


def check(memory: Memory, stream: Sequence[Message], firsts: dict[int, int]) -> None:
    expected = Expected(stream)
    outcomes = {
        place: outcome for place, outcome in expected.outcomes.items() if place[1] >= firsts[place[0]]
    }
    assert memory.outcomes == outcomes
    assert as_tuples(memory.rows) == sorted(expected.rows)
    assert sorted(memory.gaps, key=lambda g: g[:2]) == sorted(expected.gaps, key=lambda g: g[:2])
    for partition, first in firsts.items():
        end = memory.next_offsets.get(partition, first)
        assert end == max(expected.ends[partition], first)
        counted = {name: n for (of, name), n in memory.counts.items() if of == partition and n}
        assert counted == Counter(outcome for (of, _), outcome in outcomes.items() if of == partition)
        assert sum(counted.values()) == end - first
    assert memory.late == expected.late.total()
    stored = {key: (s.ticks, s.late) for key, s in memory.known_sessions.items()}
    assert stored == {key: (n, expected.late[key]) for key, n in expected.ticks.items()}


@pytest.fixture(params=["as columns", "columns measured one by one", "without columns if possible"])
def measured(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way to measure ticks, whatever their number."""
    monkeypatch.setattr(table_metrics, "MIN_COLUMN_TICKS", 0 if request.param == "as columns" else 1000)
    few = 1000 if request.param == "without columns if possible" else -1
    monkeypatch.setattr(small_batch, "MAX_MESSAGES", few)


@EACH_WAY
@given(streams(), st.integers(0, 2))
def test_every_offset_has_one_outcome_and_the_counts_add_up(stream: list[Message], first: int) -> None:
    memory, firsts = Memory(), {0: min([first, *(m.at for m in stream if not m.of)]), 1: 7}
    memory.commit(calculator(memory, firsts).calculate(stream, []))
    check(memory, stream, firsts)


@EACH_WAY
@settings(max_examples=500)
@given(streams(), st.data())
def test_batches_of_any_size_stored_at_any_time_give_the_same(
    stream: list[Message], data: st.DataObject
) -> None:
    """Cut anywhere, up to two batches in flight, everything forgotten now and then, a failure too."""
    memory, firsts = Memory(), {0: 0, 1: 7}
    working = calculator(memory, firsts)
    in_flight: list[CalculatedBatch] = []
    position = 0
    while position < len(stream) or in_flight:
        may_read = position < len(stream) and len(in_flight) < 2
        # Only what is possible: each draw without effect costs as much as one with an effect.
        possible = ["read"] * 2 * may_read + [("store" if in_flight else "forget"), "fail"]
        action = data.draw(st.sampled_from(possible))
        if action == "read":
            size = data.draw(st.integers(1, len(stream) - position))
            in_flight.append(working.calculate(stream[position : position + size], in_flight))
            position += size
        elif action == "store":
            memory.commit(in_flight.pop(0))
        elif action == "forget":
            working.drop_pairs()
        else:
            # What was in flight is lost; the reading goes on from what is stored.
            in_flight.clear()
            stored = firsts | memory.next_offsets
            working = calculator(memory, stored)
            position = next((n for n, m in enumerate(stream) if m.at >= stored[m.of]), len(stream))
    check(memory, stream, firsts)


def test_messages_that_are_not_ours_or_were_read_before_are_passed_over() -> None:
    memory = Memory()
    working = calculator(memory, {0: 5})
    old = [Message(0, 4, quote("1", "2")), Message(3, 0, quote("1", "2"))]
    assert not working.calculate(old, []).batch.parts
    again = Message(0, 5, quote("1", "2"))
    memory.commit(working.calculate([*old, again, again], []))
    assert memory.outcomes == {(0, 5): "metrics"}
    working.drop([0])
    assert not working.calculate([Message(0, 6, quote("1", "2"))], []).batch.parts
    assert working.positions() == {}


def test_the_end_of_a_partition_accounts_for_the_holes_before_it() -> None:
    memory = Memory()
    working = calculator(memory, {0: 5})
    assert working.skip_to(0, 5) is None
    assert working.skip_to(0, 4) is None
    assert working.skip_to(1, 9) is None
    work = working.skip_to(0, 8)
    assert work is not None
    memory.commit(work)
    assert memory.outcomes == {(0, offset): "holes" for offset in (5, 6, 7)}
    assert working.positions() == {0: 8}
    assert working.skip_to(0, 8) is None


def test_a_refused_tick_leaves_no_trace_in_what_follows() -> None:
    stream = [
        Message(0, n, quote(*q, second=n, trade_id=n))
        for n, q in enumerate([("1", "2"), ("9", "9.9"), ("1", "2")])
    ]
    memory = Memory()
    work = calculator(memory, {0: 0}).calculate(stream, [], {(0, 1): "no such row here"})
    memory.commit(work)
    assert memory.outcomes == {(0, 0): "metrics", (0, 1): "rejected", (0, 2): "metrics"}
    [rejected] = work.batch.rejected
    assert (rejected.reason, rejected.detail) == (str(Reason.REFUSED), "no such row here")
    assert (rejected.key, rejected.value) == (b"BTC-USD", stream[1].content)
    assert {row["highest_bid"] for row in memory.rows} == {1}
    # And its trade is not known: sent again it is a tick like any other.
    assert "[1,2)" not in memory.known_pairs[BTC].trade_ids


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        ((0, -1), None),
        ((1, -1), None),
        ((1, 1_782_907_198_061), datetime(2026, 7, 1, 11, 59, 58, 61000, tzinfo=UTC)),
        # Any client may put any number there.
        ((1, 2**62), None),
        ((1, 253_402_300_800_000), None),
    ],
)
def test_a_bad_message_with_any_timestamp_is_rejected(
    created: tuple[int, int], expected: datetime | None
) -> None:
    memory = Memory()
    work = calculator(memory, {0: 0}).calculate([Message(0, 0, b"?", created=created)], [])
    [rejected] = work.batch.rejected
    assert rejected.kafka_timestamp == expected


def test_a_named_session_runs_across_midnight_and_days_have_their_own() -> None:
    stream = [Message(0, n, quote(str(9 - n), "10", second=4 * n)) for n in range(3)]
    named = once(stream, "drill")
    assert [(row["session"], row["highest_bid"]) for row in named.rows] == [("drill", 9)] * 3
    daily = once(stream)
    assert [(row["session"], row["highest_bid"]) for row in daily.rows] == [
        ("2026-06-30", 9),
        ("2026-06-30", 9),
        ("2026-07-01", 7),
    ]
    assert sorted(named.days) == sorted(daily.days) == [date(2026, 6, 30), date(2026, 7, 1)]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_pair_in_two_partitions_is_one_pair(size: int) -> None:
    memory = Memory()
    made = calculator(memory, {0: 0, 4: 0})
    stream = [
        Message(partition, offset, quote(bid, "200", offset, trade))
        for partition, offset, bid, trade in (
            (0, 0, "150", 1),
            (4, 0, "100", 2),
            (0, 1, "149", 3),
            (4, 1, "101", 4),
        )
    ]
    for begin in range(0, len(stream), size):
        memory.commit(made.calculate(stream[begin : begin + size], []))
    (session,) = memory.known_sessions.values()
    assert (session.highest_bid, session.ticks) == (Decimal(150), 4)
    assert memory.known_pairs[BTC].trade_ids == "{[1,5)}"


def test_the_newest_quote_of_a_pair_goes_by_event_time_across_sessions() -> None:
    stream = [
        Message(0, n, quote(bid, "10", second=second)) for n, (bid, second) in enumerate([("1", 9), ("2", 0)])
    ]
    state = once(stream).known_pairs[BTC]
    assert (str(state.bid), state.time) == ("1", EVENING + timedelta(seconds=9))


def test_the_database_is_asked_only_about_trades_that_may_be_there() -> None:
    gaps = [Message(0, n, quote("1", "2", trade_id=2 * n)) for n in range(MAX_RANGES)]
    late = [Message(0, MAX_RANGES + n, quote("1", "2", trade_id=2 * n + 1)) for n in range(MAX_RANGES)]
    memory = once([*gaps, *late])
    assert memory.asked == []
    assert memory.known_sessions[BTC, "2026-06-30"].late == MAX_RANGES - 1


def test_a_duplicate_of_a_trade_that_memory_gave_up_is_still_found() -> None:
    spread = [Message(0, n, quote("1", "2", trade_id=2 * n)) for n in range(MAX_RANGES + 10)]
    memory = Memory()
    working = calculator(memory, {0: 0})
    memory.commit(working.calculate(spread, []))
    end = len(spread)
    again = [
        Message(0, end, quote("1", "2", trade_id=0)),
        Message(0, end + 1, quote("1", "2", trade_id=1)),
        Message(0, end + 2, quote("1", "2", trade_id=1)),
    ]
    memory.commit(working.calculate(again, []))
    assert [memory.outcomes[0, end + n] for n in range(3)] == ["duplicates", "metrics", "duplicates"]


def test_a_batch_with_bad_messages_leaves_no_cycles() -> None:
    """They would hold on to batch after batch: cycles are looked for seldom."""
    bad = [b"", b"{}", quote("3", "2"), quote("0", "1"), b'{"type":"gap"}', quote("1", "2", pair="X")]
    memory = Memory()
    working = calculator(memory, {0: 0})
    working.calculate([Message(0, at, value) for at, value in enumerate(bad)], [])  # what is made once
    gc.collect()
    gc.disable()
    try:
        for n in range(1, 10):
            working.calculate([Message(0, 6 * n + at, value) for at, value in enumerate(bad)], [])
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("count", [3, 60])
def test_sizes_reach_the_rows_the_minutes_and_the_newest_quote(count: int) -> None:
    """Few ticks are measured one by one, many as columns: a size has the same digits both ways."""
    sizes = [("0.46688654", "8000"), ("0", None), (None, "2.50"), ("12345678.1", "1")]
    drawn = [sizes[number % 4] for number in range(count)]
    values = [
        sized_quote(number % 5, *each, "quote" if number % 3 == 2 else "ticker")
        for number, each in enumerate(drawn)
    ]
    memory = Memory()
    stream = [Message(0, offset, value) for offset, value in enumerate(values)]
    work = calculator(memory, {0: 0}, "drill").calculate(stream, [])
    memory.commit(work)
    rows = sorted(memory.rows, key=lambda row: row["offset"])
    stored = [
        tuple(None if row[n] is None else str(row[n]) for n in ("bid_size", "ask_size")) for row in rows
    ]
    assert stored == drawn
    (minute,) = work.batch.windows.values()
    both = [each for each in drawn if None not in each]
    assert minute.sized_ticks == len(both)
    assert minute.bid_size_sum == sum(Decimal(str(bid)) for bid, _ in both)
    assert minute.ask_size_sum == sum(Decimal(str(ask)) for _, ask in both)
    trades = [number for number in range(count) if number % 3 != 2]
    bought = sum(number % 5 % 2 == 0 for number in trades)
    assert minute.trades == TradeSums(
        len(trades), Decimal(2 * len(trades)), Decimal(20 * len(trades)), Decimal(2 * bought)
    )
    state = memory.known_pairs[BTC]
    assert (state.bid_size, state.ask_size) == tuple(each and Decimal(each) for each in drawn[-1])
