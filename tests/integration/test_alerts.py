"""Alerts on real services: stored in the transaction of their ticks, sent once from the outbox."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from confluent_kafka import Producer

from cryptometrics.alerts.rules import Rule, parse
from cryptometrics.config import Secret
from cryptometrics.kafka import client
from cryptometrics.kafka.topic import create_topic
from cryptometrics.market.gap_records import Gap, GapKind, encode
from cryptometrics.notify import outbox
from cryptometrics.notify import webhook as webhook_module
from cryptometrics.notify.sender import Sender
from cryptometrics.notify.webhook import Webhook
from cryptometrics.pipeline.options import WorkerOptions
from cryptometrics.pipeline.start_worker import run_worker
from tests.database import rows
from tests.fakes.receiver import Act, Receiver
from tests.waiting import LIMIT_S, deadline, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cryptometrics.config import Settings
    from tests.conftest import Cli

DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
WIDE = """
[[rule]]
name = "wide"
kind = "spread_bps"
level = 100
for = "10s"
cooldown = "0s"
"""


class Bench:
    """A topic, a database, and what a test does with them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.group = settings.kafka_topic
        self._producer = Producer(client.client_conf(settings, partitioner="murmur2_random"))

    def send(self, *ticks: bytes | tuple[float, int], pair: str = "BTC-USD") -> None:
        """Put ticks on the topic: seconds of yesterday and the spread in bps, or bytes that are none."""
        for tick in ticks:
            value = tick if isinstance(tick, bytes) else quote(*tick, pair)
            self._producer.produce(self.settings.kafka_topic, value, pair)
        assert self._producer.flush(LIMIT_S) == 0

    def process(self, rules: str | tuple[Rule, ...] = WIDE, batch: int = 1_000, webhook: str = "") -> None:
        """Process all that is there."""
        is_over = deadline()
        known = parse(rules) if isinstance(rules, str) else rules
        settings = self.settings
        if webhook:
            settings = replace(settings, webhook_url=Secret(webhook))
        run_worker(
            settings,
            WorkerOptions(self.group, batch=batch, until_caught_up=True, rules=known),
            stop=is_over,
        )
        assert not is_over(), "did not catch up"

    def sender(self, rules: str, receiver: Receiver) -> Sender:
        webhook = Webhook(receiver.url, "generic")
        return Sender(self.settings, self.group, parse(rules), webhook)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return rows(self.settings, query, *values)

    def alerts(self) -> list[tuple[Any, ...]]:
        """Return rule, pair, the seconds at which each was begun, fired and resolved, and its value."""
        return self.rows(
            "SELECT rule, pair, extract(epoch FROM started_at - %s)::int, "
            "extract(epoch FROM fired_at - %s)::int, extract(epoch FROM resolved_at - %s)::int, "
            "value::float8 FROM alerts ORDER BY id",
            *[DAY] * 3,
        )


def quote(second: float, bps: int, pair: str) -> bytes:
    at = (DAY + timedelta(seconds=second)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    half = bps / 2  # of a mid price of 10,000 a basis point is 1
    fields = {"type": "quote", "product_id": pair, "time": at}
    return json.dumps(fields | {"best_bid": f"{10_000 - half}", "best_ask": f"{10_000 + half}"}).encode()


@pytest.fixture
def bench(settings: Settings) -> Bench:
    create_topic(settings, 1)
    return Bench(settings)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def test_what_is_pending_and_what_fires_survive_a_restart(bench: Bench) -> None:
    bench.send((0, 10), (1, 101))
    bench.process()
    assert bench.rows("SELECT rule, state FROM alert_states") == [("wide", "pending")]
    bench.send((11, 120))
    bench.process()
    assert bench.alerts() == [("wide", "BTC-USD", 1, 11, None, 120.0)]
    bench.send((12, 130), (13, 10))
    bench.process()
    assert bench.alerts() == [("wide", "BTC-USD", 1, 11, 13, 120.0)]
    assert bench.rows("SELECT count(*) FROM alert_notifications") == [(0,)], "there is no webhook"


@pytest.mark.slow
def test_a_batch_that_is_rolled_back_leaves_no_alert_and_no_trace(bench: Bench) -> None:
    """The tick that would end the silence between two wide ones is refused: so it never was."""
    with psycopg.connect(bench.settings.postgres()) as connection:
        connection.execute("ALTER TABLE crypto_metrics ADD CONSTRAINT never CHECK (spread NOT IN (150, 5))")
    bench.send((0, 10), (1, 120), (5, 5), (10, 110), (11, 110), (12, 10), (20, 150), (31, 150), (32, 10))
    bench.process()
    assert bench.alerts() == [("wide", "BTC-USD", 1, 11, 12, 110.0)]
    assert bench.rows("SELECT count(*) FROM rejected_ticks") == [(3,)]


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1_000, 7])
def test_a_share_of_rejected_ticks_fires_for_the_partition(bench: Bench, batch: int) -> None:
    rules = '[[rule]]\nname = "bad"\nkind = "rejected_pct"\nlevel = 20\nwithin = "5m"\ncooldown = "0s"\n'
    bench.send(*((second, 1) for second in range(40)), *[b"rubbish"] * 10)
    bench.process(rules, batch)
    assert bench.rows("SELECT count(*) FROM alerts") == [(0,)], "a fifth is not above it"
    bench.send(b"rubbish", *((100 + second, 1) for second in range(5)))
    bench.process(rules, batch)
    (row,) = bench.rows(
        "SELECT rule, pair, kafka_offset, round(value, 2)::text, resolved_at - fired_at FROM alerts"
    )
    assert row[:4] == ("bad", "partition 0", 50, "21.57")
    assert row[4] >= timedelta(0), "44 valid ones and 11 are a fifth again"


@pytest.mark.slow
def test_a_receiver_that_is_down_holds_nothing_up_and_gets_all_in_order_later(
    bench: Bench, receiver: Receiver
) -> None:
    rules = WIDE.replace("10s", "0s")
    bench.send(*((second, 120 if second % 2 else 10) for second in range(20)))
    receiver.choose = lambda: "refuse"
    bench.process(rules, webhook=receiver.url)
    assert bench.rows("SELECT count(*), count(resolved_at) FROM alerts") == [(10, 9)]
    assert bench.rows("SELECT count(*), count(delivered_at) FROM alert_notifications") == [(19, 0)]
    assert {post.body["id"] for post in receiver.posts} == {1}, "the first one is sent first"
    assert bench.rows(
        "SELECT attempts > 0, last_error ~ '500' FROM alert_notifications ORDER BY id LIMIT 1"
    ) == [(True, True)]
    receiver.choose = lambda: "accept"
    receiver.posts.clear()
    sender = bench.sender(rules, receiver)
    wait_until(lambda: len(receiver.posts) == 19, "all are sent")
    sender.close()
    kept = bench.rows("SELECT idempotency_key::text FROM alert_notifications ORDER BY id")
    assert [(post.key,) for post in receiver.taken()] == kept
    assert bench.rows("SELECT count(*) FROM alert_notifications WHERE delivered_at IS NULL") == [(0,)]


def test_one_of_two_senders_is_active_and_the_other_takes_over(bench: Bench, receiver: Receiver) -> None:
    rules = '[[rule]]\nname = "stale"\nkind = "stale"\npairs = ["BTC-USD"]\nfor = "1s"\n'
    senders = [bench.sender(rules, receiver) for _ in range(2)]
    wait_until(lambda: len(receiver.posts) == 1, "the silence is reported")
    # Of this database: a sender of the test before may not have hung up yet.
    holder = (
        "SELECT pid FROM pg_locks JOIN pg_database d ON d.oid = database AND datname = current_database() "
        f"WHERE locktype = 'advisory' AND granted AND classid = {outbox.LOCK}"
    )
    (first,) = bench.rows(holder)
    bench.rows("SELECT pg_terminate_backend(%s)", *first)
    wait_until(lambda: bench.rows(holder) not in ([], [first]), "another session has the lock")
    bench.rows(
        "INSERT INTO pair_state (consumer_group, pair, bid, ask, timestamp) "
        "VALUES (%s, 'BTC-USD', 1, 2, now())",
        bench.group,
    )
    wait_until(lambda: len(receiver.posts) >= 2, "its end is reported")
    for sender in senders:
        sender.close()
    assert [post.body["status"] for post in receiver.posts][:2] == ["firing", "resolved"]
    assert bench.rows("SELECT rule, pair, kind FROM alerts WHERE id = 1") == [("stale", "BTC-USD", "stale")]


def test_an_alert_whose_rule_is_gone_ends(bench: Bench, receiver: Receiver) -> None:
    rules = WIDE.replace("10s", "0s")
    bench.send((0, 120))
    bench.send((0, 120), pair="ETH-USD")
    bench.process(rules)
    assert bench.rows("SELECT count(*) FROM alerts WHERE resolved_at IS NULL") == [(2,)]
    sender = bench.sender(rules + 'pairs = ["ETH-*"]\n', receiver)
    wait_until(lambda: len(receiver.posts) == 1, "it is sent")
    sender.close()
    assert (receiver.posts[0].body["pair"], receiver.posts[0].body["status"]) == ("BTC-USD", "resolved")
    assert bench.rows("SELECT pair FROM alerts WHERE resolved_at IS NULL") == [("ETH-USD",)]


@pytest.mark.parametrize("ticks", [1, 40])
def test_a_gap_of_the_feed_fires_in_its_place_among_the_ticks(bench: Bench, ticks: int) -> None:
    """Before it one tick or many, after it the same: measured one by one or in columns."""
    began, ended = (DAY + timedelta(seconds=second) for second in (100, 110))
    _, missed = encode(Gap("BTC-USD", GapKind.DOWN, ended, began, 7, 11))
    _, none = encode(Gap("BTC-USD", GapKind.DOWN, ended, began))
    bench.send(*((second, 1) for second in range(ticks)), none, missed)
    bench.send(*((120 + second, 1) for second in range(ticks)))
    bench.process('[[rule]]\nname = "gap"\nkind = "gap"\nlevel = 4\n')
    assert bench.alerts() == [("gap", "BTC-USD", 110, 110, 120, 5.0)]
    assert bench.rows("SELECT message FROM alerts") == [("BTC-USD (coinbase): the feed missed 5 trades",)]


def test_a_tick_that_comes_after_midnight_from_before_it_is_late(bench: Bench) -> None:
    bench.send((86_398, 10), (86_400, 10), (86_399, 120))
    bench.process(WIDE.replace("10s", "0s"))
    assert bench.alerts() == []


def test_what_was_told_when_the_session_broke_is_told_again_by_another(
    bench: Bench, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session is ended while the receiver takes its time: so it is for a worker that sleeps."""
    monkeypatch.setattr(webhook_module, "TOTAL_LIMIT_S", 3.0)
    rules = '[[rule]]\nname = "stale"\nkind = "stale"\npairs = ["BTC-USD"]\nfor = "1s"\n'
    acts: Iterator[Act] = itertools.chain(["drip"], itertools.repeat("accept"))
    receiver.choose = lambda: next(acts)
    sender = bench.sender(rules, receiver)
    wait_until(lambda: len(receiver.posts) == 1, "it is being sent")
    holder = f"FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = {outbox.LOCK}"
    bench.rows(f"SELECT pg_terminate_backend(pid) {holder}")
    wait_until(lambda: len(receiver.posts) == 2, "it is sent again")
    wait_until(lambda: bench.rows("SELECT attempts FROM alert_notifications") == [(1,)], "that is noted")
    sender.close()
    first, second = receiver.posts
    assert (first.key, first.body) == (second.key, second.body)


# The commands


def test_alerts_are_listed_with_those_that_fire_first(bench: Bench, cli: Cli) -> None:
    assert cli("alerts", "list").stdout == "no alerts\n"
    bench.send((0, 120), (1, 10), (2, 110), (3, 10), (4, 130))
    bench.process(WIDE.replace("10s", "0s"))
    lines = cli("alerts", "list").stdout.splitlines()
    columns = "id status severity rule what fired_at resolved_at delivery acknowledged"
    assert lines[0].split() == columns.split()
    assert [line.split()[1] for line in lines[1:]] == ["firing", "resolved", "resolved"]
    assert "BTC-USD (coinbase): spread 130 bps (9,935 / 10,065), above 100 bps" in lines[1]
    assert lines[1].rstrip().endswith("no channel  –")
    listed = json.loads(cli("alerts", "list", "--json", "--group", bench.group).stdout)
    assert [(a["status"], a["value"], a["level"]) for a in listed] == [
        ("firing", "130", "100"),
        ("resolved", "110", "100"),
        ("resolved", "120", "100"),
    ]
    assert len(json.loads(cli("alerts", "list", "--json", "--since", "1m").stdout)) == 1


def test_rules_are_checked_and_an_example_is_at_hand(
    cli_with: Callable[[dict[str, str]], Cli], tmp_path: Path
) -> None:
    cli = cli_with({})
    missing = cli("alerts", "check", code=2).stderr
    assert "`cryptometrics alerts example` prints one" in missing
    (tmp_path / "alerts.toml").write_text(cli("alerts", "example").stdout)
    assert (
        "wide-spread: warning when spread_bps above 25 for 10s, resolves at 15"
        in cli("alerts", "check").stdout
    )
    marked = tmp_path / "marked.toml"
    marked.write_text((tmp_path / "alerts.toml").read_text(), encoding="utf-8-sig")
    assert cli("alerts", "check", marked).stdout.endswith("all valid\n")
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[[rule]]\nname = "a"\nkind = "spread_bps"\nlevel = "much"\nfor = 3\n')
    assert cli("alerts", "check", wrong, code=2).stderr.splitlines() == [
        f"error: {wrong}, line 4: level: must be a number, written without quotes: 25 or 0.5",
        f'error: {wrong}, line 5: for: must be a duration in quotes: "90s", "15m", "2h" or "1h30m"',
    ]
    for options, env in ((["--alerts", str(wrong)], {}), ([], {"CRYPTOMETRICS_ALERTS": str(wrong)})):
        error = cli("process", *options, code=2, env=env).stderr
        assert error == (
            f"error: {wrong}, line 4: level: must be a number, written without quotes: 25 or 0.5 "
            "(and 1 more: see `cryptometrics alerts check`)\n"
        )
    assert "cannot read the alert rules" in cli("alerts", "check", tmp_path / "none.toml", code=2).stderr
    error = cli("process", code=2, env={"CRYPTOMETRICS_WEBHOOK_URL": "gopher://x"}).stderr
    assert "CRYPTOMETRICS_WEBHOOK_URL is not valid" in error


def test_the_past_can_be_processed_without_calling_anybody(
    settings: Settings, cli: Cli, receiver: Receiver, tmp_path: Path
) -> None:
    create_topic(settings, 1)
    bench = Bench(settings)
    bench.send((0, 120), (1, 10), (2, 120))
    (tmp_path / "alerts.toml").write_text(WIDE.replace("10s", "0s"))
    again = ["process", "--until-caught-up", "--no-alerts", "--group", bench.group]
    cli(*again, env={"CRYPTOMETRICS_WEBHOOK_URL": receiver.url})
    assert bench.rows("SELECT count(*) FROM crypto_metrics") == [(3,)]
    assert bench.rows("SELECT count(*) FROM alerts") == [(0,)]
    assert receiver.taken() == []
    assert "leave one out" in cli(*again, "--alerts", "alerts.toml", code=2).stderr


@pytest.mark.slow
def test_several_workers_go_by_the_rules_and_one_of_them_tells(
    settings: Settings, cli: Cli, receiver: Receiver, tmp_path: Path
) -> None:
    create_topic(settings, 4)
    bench = Bench(settings)
    pairs = [f"P{number}-USD" for number in range(12)]
    for pair in pairs:
        bench.send((0, 120), (1, 10), (2, 120), pair=pair)
    (tmp_path / "alerts.toml").write_text(WIDE.replace("10s", "0s"))
    env = {"CRYPTOMETRICS_WEBHOOK_URL": receiver.url}
    cli("process", "--workers", "2", "--until-caught-up", "--group", bench.group, env=env)
    cli("process", "--until-caught-up", "--group", bench.group, env=env)  # sends what was not sent yet
    assert bench.rows("SELECT count(*), count(resolved_at) FROM alerts") == [(24, 12)]
    for pair in pairs:
        assert [post.body["status"] for post in receiver.taken() if post.body["pair"] == pair] == [
            "firing",
            "resolved",
            "firing",
        ]
