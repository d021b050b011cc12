"""A publisher that dies in a Kafka transaction: whoever is held back by it says so, and what to do."""

from __future__ import annotations

import json
import signal
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from cryptometrics.kafka import client, open_transactions
from cryptometrics.kafka.open_transactions import EndsProbe
from tests.database import rows
from tests.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    import subprocess

    from cryptometrics.config import Settings
    from cryptometrics.kafka.open_transactions import OpenTransaction
    from tests.conftest import Cli

PAIR = "BTC-USD"


def publisher(settings: Settings, name: str = "publisher") -> Producer:
    """Return a transactional producer, which aborts what an earlier one of its name has left open."""
    producer = Producer(
        client.client_conf(settings, **{"transactional.id": f"{settings.kafka_topic} {name}"})
    )
    producer.init_transactions(LIMIT_S)
    return producer


def send(producer: Producer, settings: Settings, *trades: int) -> None:
    for trade in trades:
        tick = {"type": "ticker", "product_id": PAIR, "best_bid": "1", "best_ask": "2", "trade_id": trade}
        tick |= {"time": f"2026-01-31T12:00:00.{trade:06}Z", "price": "1"}
        producer.produce(settings.kafka_topic, json.dumps(tick).encode(), PAIR.encode(), partition=0)
    assert producer.flush(LIMIT_S) == 0


def look(probe: EndsProbe, settings: Settings) -> OpenTransaction | None:
    """Return the open transaction of partition 0 as Kafka reports it now."""
    assert probe.ask([(settings.kafka_topic, 0)])
    assert probe.listen(LIMIT_S)
    return probe.open[settings.kafka_topic, 0]


class Output:
    """The log of a command, read while it runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.events: list[dict[str, Any]] = []
        self._process = process
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        self.events.extend(json.loads(line) for line in self._process.stderr if line.startswith("{"))

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == name]

    def wait_for(self, name: str) -> dict[str, Any]:
        return wait_until(lambda: self.named(name), name, running=self._process)[0]


def get(address: str, path: str) -> str:
    try:
        answer = urllib.request.urlopen(f"http://{address}{path}", timeout=5)
    except urllib.error.HTTPError as error:
        answer = error
    return str(answer.read(), "utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_worker_reports_an_open_transaction_once_and_its_end(
    settings: Settings, cli: Cli, workers: str
) -> None:
    cli("init-db", "--partitions", "2")
    dead, alive = publisher(settings), Producer(client.client_conf(settings))
    send(alive, settings, 1)
    dead.begin_transaction()
    send(dead, settings, 2, 3)
    send(alive, settings, 4)  # committed, but behind the transaction
    process = cli.start("process", "--group", "g", "--workers", workers, "--metrics-port", "0")
    log = Output(process)
    address = log.wait_for("metrics_served")["address"]

    event = log.wait_for("open_transaction")
    assert (event["level"], event["group"], event["partition"]) == ("warning", "g", 0)
    assert (event["offset"], event["messages"]) == (1, 3)
    assert "transaction.timeout.ms" in event["hint"]
    assert f"abort --topic {settings.kafka_topic} --partition 0 --start-offset 1" in event["hint"]
    assert rows(settings, "SELECT trade_id FROM crypto_metrics") == [(1,)]

    def health() -> Any:
        return json.loads(get(address, "/healthz"))

    wait_until(lambda: "hint" in health(), "the health names it")
    found = health()
    assert found["open_transaction_seconds"]["0"] >= open_transactions.REPORT_AFTER_S
    assert found["lag"] == 3
    assert 'cryptometrics_open_transaction_seconds{group="g",partition="1"} 0.0' in get(address, "/metrics")

    watched = json.loads(cli("watch", "--json").stdout)["partitions"]
    assert [part["open_transaction"] is not None for part in watched] == [True, False]
    assert (watched[0]["lag"], watched[0]["open_transaction"]["offset"]) == (3, 1)
    assert "held back by open transactions 3 messages since" in cli("watch", "--once").stdout

    publisher(settings)  # aborts it
    ended = log.wait_for("open_transaction_ended")
    assert (ended["level"], ended["partition"]) == ("info", 0)
    assert ended["seconds"] >= open_transactions.REPORT_AFTER_S
    wait_until(
        lambda: rows(settings, "SELECT trade_id FROM crypto_metrics ORDER BY 1") == [(1,), (4,)], "the rest"
    )
    wait_until(lambda: "hint" not in health(), "the health is as before")
    assert len(log.named("open_transaction")) == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_S) == 0


def test_a_worker_that_is_to_catch_up_says_what_it_cannot_read(settings: Settings, cli: Cli) -> None:
    cli("init-db", "--partitions", "1")
    dead = publisher(settings)
    dead.begin_transaction()
    send(dead, settings, 1, 2)
    done = cli("process", "--group", "g", "--until-caught-up")
    [event] = [json.loads(line) for line in done.stderr.splitlines() if '"open_transaction"' in line]
    assert (event["offset"], event["messages"]) == (0, 2)
    dead.abort_transaction(LIMIT_S)
    probe = EndsProbe(client.make_admin(settings), LIMIT_S)
    wait_until(lambda: look(probe, settings) is None, "no transaction")
    assert "open_transaction" not in cli("process", "--group", "g", "--until-caught-up").stderr


@pytest.mark.slow
def test_aggregate_reports_what_its_readers_cannot_read(settings: Settings, cli: Cli) -> None:
    cli("init-db", "--partitions", "2")
    dead, alive = publisher(settings), Producer(client.client_conf(settings))
    send(alive, settings, 1)
    dead.begin_transaction()
    send(dead, settings, 2)
    command = ("aggregate", "--window", "5m", "--group", "g")

    bounded = cli(*command)
    [event] = [json.loads(line) for line in bounded.stderr.splitlines() if '"open_transaction"' in line]
    assert (event["group"], event["offset"], event["messages"]) == ("g", 1, 1)
    assert "1 ticks" in bounded.stdout

    # A streaming run of the same pipeline in one process: only the job server differs from Flink's.
    runner = ("--runner", "PortableRunner", "--job_endpoint", "embed", "--environment_type", "LOOPBACK")
    process = cli.start(*command, "--follow", "--", *runner)
    log = Output(process)
    event = log.wait_for("open_transaction")
    assert (event["level"], event["group"], event["partition"]) == ("warning", "g", 0)
    assert f"abort --topic {settings.kafka_topic} --partition 0 --start-offset 1" in event["hint"]
    publisher(settings)  # aborts it
    assert log.wait_for("open_transaction_ended")["seconds"] >= open_transactions.REPORT_AFTER_S
    assert len(log.named("open_transaction")) == 1
    process.kill()  # this job server cannot cancel a job
    process.wait(LIMIT_S)


def test_records_that_arrive_between_two_answers_are_no_transaction(settings: Settings, cli: Cli) -> None:
    cli("init-db", "--partitions", "1")
    probe = EndsProbe(client.make_admin(settings), LIMIT_S)
    place = (settings.kafka_topic, 0)
    alive = Producer(client.client_conf(settings))
    for number in range(20):
        assert probe.ask([place])
        send(alive, settings, number)
        wait_until(lambda: probe.listen() or probe.ends, "the end")
        probe.listen(LIMIT_S)
        assert probe.open == {place: None}


def test_a_transaction_is_as_old_as_its_first_sight(settings: Settings, cli: Cli) -> None:
    cli("init-db", "--partitions", "1")
    probe = EndsProbe(client.make_admin(settings), LIMIT_S)
    first, second = publisher(settings, "first"), publisher(settings, "second")

    for producer, trade in ((first, 1), (second, 2)):
        producer.begin_transaction()
        send(producer, settings, trade)
    seen = look(probe, settings)
    assert seen is not None
    assert (seen.offset, seen.messages) == (0, 2)
    assert look(probe, settings) == seen
    first.commit_transaction(LIMIT_S)  # Kafka writes the marker, which ends it, after its answer
    later = wait_until(lambda: moved if (moved := look(probe, settings)) != seen else None, "the next one")
    assert later is not None
    assert later.offset == 1
    assert later.since > seen.since
    second.commit_transaction(LIMIT_S)
    wait_until(lambda: look(probe, settings) is None, "no transaction")
