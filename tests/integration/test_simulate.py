"""Simulated ticks on a real topic: each exactly once, under the key of its pair."""

from __future__ import annotations

import itertools
import re
import signal
import socket
import time
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, TopicPartition

from cryptometrics.feeds.simulator import DEFAULT_PAIRS, Simulation
from cryptometrics.feeds.simulator.scenarios import SCENARIOS
from cryptometrics.kafka import client
from cryptometrics.kafka.publisher import Published, publish
from cryptometrics.kafka.topic import create_topic, describe_topic
from cryptometrics.market.tick_decoder import Reason, RejectedError, decode

if TYPE_CHECKING:
    from cryptometrics.config import Settings
    from cryptometrics.kafka.publisher import Message
    from cryptometrics.market.ticks import Tick
    from tests.conftest import Cli

START = "2026-07-01T00:00:00Z"
LIMIT_S = 30.0
"""Seconds until a wait for something that has to come is given up."""


@pytest.fixture
def topic(settings: Settings) -> str:
    create_topic(settings, 3)
    return settings.kafka_topic


def stored(settings: Settings) -> list[list[Message]]:
    """Return what is in each partition of the topic, in order."""
    consumer = Consumer(
        client.client_conf(
            settings,
            **{"group.id": "test", "auto.offset.reset": "error", "enable.partition.eof": False},
        )
    )
    found: list[list[Message]] = []
    for number in range(describe_topic(settings).partitions):
        partition = TopicPartition(settings.kafka_topic, number, 0)
        _, end = consumer.get_watermark_offsets(partition, timeout=LIMIT_S)
        consumer.assign([partition])
        records: list[Message] = []
        while len(records) < end:
            batch = consumer.consume(min(10_000, end - len(records)), timeout=LIMIT_S)
            assert batch, f"{end - len(records)} records did not come"
            assert not any(record.error() for record in batch)
            records += [(record.key(), record.value()) for record in batch]
        found.append(records)
    consumer.close()
    return found


def simulation(count: int) -> Simulation:
    return Simulation(DEFAULT_PAIRS, datetime.fromisoformat(START), Fraction(10_000), seed=7, count=count)


def test_all_that_is_sent_can_be_read_under_its_pairs_key_in_order(
    cli: Cli, settings: Settings, topic: str
) -> None:
    done = cli("simulate", "--rate", "0", "--count", "5000", "--seed", "7", "--start", START)
    assert done.stdout == "sent 5000, acknowledged 5000\n"
    partitions = stored(settings)
    assert sum(map(len, partitions)) == 5_000
    of_pair: defaultdict[bytes, list[Message]] = defaultdict(list)
    homes: defaultdict[bytes, set[int]] = defaultdict(set)
    for number, records in enumerate(partitions):
        for key, value in records:
            assert decode(key, value, datetime.now(UTC) + timedelta(days=3650)).pair.encode() == key
            assert key is not None
            of_pair[key].append((key, value))
            homes[key].add(number)
    assert set(of_pair) == {pair.encode() for pair in DEFAULT_PAIRS}
    assert {len(home) for home in homes.values()} == {1}
    # The same as the generator makes by itself, and each pair's in that order.
    for key, messages in of_pair.items():
        expected = [message for block in simulation(5_000).blocks() for message in block if message[0] == key]
        assert messages == expected


def test_seed_and_start_repeat_the_stream_byte_for_byte(cli: Cli, settings: Settings, topic: str) -> None:
    for _ in range(2):
        cli("simulate", "--rate", "0", "--count", "500", "--seed", "11", "--start", START)
    for records in stored(settings):
        assert records[: len(records) // 2] == records[len(records) // 2 :]


def test_bad_ticks_of_every_reason_reach_the_topic(cli: Cli, settings: Settings, topic: str) -> None:
    done = cli("simulate", "--rate", "0", "--count", "1000", "--seed", "3", "--bad", "0.2")
    assert done.stdout == "sent 1000, acknowledged 1000\n"
    outcomes: Counter[str] = Counter()
    for key, value in (message for records in stored(settings) for message in records):
        try:
            decode(key, value, datetime.now(UTC))
            outcomes["tick"] += 1
        except RejectedError as error:
            outcomes[error.reason] += 1
    assert set(outcomes) == {"tick", *Reason} - {Reason.REFUSED, Reason.BAD_GAP}
    assert outcomes.total() == 1_000


def test_a_stream_as_fast_as_it_goes_ends_now(cli: Cli, settings: Settings, topic: str) -> None:
    before = datetime.now(UTC)
    cli("simulate", "--rate", "0", "--count", "301", "--step", "1m")
    after = datetime.now(UTC)
    times = sorted(decode(key, value, after).time for records in stored(settings) for key, value in records)
    assert before <= times[-1] <= after
    assert times[-1] - times[0] == timedelta(hours=5)


def test_a_rate_gives_event_times_and_a_duration_their_number(
    cli: Cli, settings: Settings, topic: str
) -> None:
    done = cli("simulate", "--rate", "50", "--duration", "1s", "--pair", "ETH-BTC", "--start", START)
    assert done.stdout == "sent 50, acknowledged 50\n"
    [records] = filter(None, stored(settings))
    times = [decode(key, value, datetime.now(UTC) + timedelta(days=3650)).time for key, value in records]
    start = datetime.fromisoformat(START)
    assert times == [start + number * timedelta(milliseconds=20) for number in range(50)]


def quotes(settings: Settings, now: datetime) -> dict[str, list[Tick]]:
    """Return the ticks of each pair on the topic, in order."""
    found: defaultdict[str, list[Tick]] = defaultdict(list)
    for key, value in (message for records in stored(settings) for message in records):
        tick = decode(key, value, now)
        found[tick.pair].append(tick)
    return found


def test_a_restart_goes_on_from_the_last_quotes(cli: Cli, settings: Settings, topic: str) -> None:
    first = cli("simulate", "--rate", "0", "--count", "2000", "--step", "1m")
    assert "simulated quotes" not in first.stderr
    second = cli("simulate", "--rate", "0", "--count", "2000")
    assert re.search(r"going on after the topic's last simulated quotes, from 2\S+Z\n", second.stderr)
    third = cli("simulate", "--rate", "1000", "--count", "100")
    assert "going on after" in third.stderr
    found = quotes(settings, datetime.now(UTC))
    assert found.keys() == set(DEFAULT_PAIRS)
    for ticks in found.values():
        assert [tick.time for tick in ticks] == sorted({tick.time for tick in ticks})
        ids = [tick.trade_id or 0 for tick in ticks]
        assert ids == sorted(set(ids))
        for before, after in itertools.pairwise(ticks):
            near = Decimal("0.002") if after.time - before.time < timedelta(minutes=1) else Decimal("0.1")
            assert abs((after.bid + after.ask) / (before.bid + before.ask) - 1) < near


def test_a_seed_or_a_start_begins_anew(cli: Cli, settings: Settings, topic: str) -> None:
    for arguments in (["--seed", "1"], ["--start", START]):
        for _ in range(2):
            cli("simulate", "--rate", "0", "--count", "200", "--step", "1s", *arguments)
    for ticks in quotes(settings, datetime.now(UTC) + timedelta(days=3650)).values():
        firsts = [ticks[0]] + [
            after for before, after in itertools.pairwise(ticks) if after.time < before.time
        ]
        assert len({(tick.bid + tick.ask) // 2 for tick in firsts}) < len(ticks)
        assert all(abs(tick.bid / ticks[0].bid - 1) < Decimal("0.003") for tick in firsts)


def test_it_does_not_go_on_beyond_tomorrow(cli: Cli, settings: Settings, topic: str) -> None:
    cli("simulate", "--rate", "0", "--count", "10")
    done = cli("simulate", "--rate", "0", "--count", "3000", "--step", "1m", code=2)
    assert re.fullmatch(r"error: [^\n]* or --start for a new beginning [^\n]*\n", done.stderr)
    assert sum(map(len, stored(settings))) == 10


def test_scenarios_are_listed_without_any_service(cli: Cli) -> None:
    lines = cli(
        "simulate", "--list-scenarios", env={"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    ).stdout.splitlines()
    assert lines[0].split() == ["scenario", "depth", "duration", "recovery"]
    assert [line.split()[0] for line in lines[1:]] == list(SCENARIOS)


def test_an_outage_takes_its_time_and_sends_gap_records(cli: Cli, settings: Settings, topic: str) -> None:
    arguments = ["--seed", "3", "--start", START, "--pair", "BTC-USD", "--scenario", "outage@1s"]
    done = cli("simulate", "--rate", "0", "--step", "1s", "--count", "200", *arguments)
    sent = 200 - 120  # the last of the two minutes' slots has the gap record
    assert done.stdout == f"sent {sent}, acknowledged {sent}\n"
    values = [value or b"" for records in stored(settings) for _, value in records]
    assert [number for number, value in enumerate(values) if b'"kind":"down"' in value] == [1]
    late = cli("simulate", "--rate", "0", "--step", "1s", "--count", "60", *arguments[:-1], "outage@2m")
    assert "outage would begin after the last tick" in late.stderr


def test_what_a_scenario_keeps_back_takes_its_time(cli: Cli, settings: Settings, topic: str) -> None:
    begun = time.monotonic()
    done = cli("simulate", "--rate", "20", "--count", "40", "--pair", "BTC-USD", "--scenario", "silence@0s")
    assert done.stdout == "sent 0, acknowledged 0\n"
    assert time.monotonic() - begun > 39 / 20


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_all_accounted_for(
    cli: Cli, settings: Settings, topic: str, number: signal.Signals
) -> None:
    process = cli.start("simulate", "--rate", "500")
    consumer = Consumer(client.client_conf(settings, **{"group.id": "test", "auto.offset.reset": "earliest"}))
    consumer.subscribe([topic])
    assert consumer.consume(1, timeout=LIMIT_S), "nothing came"
    consumer.close()
    process.send_signal(number)
    output, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors
    found = re.fullmatch(r"sent (\d+), acknowledged (\d+)\n", output)
    assert found
    assert found[1] == found[2]
    assert sum(map(len, stored(settings))) == int(found[1])


def test_a_missing_topic_is_one_line(cli: Cli, settings: Settings) -> None:
    done = cli("simulate", "--count", "1", code=2)
    assert done.stdout == ""
    assert re.fullmatch(r"error: [^\n]*cryptometrics init-db[^\n]*\n", done.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--pair", "bitcoin"),
        ("--rate", "-1"),
        ("--rate", "nan"),
        ("--count", "0"),
        ("--duration", "0s"),
        ("--duration", "soon"),
        ("--step", "10years"),
        ("--start", "1969-12-31T23:59:59Z"),
        ("--start", "someday"),
        ("--bad", "1.5"),
        ("--rate", "0", "--count", "1000000000000"),
        ("--scenario", "flash-crash"),
        ("--scenario", "flash-crash@soon"),
        ("--scenario", "earthquake@5m"),
    ],
    ids=" ".join,
)
def test_a_wrong_option_is_one_line(cli: Cli, topic: str, arguments: tuple[str, ...]) -> None:
    done = cli("simulate", *arguments, code=2)
    assert re.fullmatch(r"error: [^\n]+\n", done.stderr)


def test_a_message_that_is_refused_ends_it_and_is_counted(settings: Settings, topic: str) -> None:
    small: Message = (b"ETH-USD", b"x")
    too_large: Message = (b"ETH-USD", bytes(1_100_000))
    blocks = itertools.chain([[small], [too_large]], itertools.repeat([small]))
    result = publish(client.make_producer(settings), topic, blocks)
    assert (result.sent, result.acknowledged, result.failed) == (2, 1, 1)
    assert "too large" in str(result.failure)
    assert sum(map(len, stored(settings))) == 1


def test_a_broker_that_never_answers_ends_it_when_delivery_times_out(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_CONF_DELIVERY_TIMEOUT_MS", "1000")
    silence: list[float] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        away = replace(settings, kafka_bootstrap_servers=f"127.0.0.1:{taken.getsockname()[1]}")
        result = publish(
            client.make_producer(away),
            "anything",
            simulation(100).blocks(),
            progress=lambda state: silence.append(state.silence),
        )
    assert (result.sent, result.acknowledged, result.failed) == (100, 0, 100)
    assert "timed out" in str(result.failure)
    assert max(silence) > 0.5


def test_the_producers_queue_bounds_what_waits(
    settings: Settings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_CONF_QUEUE_BUFFERING_MAX_MESSAGES", "100")
    states: list[int] = []

    def watch(state: Published) -> None:
        states.append(state.waiting)

    limited = replace(settings)  # settings read the environment once
    result = publish(client.make_producer(limited), topic, simulation(20_000).blocks(), progress=watch)
    assert (result.sent, result.acknowledged) == (20_000, 20_000)
    assert max(states) <= 100
