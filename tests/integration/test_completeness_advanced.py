"""Hours of Advanced Trade with fifty gaps, in seconds: which minutes are verified afterwards."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer

from cryptometrics.feeds.coinbase.advanced.feed import AdvancedFeed
from cryptometrics.kafka import client
from cryptometrics.market.gap_records import GapKind
from cryptometrics.market.windows import MINUTE
from cryptometrics.times import from_seconds
from tests.database import rows

if TYPE_CHECKING:
    from cryptometrics.config import Settings
    from cryptometrics.kafka.publisher import Message
    from tests.conftest import Cli

PAIRS = ("BTC-USD", "ETH-USD", "SOL-USD")
QUIET = "SOL-USD"
"""Has a tick in 5 minutes only: most of its minutes are empty."""
GAPS = 50
MAX_LEFT_OUT = 5
HOURS = 4
SKEW_S = 0.7
"""How far the exchange's clock is ahead of the receiver's."""
MARGIN = timedelta(seconds=2)


class Exchange:
    """Numbers the frames of one connection, and leaves some out; time is a number."""

    def __init__(self, feed: AdvancedFeed, start: float) -> None:
        self.now = start
        """By the receiver's clock."""
        self.messages: list[Message] = []
        self.left_out: list[float] = []
        """When frames were not sent, by the exchange's clock."""
        self._feed = feed
        self._number = 0
        self._leave_out = 0

    def leave_out(self, frames: int) -> None:
        self._leave_out = frames

    def connect(self) -> None:
        self._number = 0
        self.send("subscriptions", {"subscriptions": {"ticker": PAIRS, "heartbeats": ["heartbeats"]}})

    def ticker(self, pair: str, cents: int) -> None:
        price = f"{cents / 100:.2f}"
        quote = {"best_bid": price, "best_ask": price, "best_bid_quantity": "1", "best_ask_quantity": "2"}
        ticker = {"type": "ticker", "product_id": pair, "price": price} | quote
        self.send("ticker", {"type": "update", "tickers": [ticker]})

    def heartbeat(self) -> None:
        self.send("heartbeats", {"current_time": "", "heartbeat_counter": self._number})

    def send(self, channel: str, event: dict[str, Any]) -> None:
        number, self._number = self._number, self._number + 1
        if self._leave_out:
            self._leave_out -= 1
            self.left_out.append(self.now + SKEW_S)
            return
        time = from_seconds(self.now + SKEW_S).isoformat()
        frame = {"channel": channel, "timestamp": time, "sequence_num": number, "events": [event]}
        self.messages += self._feed.take(json.dumps(frame).encode(), self.now)
        if self._feed.broken.pop(0, None):
            self.messages += self._feed.lost(PAIRS, GapKind.DOWN, self.now)
            self.now += 1.5  # the client waits, and connects anew
            self.connect()


def trade_for_hours(exchange: Exchange, start: float) -> None:
    """Send a heartbeat and tickers each second, and leave out frames at random."""
    dice = random.Random(18)
    losses = set(dice.sample(range(60, HOURS * 3600 - 60, 7), GAPS))
    exchange.connect()
    for second in range(HOURS * 3600):
        exchange.now = max(exchange.now, start + second)
        if second in losses:
            exchange.leave_out(dice.randint(1, MAX_LEFT_OUT))
        exchange.heartbeat()
        for pair in PAIRS:
            if pair != QUIET or second % 300 == 0:
                exchange.ticker(pair, 10_000 + dice.randrange(100))


def publish(settings: Settings, messages: list[Message]) -> None:
    producer = Producer(client.client_conf(settings) | {"queue.buffering.max.messages": len(messages)})
    for key, value in messages:
        producer.produce(settings.kafka_topic, value, key)
    assert producer.flush(30) == 0


def label_of(minute: datetime, started: datetime, gaps: list[tuple[Any, ...]]) -> str:
    if any(begins - MARGIN < minute + MINUTE and ends + MARGIN >= minute for begins, ends in gaps):
        return "gap"
    return "verified" if minute >= started + MARGIN else "unverified"


def test_minutes_without_a_gap_are_verified_and_no_others(settings: Settings, cli: Cli) -> None:
    cli("init-db", "--partitions", "1")
    start = datetime.now(UTC).replace(minute=0, second=10, microsecond=0) - timedelta(hours=HOURS + 1)
    feed = AdvancedFeed(PAIRS)
    exchange = Exchange(feed, start.timestamp())
    trade_for_hours(exchange, start.timestamp())
    publish(settings, exchange.messages + feed.end(exchange.now))
    cli("process", "--group", "g1", "--until-caught-up")
    assert len(exchange.left_out) >= GAPS
    for pair in PAIRS:
        query = "SELECT begins_at, ends_at FROM feed_gaps WHERE pair = %s AND kind = %s"
        gaps = rows(settings, query, pair, "missed")
        assert len(gaps) == GAPS
        for time in map(from_seconds, exchange.left_out):
            assert any(begins - MARGIN <= time <= ends + MARGIN for begins, ends in gaps)
        ((_, started),) = rows(settings, query, pair, "start")
        minutes = rows(
            settings,
            "SELECT window_start, ticks, completeness FROM crypto_windows_1m "
            "WHERE venue = 'coinbase-advanced' AND pair = %s ORDER BY window_start",
            pair,
        )
        assert len(minutes) >= HOURS * 60 - 1
        expected = [label_of(minute, started, gaps) for minute, *_ in minutes]
        assert [label for *_, label in minutes] == expected
        assert expected.count("unverified") == 1  # the feed started in it
        assert expected.count("gap") <= 2 * GAPS
        if pair == QUIET:
            assert sum(not ticks and label == "verified" for _, ticks, label in minutes) > HOURS * 10
    cli("verify", "--topic")
