"""`up`, `down` and `status`: data survives stops and kills, and two data folders run side by side."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # documented there

from cryptometrics.config import Settings
from cryptometrics.local import jars
from cryptometrics.local.kafka import OTHER_PORTS
from cryptometrics.local.services import Services

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Cli

TOPIC = "kept"
WAIT = 20.0


def status_of(local: Cli) -> Any:
    return json.loads(local("status", "--json", code=None).stdout)  # 1 until there is a schema


def write_data(bootstrap_servers: str, uri: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result(WAIT)
    producer = Producer({"bootstrap.servers": bootstrap_servers, "acks": "all"})
    producer.produce(TOPIC, b"a record")
    assert producer.flush(WAIT) == 0
    with psycopg.connect(uri) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'a row' AS what")


def read_data(bootstrap_servers: str, uri: str) -> tuple[str, str]:
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "test"})
    try:
        consumer.assign([TopicPartition(TOPIC, 0, 0)])
        message = consumer.poll(WAIT)
        if message is None or message.error():
            raise KafkaException(message and message.error())
        record = message.value() or b""
    finally:
        consumer.close()
    with psycopg.connect(uri) as connection:
        row = connection.execute("SELECT what FROM kept").fetchone()
    assert row is not None
    return record.decode(), row[0]


@pytest.mark.slow
def test_from_up_to_purge(local: Cli, home: Path) -> None:
    stopped = status_of(local)
    assert not stopped["kafka"]["running"]
    assert not stopped["postgres"]["running"]

    both = [local.start("up") for _ in range(2)]  # at the same moment: one starts, the other finds it started
    out, other = (process.communicate(timeout=WAIT * 3)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert out == other
    first = status_of(local)
    kafka, postgres = first["kafka"], first["postgres"]
    assert kafka["running"] is True
    assert postgres["running"] is True
    assert kafka["bootstrap_servers"] in out
    assert postgres["uri"] in out
    assert (kafka["version"], postgres["version"]) == ("4.4.0", "18.6")
    for service in (kafka, postgres):
        assert service["uptime_seconds"] >= 0
        assert service["bytes_on_disk"] > 0
    assert json.loads((home / "endpoints.json").read_text()) == {
        "kafka": {"bootstrap_servers": kafka["bootstrap_servers"]},
        "postgres": {"uri": postgres["uri"]},
    }
    settings = Settings.of({"CRYPTOMETRICS_HOME": home})
    assert settings.kafka()["bootstrap.servers"] == kafka["bootstrap_servers"]
    assert settings.postgres() == postgres["uri"]
    assert "running" in local("status", code=1).stdout  # the schema is missing
    local("init-db")
    assert "up to date" in local("status").stdout

    local("up")
    again = status_of(local)
    assert (again["kafka"]["pid"], again["postgres"]["pid"]) == (kafka["pid"], postgres["pid"])

    write_data(kafka["bootstrap_servers"], postgres["uri"])
    assert "kept" in local("down").stderr
    assert not (home / "endpoints.json").exists()
    assert status_of(local)["kafka"]["bootstrap_servers"] is None
    assert "nothing was running" in local("down").stderr

    local("up")
    assert status_of(local)["kafka"]["bootstrap_servers"] == kafka["bootstrap_servers"]
    assert read_data(kafka["bootstrap_servers"], postgres["uri"]) == ("a record", "a row")

    assert "--yes" in local("down", "--purge", input="y\n", code=2).stderr  # that is no terminal
    assert status_of(local)["postgres"]["running"] is True
    local("down", "--purge", "--yes")
    assert not (home / "kafka").exists()
    assert not (home / "postgres").exists()
    assert jars.folder(home).exists()


@pytest.mark.slow
def test_data_outlives_kill(home: Path) -> None:
    with Services(home, kafka_port=0) as services:
        services.up()
        write_data(services.bootstrap_servers, services.postgres_uri)
        address = services.bootstrap_servers
        for status in services.status().values():
            assert status.pid is not None
            os.kill(status.pid, signal.SIGKILL)
        # The pid in PostgreSQL's own lock file belongs to someone else by now.
        lock = home / "postgres" / "data" / "postmaster.pid"
        lock.write_text(lock.read_text().replace(lock.read_text().split()[0], str(os.getppid()), 1))

        services.up()
        assert services.bootstrap_servers == address
        assert read_data(services.bootstrap_servers, services.postgres_uri) == ("a record", "a row")


@pytest.mark.slow
def test_a_taken_port_means_another(home: Path, services: Services) -> None:
    """Two homes side by side: this one, and the one of the test run, whose port is asked for first."""
    taken = int(services.bootstrap_servers.rpartition(":")[2])
    with Services(home, kafka_port=taken) as second:
        second.up()
        address = second.bootstrap_servers
        assert int(address.rpartition(":")[2]) in OTHER_PORTS
        assert AdminClient({"bootstrap.servers": address}).list_topics(timeout=WAIT).brokers
        assert second.postgres_uri != services.postgres_uri
    assert all(status.running for status in services.status().values())


def test_all_or_nothing(home: Path, local: Cli) -> None:
    """When one service cannot start, the other is stopped again, and the last words of the log are shown."""
    (home / "kafka" / "data").mkdir(parents=True)
    (home / "kafka" / "data" / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=other\n")
    done = local("up", code=3)
    assert done.stderr.splitlines()[-1].startswith("error: Kafka ended during its start")
    assert "--- " in done.stderr
    found = status_of(local)
    assert found["kafka"]["running"] is found["postgres"]["running"] is False
    assert not (home / "endpoints.json").exists()


def test_only_loopback_and_only_us(services: Services) -> None:
    for status in services.status().values():
        assert status.pid is not None
        listening = {
            connection.laddr.ip for connection in _connections(status.pid) if connection.status == "LISTEN"
        }
        assert all(ip.removeprefix("::ffff:") == "127.0.0.1" for ip in listening)
    for folder in ("kafka", "postgres", "postgres/data"):
        assert (services.home / folder).stat().st_mode & 0o777 == 0o700


def test_a_home_that_cannot_be(tmp_path: Path, cli_with: Callable[[dict[str, str]], Cli]) -> None:
    (tmp_path / "file").touch()
    done = cli_with({"CRYPTOMETRICS_HOME": str(tmp_path / "file" / "home")})("up", code=2)
    assert "CRYPTOMETRICS_HOME" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_yes_without_purge_is_a_mistake(local: Cli) -> None:
    assert "--purge" in local("down", "--yes", code=2).stderr


def _connections(pid: int) -> Any:
    return psutil.Process(pid).net_connections(kind="inet")
