"""Exactly-once alerts while the worker is killed and the receiver fails half of the time."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest
from confluent_kafka import Producer

from cryptometrics.kafka import client
from tests.fakes.receiver import SECRET, Receiver, moody
from tests.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cryptometrics.config import Settings
    from tests.conftest import Cli

LEVEL, RESOLVE_BELOW = Decimal(25), Decimal(15)
HOLD, COOLDOWN = timedelta(seconds=2), timedelta(seconds=5)
PAIRS = ("BTC-USD", "ETH-USD", "SOL-USD")
QUIET = "QUIET-USD"
TICKS = 5_000
"""Of each pair."""
STEP = timedelta(milliseconds=50)

RULES = f"""
[[rule]]
name = "wide"
kind = "spread_bps"
pairs = ["*-USD"]
level = {LEVEL}
for = "2s"
resolve_below = {RESOLVE_BELOW}
cooldown = "5s"
severity = "critical"

[[rule]]
name = "silent"
kind = "stale"
pairs = ["{QUIET}"]
for = "3s"
cooldown = "1d"
"""


class Tick(NamedTuple):
    pair: str
    time: datetime
    bid: Decimal
    ask: Decimal

    def message(self) -> dict[str, Any]:
        return {
            "type": "quote",
            "product_id": self.pair,
            "best_bid": str(self.bid),
            "best_ask": str(self.ask),
            "time": self.time.isoformat().replace("+00:00", "Z"),
        }


class Expected(NamedTuple):
    pair: str
    started_at: datetime
    fired_at: datetime
    resolved_at: datetime | None


def market() -> list[Tick]:
    """Return ticks of all pairs: calm, with bursts of wide spreads, some of them too short."""
    chance = random.Random(8)
    start = datetime.now(UTC).replace(microsecond=0) - TICKS * STEP - timedelta(minutes=1)
    ticks: list[Tick] = []
    bursts = {
        pair: [
            (begin, begin + length)
            for begin, length in zip(
                chance.sample(range(200, TICKS - 400, 200), 4), (10, 39, 41, 120), strict=True
            )
        ]
        for pair in PAIRS
    }
    for number in range(TICKS):
        for pair in PAIRS:
            wide = any(begin <= number < end for begin, end in bursts[pair])
            # Around the level and the lower one at which an alert resolves: 0 to 14, 16 to 24, 26 to 60 bps.
            bps = chance.randrange(26, 60) if wide else chance.choice((2, 5, 14, 16, 20))
            bid = Decimal(chance.randrange(9_900, 10_100))
            ticks.append(Tick(pair, start + number * STEP, bid, bid + bid * bps / 10_000))
    return ticks


def expected(ticks: Iterable[Tick]) -> list[Expected]:
    """Return the alerts of the spreads, worked out anew, from the rule as it is written above."""
    found: list[Expected] = []
    for pair in PAIRS:
        since = cooled = None
        fires: Expected | None = None
        for tick in (tick for tick in ticks if tick.pair == pair):
            with localcontext(prec=60):
                bps = (tick.ask - tick.bid) / ((tick.ask + tick.bid) / 2) * 10_000
            if fires:
                if bps <= RESOLVE_BELOW:
                    found.append(fires._replace(resolved_at=tick.time))
                    fires, since, cooled = None, None, tick.time + COOLDOWN
            elif bps <= LEVEL:
                since = None
            else:
                since = since or tick.time
                if tick.time >= since + HOLD and (cooled is None or tick.time >= cooled):
                    fires = Expected(pair, since, tick.time, None)
        if fires:
            found.append(fires)
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_each_alert_is_stored_once_and_told_in_order_whatever_is_killed(
    cli: Cli, settings: Settings, tmp_path: Path
) -> None:
    cli("init-db", "--partitions", "3")
    (tmp_path / "alerts.toml").write_text(RULES)
    producer = Producer(client.client_conf(settings, partitioner="murmur2_random"))

    def send(ticks: Iterable[Tick]) -> None:
        for tick in ticks:
            value = json.dumps(tick.message())
            while True:
                try:
                    producer.produce(settings.kafka_topic, value, tick.pair)
                    break
                except BufferError:
                    producer.poll(0.1)
        assert producer.flush(LIMIT_S) == 0

    def quiet() -> Tick:
        return Tick(QUIET, datetime.now(UTC), Decimal(100), Decimal(100))

    ticks = market()
    log = (tmp_path / "log").open("w")
    with (
        Receiver(moody(81)) as receiver,
        psycopg.connect(settings.postgres(), autocommit=True) as database,
    ):

        def number(query: str) -> int:
            row = database.execute(query.encode()).fetchone()
            assert row is not None
            return int(row[0] or 0)

        def processed() -> int:
            return number("SELECT sum(next_offset - first_offset) FROM consumer_offsets")

        def worker() -> Any:
            url = {"CRYPTOMETRICS_WEBHOOK_URL": receiver.url}
            return cli.start("process", "--batch", "100", env=url, stdout=log, stderr=log)

        send([quiet()])
        send(ticks)
        for share in (0.2, 0.4, 0.6):
            running = worker()
            begun = processed()
            wait_until(lambda: processed() >= share * len(ticks), "the worker comes to where it is killed")  # noqa: B023
            running.kill()
            running.wait(LIMIT_S)
            assert begun < processed() < len(ticks), "it was not killed in the middle"
        last = worker()
        wait_until(lambda: processed() == len(ticks) + 1, "everything is processed")
        wait_until(
            lambda: number("SELECT count(*) FROM alerts WHERE rule = 'silent'") == 1, "the silence is seen"
        )
        send([quiet()])
        wait_until(
            lambda: number("SELECT count(*) FROM alerts WHERE rule = 'silent' AND resolved_at IS NULL") == 0,
            "the silence ends",
        )
        wait_until(
            lambda: number("SELECT count(*) FROM alert_notifications WHERE delivered_at IS NULL") == 0,
            "everything is delivered",
        )
        last.terminate()
        assert last.wait(LIMIT_S) == 0

        # Stored: exactly what the rules say, each once.
        rows = database.execute(
            "SELECT pair, started_at, fired_at, resolved_at FROM alerts "
            "WHERE rule = 'wide' ORDER BY pair, fired_at"
        ).fetchall()
        alerts = expected(ticks)
        assert len(alerts) >= 6
        assert [Expected(*row) for row in rows] == sorted(alerts)
        assert number("SELECT count(*) FROM alerts") == len(alerts) + 1

        # Delivered: each, and the first of its times in the order in which it was stored.
        told = database.execute(
            "SELECT n.idempotency_key::text, n.status, a.id, a.pair, a.rule FROM alert_notifications n "
            "JOIN alerts a ON a.id = n.alert_id ORDER BY n.id"
        ).fetchall()
        assert len(told) == 2 * (len(alerts) + 1)
        taken = receiver.taken()
        assert [post.key for post in taken if post.body["rule"] == "wide"] == [
            key for key, *_, rule in told if rule == "wide"
        ]
        assert [(p.body["status"], p.body["pair"]) for p in taken if p.body["rule"] == "silent"] == [
            ("firing", QUIET),
            ("resolved", QUIET),
        ]
        assert {(post.key, post.body["status"], post.body["id"], post.body["pair"]) for post in taken} == {
            tuple(each[:4]) for each in told
        }
        assert sum(post.act != "accept" for post in receiver.posts) > 5, "it did not fail much"

    cli("verify", "--topic")
    listed = json.loads(cli("alerts", "list", "--json").stdout)
    assert [alert["status"] for alert in listed] == ["resolved"] * (len(alerts) + 1)
    assert all(alert["delivered"] == alert["notifications"] == 2 for alert in listed)
    log.close()
    assert SECRET not in (tmp_path / "log").read_text()
