"""The load, with a ledger of everything sent and the rows that must follow from it.

The expectation shares no code with the package: prices, extremes and outcomes are recomputed in the simplest
way, from the messages and their offsets in Kafka.
"""

from __future__ import annotations

import functools
import heapq
import random
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import KafkaError, Producer

from cryptometrics.kafka import client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from confluent_kafka import Message

    from cryptometrics.config import Settings

# Enough of them for every partition to have some.
PAIRS = tuple(
    f"{base}-USD" for base in ("BTC", "ETH", "SOL", "XRP", "ADA", "DOGE", "LTC", "DOT", "UNI", "ATOM")
)
FLUSH_S = 120.0
"""Seconds in which Kafka has to acknowledge everything, restarts of the broker included."""


class Quote(NamedTuple):
    """A valid tick, as it was sent."""

    pair: str
    kind: str
    bid: str
    ask: str
    time: datetime
    trade_id: int | None


class Sent(NamedTuple):
    """A message as it was sent; `quote` is None if it must be rejected."""

    key: bytes | None
    value: bytes | None
    quote: Quote | None


Record = Quote | Sent
"""What is kept of a message: of a good one its quote, from which `message` makes it again."""


def as_sent(record: Record) -> Sent:
    """Return a message as it was sent."""
    return record if isinstance(record, Sent) else message(record)


def message(quote: Quote) -> Sent:
    """Return a quote in the shape of the exchange's ticker."""
    at = quote.time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    trade = (
        "" if quote.trade_id is None else f',"trade_id":{quote.trade_id},"price":"{quote.bid}","side":"buy"'
    )
    value = (
        f'{{"type":"{quote.kind}","product_id":"{quote.pair}","best_bid":"{quote.bid}",'
        f'"best_ask":"{quote.ask}","time":"{at}"{trade}}}'
    )
    return Sent(quote.pair.encode(), value.encode(), quote)


@dataclass
class Market:
    """A synthetic market: random walks, with the configured share of faults."""

    seed: int
    start: datetime = field(default_factory=lambda: datetime.now(UTC))
    step: timedelta = timedelta(milliseconds=1)
    """Between ticks."""
    duplicates: float = 0.01
    """Share of ticks that the feed repeats, byte for byte."""
    late: float = 0.01
    """Share that comes after younger ones of its pair."""
    bad: float = 0.005
    spoil: Callable[[random.Random, Sent], Sent] | None = None
    """Makes a bad message of a good one; without it bad ones are plain rubbish."""
    skew: Callable[[random.Random, datetime], datetime] | None = None

    def __iter__(self) -> Iterator[Sent]:
        chance = random.Random(self.seed)
        cents = {pair: chance.randrange(10_000, 9_000_000) for pair in PAIRS}
        trade_ids = {pair: chance.randrange(1, 10**9) for pair in PAIRS}
        recent: dict[str, deque[Sent]] = {pair: deque(maxlen=2_000) for pair in PAIRS}
        held: deque[tuple[int, Sent]] = deque()
        now = self.start
        number = 0
        while True:
            number += 1
            if held and held[0][0] <= number:
                yield held.popleft()[1]
                continue
            pair = chance.choice(PAIRS)
            if chance.random() < self.duplicates and recent[pair]:
                yield chance.choice(recent[pair])
                continue
            now += self.step
            cents[pair] = max(100, cents[pair] + chance.randint(-50, 50))
            bid, ask = cents[pair], cents[pair] + chance.choice((0, 1, 1, 2, 5, chance.randint(1, 300)))
            traded = chance.random() < 0.95
            trade_ids[pair] += traded
            quote = Quote(
                pair,
                "ticker" if traded else "quote",
                f"{bid // 100}.{bid % 100:02}",
                f"{ask // 100}.{ask % 100:02}",
                now if self.skew is None else self.skew(chance, now),
                trade_ids[pair] if traded else None,
            )
            sent = message(quote)
            if chance.random() < self.bad:
                yield self.spoil(chance, sent) if self.spoil else Sent(sent.key, b'{"rubbish', None)
                continue
            if traded:
                recent[pair].append(sent)
            if chance.random() < self.late:
                held.append((number + chance.randint(5, 400), sent))
                held = deque(sorted(held, key=lambda pair: pair[0]))
            else:
                yield sent


class Row(NamedTuple):
    """What has to stand in crypto_metrics."""

    partition: int
    offset: int
    pair: str
    bid: Decimal
    ask: Decimal
    mid_price: Decimal
    spread: Decimal
    highest_bid: Decimal
    lowest_ask: Decimal
    max_spread: Decimal
    time: datetime
    session: str
    kind: str
    trade_id: int | None


class Extremes(NamedTuple):
    """What has to stand in session_extremes."""

    highest_bid: Decimal
    highest_bid_at: datetime
    lowest_ask: Decimal
    lowest_ask_at: datetime
    max_spread: Decimal
    max_spread_at: datetime
    last_bid: Decimal
    last_ask: Decimal
    last_at: datetime
    first_at: datetime
    ticks: int
    late: int


@dataclass
class Expected:
    """All rows that must be stored."""

    rows: dict[tuple[int, int], Row] = field(default_factory=dict)
    rejected: dict[tuple[int, int], Record] = field(default_factory=dict)
    duplicates: set[tuple[int, int]] = field(default_factory=set)
    sessions: dict[tuple[str, str], Extremes] = field(default_factory=dict)


class Ledger:
    """Every message that Kafka acknowledged, by partition and offset."""

    def __init__(self) -> None:
        self.records: defaultdict[int, dict[int, Record]] = defaultdict(dict)
        self.given_up: set[tuple[int, int]] = set()
        """What the test has taken out of Kafka before anybody read it."""
        self.refused: list[str] = []
        self.sent = 0
        self._turns: defaultdict[int, dict[int, int]] = defaultdict(dict)
        self._ends: dict[int, int] = {}
        self._lock = threading.Lock()

    def note(self, turn: int, sent: Sent, error: KafkaError | None, report: Message) -> None:
        """Take the delivery report of the message that was sent as number `turn`."""
        with self._lock:
            if error is not None:
                self.refused.append(str(error))
                return
            partition, offset = report.partition(), report.offset()
            assert partition is not None
            assert offset is not None
            assert offset not in self.records[partition], "Kafka gave an offset twice"
            self.records[partition][offset] = sent if sent.quote is None else sent.quote
            self._turns[partition][offset] = turn
            self._ends[partition] = max(offset + 1, self._ends.get(partition, 0))

    def ends(self) -> dict[int, int]:
        """Return the offset after the last one of each partition."""
        with self._lock:
            return dict(self._ends)

    def check(self) -> None:
        """See that every message sent has its offset, so that the ledger is the whole topic."""
        assert not self.refused, f"Kafka did not take {len(self.refused)} messages: {self.refused[0]}"
        known = sum(map(len, self.records.values())) + len(self.given_up)
        assert known == self.sent, f"{self.sent} sent, {known} acknowledged"

    def give_up(self, partition: int, offsets: range) -> None:
        """Take note that nobody can read these any more."""
        for offset in offsets:
            del self.records[partition][offset]
            self.given_up.add((partition, offset))

    def bad(self) -> int:
        """Return how many messages have to be rejected."""
        return sum(isinstance(each, Sent) for records in self.records.values() for each in records.values())

    def in_order(self) -> Iterator[tuple[tuple[int, int], Record]]:
        """Yield each message with its place, in the order in which they were sent."""

        def of(partition: int) -> Iterator[tuple[int, int]]:
            last = -1
            for offset in sorted(self.records[partition]):
                turn = self._turns[partition][offset]
                assert turn > last, "Kafka has not kept the order"
                last = turn
                yield turn, offset

        def placed(partition: int) -> Iterator[tuple[int, int, int]]:
            return ((turn, partition, offset) for turn, offset in of(partition))

        for _, partition, offset in heapq.merge(*map(placed, sorted(self.records))):
            yield (partition, offset), self.records[partition][offset]

    def expected(self, refused: Callable[[Quote], bool] | None = None) -> Expected:
        """Return the rows that must be stored; `refused` selects the quotes that PostgreSQL refuses."""
        result = Expected()
        seen: set[tuple[str, int, datetime]] = set()
        newest_trade: dict[str, int] = {}
        with localcontext(prec=100):
            for place, record in self.in_order():
                if isinstance(record, Sent) or (refused is not None and refused(record)):
                    result.rejected[place] = record
                    continue
                is_late = False
                if record.trade_id is not None:
                    key = record.pair, record.trade_id, record.time
                    if key in seen:
                        result.duplicates.add(place)
                        continue
                    seen.add(key)
                    is_late = record.trade_id < newest_trade.get(record.pair, 0)
                    newest_trade[record.pair] = max(record.trade_id, newest_trade.get(record.pair, 0))
                self._measure(result, place, record, is_late)
        return result

    @staticmethod
    def _measure(result: Expected, place: tuple[int, int], quote: Quote, is_late: bool) -> None:
        bid, ask, at = Decimal(quote.bid), Decimal(quote.ask), quote.time
        spread, session = ask - bid, _day(at.date())
        before = result.sessions.get((quote.pair, session))
        if before is None:
            now = Extremes(bid, at, ask, at, spread, at, bid, ask, at, at, 1, int(is_late))
        else:
            changes: dict[str, Any] = {"ticks": before.ticks + 1, "late": before.late + is_late}
            if bid > before.highest_bid:
                changes |= {"highest_bid": bid, "highest_bid_at": at}
            if ask < before.lowest_ask:
                changes |= {"lowest_ask": ask, "lowest_ask_at": at}
            if spread > before.max_spread:
                changes |= {"max_spread": spread, "max_spread_at": at}
            if at >= before.last_at:
                changes |= {"last_bid": bid, "last_ask": ask, "last_at": at}
            changes["first_at"] = min(at, before.first_at)
            now = before._replace(**changes)
        result.sessions[quote.pair, session] = now
        result.rows[place] = Row(
            *place, quote.pair, bid, ask, (bid + ask) / 2, spread,
            now.highest_bid, now.lowest_ask, now.max_spread, at, session, quote.kind, quote.trade_id,
        )  # fmt: skip


@functools.lru_cache
def _day(day: date) -> str:
    return day.isoformat()


class Load:
    """Sends a market to a topic: at once, or in the background at a rate."""

    def __init__(self, settings: Settings, market: Iterable[Sent], ledger: Ledger | None = None) -> None:
        self.ledger = Ledger() if ledger is None else ledger
        self._topic = settings.kafka_topic
        self.source = iter(market)
        self._producer = Producer(
            client.client_conf(
                settings,
                **{
                    "enable.idempotence": True,
                    "acks": "all",
                    "linger.ms": 5,
                    "partitioner": "murmur2_random",
                    "queue.buffering.max.messages": 20_000,
                    "message.max.bytes": 1_040_000,
                    "topic.metadata.refresh.interval.ms": 1_000,
                },
            )
        )
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._trouble: list[BaseException] = []

    def send(self, count: int) -> None:
        """Send so many messages as fast as Kafka takes them, and wait until it has them."""
        for _ in range(count):
            self.put(next(self.source))
        self.flush()

    def put(self, sent: Sent) -> None:
        """Send one message."""
        self.ledger.sent += 1
        report = functools.partial(self.ledger.note, self.ledger.sent, sent)
        while True:
            try:
                self._producer.produce(self._topic, sent.value, sent.key, on_delivery=report)
            except BufferError:
                self._producer.poll(0.05)
            else:
                break
        self._producer.poll(0)

    def start(self, rate: int) -> None:
        """Send in the background, `rate` messages a second."""
        self._ended.clear()
        self._thread = threading.Thread(target=self._run, args=(rate,), name="load", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop sending, and wait until Kafka has everything."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(FLUSH_S)
            assert not self._thread.is_alive(), "the load does not end"
            self._thread = None
        if self._trouble:
            raise self._trouble[0]
        self.flush()
        self.ledger.check()

    def halt(self) -> None:
        """Stop sending, and wait for nothing."""
        self._ended.set()

    def flush(self) -> None:
        """Wait until Kafka has acknowledged everything."""
        left = self._producer.flush(FLUSH_S)
        assert left == 0, f"Kafka has not acknowledged {left} messages"

    def _run(self, rate: int) -> None:
        begun, sent = time.monotonic(), 0
        try:
            while not self._ended.wait(0.02):
                due = int((time.monotonic() - begun) * rate)
                # After a pause of the broker the backlog comes at once, as from any exchange.
                for _ in range(min(due - sent, 5_000)):
                    self.put(next(self.source))
                    sent += 1
                self._producer.poll(0)
        except BaseException as error:  # noqa: BLE001  (raised again where the load is ended)
            self._trouble.append(error)
