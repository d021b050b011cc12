"""Gap records from Kafka to PostgreSQL: stored with the ticks, rejected if invalid, verified."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from confluent_kafka import Producer

from cryptometrics.kafka import client
from cryptometrics.market.gap_records import Gap, GapKind, encode
from cryptometrics.store.connection import connect
from cryptometrics.verify.verification import verify

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptometrics.config import Settings
    from tests.conftest import Cli

HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=1)
Message = tuple[bytes | None, bytes | None]


def tick(trade_id: int) -> Message:
    fields = {
        "type": "ticker",
        "product_id": "BTC-USD",
        "best_bid": "1",
        "best_ask": "2",
        "trade_id": trade_id,
    }
    time = (HOUR + timedelta(seconds=trade_id)).isoformat()
    return b"BTC-USD", json.dumps(fields | {"time": time}).encode()


def start(before: int | None) -> Message:
    time = HOUR + timedelta(minutes=30)
    return encode(Gap("BTC-USD", GapKind.START, time, None, None, before, proves=before != 19))


def end() -> Message:
    return encode(Gap("BTC-USD", GapKind.END, HOUR + timedelta(minutes=40), None))


def gap(kind: GapKind, seconds: float, first: int | None = None, last: int | None = None) -> Message:
    begins = HOUR + timedelta(minutes=10)
    return encode(Gap("BTC-USD", kind, begins + timedelta(seconds=seconds), begins, first, last))


MESSAGES: list[Message] = [
    start(9),
    tick(10),
    tick(11),
    gap(GapKind.MISSED, 1, 12, 14),
    tick(15),
    gap(GapKind.SILENCE, 60),
    start(19),
    tick(20),
    start(None),
    gap(GapKind.MISSED, 2000.119969),  # frames without numbers of trades
    end(),
    (b"BTC-USD", b'{"type":"gap","product_id":"BTC-USD","kind":"nap","time":"2026-01-01T00:00:00Z"}'),
    (b"BTC-USD", b'{"type":"gap","product_id":"BTC-USD"}'),
    (b"ETH-USD", gap(GapKind.DOWN, 5)[1]),
]


@pytest.fixture
def processed(settings: Settings, cli: Cli) -> Settings:
    cli("init-db", "--partitions", "1")
    publish(settings, MESSAGES)
    cli("process", "--group", "g1", "--until-caught-up")
    return settings


def publish(settings: Settings, messages: Iterable[Message]) -> None:
    producer = Producer(client.client_conf(settings))
    for key, value in messages:
        producer.produce(settings.kafka_topic, value, key)
    assert producer.flush(30) == 0


def test_gaps_are_stored_and_counted_and_wrong_ones_rejected(processed: Settings, cli: Cli) -> None:
    with psycopg.connect(processed.postgres()) as connection:
        stored = connection.execute(
            "SELECT kind, begins_at - %s, first_trade_id, last_trade_id, trades_missed, proves "
            "FROM feed_gaps ORDER BY kafka_offset",
            [HOUR],
        ).fetchall()
        rejected = connection.execute("SELECT reason FROM rejected_ticks ORDER BY kafka_offset").fetchall()
        books = connection.execute("SELECT metrics, rejected, gaps FROM consumer_offsets").fetchall()
    ten_minutes = timedelta(minutes=10)
    assert stored == [
        ("start", None, None, 9, 0, True),
        ("missed", ten_minutes, 12, 14, 3, None),
        ("silence", ten_minutes, None, None, 0, None),
        ("start", timedelta(seconds=15), 16, 19, 4, False),
        ("start", timedelta(seconds=20), 21, None, None, True),
        ("missed", ten_minutes, None, None, None, None),
        ("end", None, None, None, 0, None),
    ]
    assert [reason for (reason,) in rejected] == ["bad_gap", "missing_field", "key_mismatch"]
    assert books == [(4, 3, 7)]
    report = json.loads(cli("gaps", "--json").stdout)
    (pair,) = report["pairs"]
    numbers = {key: pair[key] for key in ("ticks", "gaps", "trades_missed", "reconnects", "unknown")}
    assert pair["longest_gap_s"] == 2000.12  # a millisecond is as exact as such a time is
    assert "2000.12" in cli("gaps").stdout.split()
    assert numbers == {"ticks": 4, "gaps": 3, "trades_missed": 7, "reconnects": 2, "unknown": 2}
    assert [(each["kind"], each["proves"]) for each in report["gaps"]] == [
        ("missed", None), ("silence", None), ("start", True), ("start", False), ("start", True),
        ("end", None), ("missed", None),
    ]  # fmt: skip
    assert len(cli("gaps", "--list").stdout.splitlines()) == 8
    assert "no gap records" in cli("gaps", "--pair", "ETH-USD").stdout
    assert json.loads(cli("gaps", "--since", "1m", "--json").stdout) == {
        "pairs": [], "gaps": [], "completeness": [],
    }  # fmt: skip
    assert "not a time" in cli("gaps", "--since", "soon", code=2).stderr
    cli("verify", "--topic")


DAMAGES: list[tuple[str, set[tuple[str, str | None]]]] = [
    (
        "UPDATE feed_gaps SET last_trade_id = 15 WHERE kind = 'missed'",
        {("gap", "trades_missed"), ("differs", "gap")},
    ),
    ("UPDATE feed_gaps SET begins_at = ends_at WHERE kind = 'silence'", {("differs", "gap")}),
    ("UPDATE feed_gaps SET kind = 'down' WHERE kind = 'silence'", {("differs", "gap")}),
    ("UPDATE feed_gaps SET first_trade_id = 17 WHERE first_trade_id = 16", {("gap", "start")}),
    ("UPDATE feed_gaps SET trades_missed = 5 WHERE trades_missed = 4", {("gap", "start")}),
    ("UPDATE feed_gaps SET begins_at = now() WHERE trades_missed = 4", {("gap", "start")}),
    ("UPDATE feed_gaps SET proves = true WHERE NOT proves", {("differs", "gap")}),
    (
        "UPDATE feed_gaps SET trades_missed = 0 WHERE trades_missed IS NULL AND kind = 'missed'",
        {("gap", "trades_missed"), ("differs", "gap")},
    ),
    ("DELETE FROM feed_gaps WHERE kind = 'missed'", {("count", "gaps"), ("missing", None)}),
]


def test_damage_is_found(processed: Settings) -> None:
    with psycopg.connect(processed.postgres()) as connection:
        connection.execute("CREATE TABLE undamaged AS TABLE feed_gaps")
    for damage, expected in DAMAGES:
        with psycopg.connect(processed.postgres()) as connection:
            connection.execute(damage.encode())
        with connect(processed) as connection:
            (report,) = verify(connection, settings=processed)
        assert {(str(each.kind), each.column) for each in report.findings} == expected
        with psycopg.connect(processed.postgres()) as connection:
            connection.execute("DELETE FROM feed_gaps")
            connection.execute("INSERT INTO feed_gaps TABLE undamaged")
