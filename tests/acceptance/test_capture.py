"""Real market data: ticker frames as Coinbase sent them, put on the topic byte for byte."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from cryptometrics import broker

if TYPE_CHECKING:
    from cryptometrics.config import Settings
    from tests.conftest import Cli

CAPTURES = sorted(Path(__file__).parents[3].joinpath("shared", "captures").glob("*.jsonl"))
PREFIX = '"frame":'


@pytest.mark.skipif(not CAPTURES, reason="no ../shared/captures/*.jsonl beside the repository")
@pytest.mark.slow
def test_a_real_capture_equals_a_recomputation(cli: Cli, settings: Settings) -> None:
    frames: list[str] = []
    for capture in CAPTURES:
        for line in capture.read_text(encoding="utf-8").splitlines():
            frame = line[line.index(PREFIX) + len(PREFIX) : -1]
            if json.loads(frame)["type"] == "ticker":
                frames.append(frame)
    cli("init-db", "--partitions", "4")
    producer = broker.make_producer(settings)
    expected: dict[str, list[tuple[Any, ...]]] = {}
    seen: set[tuple[str, int, str]] = set()
    for frame in frames:
        fields = json.loads(frame)
        pair = fields["product_id"]
        producer.produce(settings.kafka_topic, frame.encode(), pair.encode())
        if "time" not in fields or (key := (pair, fields["trade_id"], fields["time"])) in seen:
            continue
        seen.add(key)
        bid, ask = Decimal(fields["best_bid"]), Decimal(fields["best_ask"])
        ticks = expected.setdefault(pair, [])
        ticks.append(
            (
                fields["trade_id"], datetime.fromisoformat(fields["time"]),
                bid, ask, (bid + ask) / 2, ask - bid,
                max([bid, *(t[2] for t in ticks)]), min([ask, *(t[3] for t in ticks)]),
                max([ask - bid, *(t[5] for t in ticks)]),
            )
        )  # fmt: skip
    assert producer.flush(30) == 0
    cli("process", "--group", "g1", "--until-caught-up")
    with psycopg.connect(settings.postgres()) as connection:
        rows = connection.execute(
            "SELECT pair, trade_id, timestamp, bid, ask, mid_price, spread, highest_bid, lowest_ask, "
            "max_spread FROM crypto_metrics ORDER BY kafka_partition, kafka_offset"
        ).fetchall()
        extremes = connection.execute(
            "SELECT pair, highest_bid, lowest_ask, max_spread, ticks FROM session_extremes"
        ).fetchall()
    assert len(rows) == len(seen) > 0
    stored: dict[str, list[tuple[Any, ...]]] = {}
    for pair, *values in rows:
        stored.setdefault(pair, []).append(tuple(values))
    assert stored == expected
    assert {pair: tuple(rest) for pair, *rest in extremes} == {
        pair: (*ticks[-1][6:9], len(ticks)) for pair, ticks in expected.items()
    }
    cli("plot", "--pair", "SKL-USD", "--out", "skl.png")
    assert (cli.cwd / "skl.png").stat().st_size > 10_000
