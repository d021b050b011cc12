"""`cryptometrics rejects`: show, export and requeue rejected messages without losing one."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition

from cryptometrics.kafka import client
from cryptometrics.kafka.publisher import publish
from cryptometrics.kafka.topic import create_topic
from cryptometrics.pipeline.options import WorkerOptions
from cryptometrics.pipeline.requeue import requeue
from cryptometrics.pipeline.start_worker import run_worker
from cryptometrics.store import rejects
from cryptometrics.store.connection import connect
from tests.waiting import LIMIT_S, deadline

if TYPE_CHECKING:
    from cryptometrics.config import Settings
    from cryptometrics.kafka.publisher import Message
    from tests.conftest import Cli


ESCAPES = b'{"type": "\x1b]0;owned\x07"}'
BINARY = b"\xff\xfe\x00 binary"
MESSAGES: list[Message] = [(b"BTC-USD", ESCAPES), (b"\xff", BINARY), (None, None), (b"BTC-USD", b"[]")]
REASONS = ["not_json", "not_json", "no_value", "not_object"]


@pytest.fixture
def rejected(settings: Settings) -> list[int]:
    """Return the ids of the four messages above, rejected by group g."""
    create_topic(settings, 1)
    publish(client.make_producer(settings), settings.kafka_topic, [MESSAGES])
    process(settings)
    with connect(settings) as connection:
        rows = connection.execute("SELECT id, reason FROM rejected_ticks ORDER BY kafka_offset").fetchall()
    assert [reason for _, reason in rows] == REASONS
    return [number for number, _ in rows]


def process(settings: Settings, group: str = "g") -> None:
    run_worker(settings, WorkerOptions(group, until_caught_up=True), stop=deadline())


def topic(settings: Settings) -> list[Message]:
    """Return what is on the topic beyond the four."""
    conf = {"group.id": "reader of the test", "auto.offset.reset": "error", "enable.partition.eof": True}
    consumer = Consumer(client.client_conf(settings, **conf))
    consumer.assign([TopicPartition(settings.kafka_topic, 0, len(MESSAGES))])
    found: list[Message] = []
    while True:
        message = consumer.poll(LIMIT_S)
        assert message is not None
        if message.error() is not None:
            consumer.close()
            return found
        found.append((message.key(), message.value()))


def marks(settings: Settings) -> list[tuple[bool, bool]]:
    """Return of each message whether it is on its way, and whether it went back."""
    with connect(settings) as connection:
        return connection.execute(
            "SELECT requeue_started_at IS NOT NULL, requeued_at IS NOT NULL FROM rejected_ticks ORDER BY id"
        ).fetchall()


def test_list(cli: Cli, rejected: list[int]) -> None:
    lines = cli("rejects", "list").stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:4]] == [
        ["not_json", "2"],
        ["no_value", "1"],
        ["not_object", "1"],
    ]
    assert [int(line.split()[0]) for line in lines[6:]] == rejected[::-1]

    answer = json.loads(cli("rejects", "list", "--json", "--reason", "not_json", "--limit", "1").stdout)
    assert [(r["reason"], r["count"], r["requeued"]) for r in answer["reasons"]] == [("not_json", 2, 0)]
    assert [message["id"] for message in answer["newest"]] == [rejected[1]]
    assert cli("rejects", "list", "--group", "other").stdout == "no rejected messages\n"


def test_show_reaches_no_terminal(cli: Cli, rejected: list[int]) -> None:
    text, binary, nothing = (cli("rejects", "show", str(number)).stdout for number in rejected[:3])
    assert r'{"type": "\x1b]0;owned\x07"}' in text
    assert "ff fe 00 20 62 69 6e 61  72 79" in binary
    assert "|... binary|" in binary
    assert "value        (none)" in nothing
    assert "offset       2" in nothing
    assert all(line.isprintable() for line in (text + binary + nothing).splitlines())
    assert "there is no rejected message 999" in cli("rejects", "show", "999", code=2).stderr


def test_export_is_whole(cli: Cli, rejected: list[int]) -> None:
    lines = [json.loads(line) for line in cli("rejects", "export").stdout.splitlines()]
    assert [line["id"] for line in lines] == rejected
    assert [line["offset"] for line in lines] == [0, 1, 2, 3]
    assert lines[0]["value"].encode() == ESCAPES
    assert base64.b64decode(lines[1]["value_base64"]) == BINARY
    assert (lines[2]["key"], lines[2]["value"]) == (None, None)
    (line,) = cli("rejects", "export", "--reason", "not_object").stdout.splitlines()
    assert json.loads(line)["value"] == "[]"
    (line,) = cli("rejects", "export", str(rejected[2])).stdout.splitlines()
    assert json.loads(line)["reason"] == "no_value"


@pytest.mark.slow
def test_export_streams(cli: Cli, settings: Settings) -> None:
    with psycopg.connect(settings.postgres()) as connection:
        connection.execute(
            "INSERT INTO rejected_ticks (consumer_group, topic, kafka_partition, kafka_offset, reason,"
            " detail, value) SELECT 'g', 't', 0, n, 'not_json', '', convert_to(repeat('x', 2000), 'UTF8')"
            " FROM generate_series(1, 100000) AS n"
        )
    process = cli.start("rejects", "export")
    assert process.stdout is not None
    process.stdout.readline()  # it has begun; what follows is 200 MB
    lines, peak = 1, 0
    for _ in process.stdout:
        lines += 1
        if lines % 10_000 == 0 and process.poll() is None:
            peak = max(peak, psutil.Process(process.pid).memory_info().rss)
    assert lines == 100_000
    assert process.wait(LIMIT_S) == 0
    assert 0 < peak < 150e6


def test_requeued_messages_are_on_the_topic_as_they_were(
    cli: Cli, settings: Settings, rejected: list[int]
) -> None:
    assert cli("rejects", "requeue", str(rejected[1]), str(rejected[2])).stdout == "requeued 2\n"
    assert topic(settings) == [(b"\xff", BINARY), (None, None)]
    assert marks(settings) == [(False, False), (False, True), (False, True), (False, False)]

    refused = cli("rejects", "requeue", str(rejected[0]), str(rejected[1]), code=2).stderr
    assert refused == f"error: requeued before: {rejected[1]}; --again sends them once more\n"
    assert len(topic(settings)) == 2

    done = cli("rejects", "requeue", "--all")
    assert done.stdout == "requeued 2\n"
    assert "skipped 2 messages requeued before" in done.stderr
    assert cli("rejects", "requeue", "--reason", "no_value", "--again").stdout == "requeued 1\n"
    assert topic(settings)[2:] == [MESSAGES[0], MESSAGES[3], MESSAGES[2]]

    # They are rejected again, each with an outcome of its own.
    process(settings)
    assert "verified: 9 offsets" in cli("verify", "--topic").stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["999"], "there is no rejected message 999"),
        (["0"], "0 is not in the range"),
        (["1", "--all"], "IDs cannot be combined"),
        (["--group", "g"], "--group needs --reason or --all"),
        (["--reason", "ugly"], "'ugly' is not one of"),
    ],
)
def test_mistakes_are_one_line(cli: Cli, options: list[str], message: str) -> None:
    done = cli("rejects", "requeue", *options, code=2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_same_message_of_two_groups_goes_back_once(
    cli: Cli, settings: Settings, rejected: list[int]
) -> None:
    process(settings, "h")
    assert "choose one with --group, of g, h" in cli("rejects", "requeue", "--all", code=2).stderr
    assert topic(settings) == []
    assert cli("rejects", "requeue", "--all", "--group", "h").stdout == "requeued 4\n"
    assert len(topic(settings)) == 4


def begin(connection: psycopg.Connection, ids: list[int]) -> list[rejects.RejectedMessage]:
    return rejects.begin(
        connection, rejects.RejectFilter(ids=ids), after=0, last=max(ids), again=False, limit=len(ids)
    )


@pytest.mark.parametrize("published", [False, True])
def test_what_a_crash_left_on_its_way_is_finished(
    cli: Cli, settings: Settings, rejected: list[int], published: bool
) -> None:
    """The steps by hand, without the last one: before or after the message is on the topic."""
    with connect(settings) as connection:
        (left,) = begin(connection, rejected[:1])
    if published:
        publish(client.make_producer(settings), settings.kafka_topic, [[(left.key, left.value)]])
    assert marks(settings)[0] == (True, False)

    done = cli("rejects", "requeue")
    assert done.stdout.startswith("finished an earlier call: 1 requeued ")
    assert marks(settings)[0] == (False, True)
    assert topic(settings) == [MESSAGES[0]] * (2 if published else 1)
    assert "no earlier call was unfinished" in cli("rejects", "requeue").stdout

    process(settings)
    assert f"verified: {6 if published else 5} offsets" in cli("verify", "--topic").stdout


KILLED = """
import os, signal, sys
from cryptometrics import config
from cryptometrics.kafka import client
from cryptometrics.pipeline import requeue
from cryptometrics.store import rejects
from cryptometrics.store.connection import connect

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

rejects.finish = die  # all is acknowledged, nothing is marked as arrived
settings = config.load()
requeue.requeue(connect(settings), client.make_producer(settings), rejects.RejectFilter())
"""


def test_kill_9_between_the_acknowledgement_and_the_mark(
    cli: Cli, settings: Settings, rejected: list[int], tmp_path: Any
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED], cwd=tmp_path, env=cli.environment, timeout=LIMIT_S, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert len(topic(settings)) == 4
    assert marks(settings) == [(True, False)] * 4
    assert "an earlier call: 4 " in cli("rejects", "requeue", "--all").stdout
    assert len(topic(settings)) == 8
    assert marks(settings) == [(False, True)] * 4


def test_one_call_at_a_time(cli: Cli, settings: Settings, rejected: list[int]) -> None:
    with connect(settings) as connection:
        assert rejects.lock(connection)
        assert "is at work" in cli("rejects", "requeue", "--all", code=2).stderr
    assert cli("rejects", "requeue", "--all").stdout == "requeued 4\n"


def test_without_kafka_the_marks_stay(settings: Settings, rejected: list[int]) -> None:
    away = replace(settings, kafka_bootstrap_servers="127.0.0.1:1")
    with connect(settings) as connection:
        result = requeue(connection, client.make_producer(away), rejects.RejectFilter(), patience=1)
        assert (result.sent, result.undecided) == (0, 4)
    assert marks(settings) == [(True, False)] * 4
    with connect(settings) as connection:
        assert requeue(connection, client.make_producer(settings), None).finished == 4
    assert len(topic(settings)) == 4


def test_what_kafka_refuses_does_not_hold_up_the_rest(
    settings: Settings, rejected: list[int], cli: Cli
) -> None:
    with connect(settings) as connection:
        connection.execute("UPDATE rejected_ticks SET value = %s WHERE id = %s", [b"x" * 2**21, rejected[0]])
    done = cli("rejects", "requeue", "--all", code=1)
    assert done.stdout == "requeued 3\n"
    assert f"Kafka refused 1 of the messages, such as number {rejected[0]}:" in done.stderr
    assert marks(settings) == [(False, False)] + [(False, True)] * 3


def test_more_than_the_client_holds_goes_back_all_the_same(
    settings: Settings, rejected: list[int], cli: Cli
) -> None:
    """What waits in the client for Kafka is bounded, to less than these are together."""
    with connect(settings) as connection:
        connection.execute(
            "INSERT INTO rejected_ticks "
            "(consumer_group, topic, kafka_partition, kafka_offset, reason, detail, value) "
            "SELECT 'g', %s, 0, 100 + n, 'too_large', '', repeat(md5(n::text), 29000)::bytea "
            "FROM generate_series(1, 90) AS n",
            [settings.kafka_topic],
        )
    assert cli("rejects", "requeue", "--reason", "too_large").stdout == "requeued 90\n"
    assert len(topic(settings)) == 90
