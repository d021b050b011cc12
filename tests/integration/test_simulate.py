"""Simulated ticks on a real topic: each exactly once, under the key of its pair."""

from __future__ import annotations

import itertools
import re
import signal
import socket
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, TopicPartition

from cryptometrics.feeds.simulator import DEFAULT_PAIRS, Simulation
from cryptometrics.kafka import client
from cryptometrics.kafka.publisher import Published, publish
from cryptometrics.kafka.topic import create_topic, describe_topic
from cryptometrics.market.tick_decoder import Reason, RejectedError, decode

if TYPE_CHECKING:
    from cryptometrics.config import Settings
    from cryptometrics.kafka.publisher import Message
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
        away = settings.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{taken.getsockname()[1]}"})
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

    result = publish(client.make_producer(settings), topic, simulation(20_000).blocks(), progress=watch)
    assert (result.sent, result.acknowledged) == (20_000, 20_000)
    assert max(states) <= 100
