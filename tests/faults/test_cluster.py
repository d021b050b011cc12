"""Three brokers, of which some are killed, stopped or relieved of their partitions while ticks flow."""

from __future__ import annotations

import functools
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cryptometrics.kafka.topic import create_topic
from cryptometrics.kafka.topic_settings import read_topic_settings
from tests.faults.brokers import IDS, Cluster
from tests.waiting import deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cryptometrics.config import Settings
    from tests.conftest import Cli
    from tests.faults.arena import Arena

RATE = 1_000
"""Ticks a second: each is written three times on the same machine."""
WAITS = "waiting for Kafka for"
"""What a publisher's progress line says while nothing is acknowledged."""
AWAY = "until each partition moves again, the broker still away"


@pytest.fixture(scope="module")
def cluster(open_folder: Path, shared_jars: Path) -> Iterator[Cluster]:
    with Cluster(open_folder / "cluster", shared_jars) as cluster:
        yield cluster


@pytest.fixture
def settings(settings: Settings, cluster: Cluster) -> Settings:
    """Return the settings of a database and of a topic in the cluster, all of whose brokers run."""
    cluster.up()
    return replace(settings, kafka_bootstrap_servers=cluster.address)


@pytest.fixture
def topic(arena: Arena, cluster: Cluster) -> str:
    """Return the topic, with a worker that reads what the load sends to it."""
    found = read_topic_settings(arena.settings)
    assert found is not None
    assert (found.brokers, found.replicas, found.values["min.insync.replicas"]) == (3, 3, "2")
    arena.load.start(RATE)
    arena.worker()
    arena.wait_for_progress()
    return arena.settings.kafka_topic


def heal(arena: Arena, cluster: Cluster) -> None:
    """Start the brokers that are away, and wait until they have caught up."""
    cluster.up()
    arena.wait_for("every replica in sync", lambda: cluster.is_in_sync(arena.settings.kafka_topic))


def says_again(log: Path, reports: int) -> bool:
    """Return whether a publisher has reported more than so many times that it waits."""
    return log.read_text().count(WAITS) > reports


def test_the_leader_of_a_partition_is_killed(arena: Arena, cluster: Cluster, topic: str) -> None:
    times = arena.times(1, 5)
    for _ in range(times):
        controller = cluster.controller()
        # Another broker than the controller, unless that one leads everything.
        cluster.kill(min(cluster.leaders(topic).values(), key=lambda broker: broker == controller))
        arena.all_partitions_pass(arena.load.ledger.ends())
        heal(arena, cluster)
    arena.finish("three brokers: kill -9 of a partition's leader", times, note=AWAY)


def test_the_active_controller_is_killed(arena: Arena, cluster: Cluster, topic: str) -> None:
    times = arena.times(1, 5)
    for _ in range(times):
        controller = cluster.controller()
        cluster.kill(controller)
        arena.all_partitions_pass(arena.load.ledger.ends())
        arena.wait_for("another controller", functools.partial(cluster.has_replaced, controller))
        heal(arena, cluster)
    arena.finish("three brokers: kill -9 of the active controller", times, note=AWAY)


def test_two_of_three_brokers_are_away(
    arena: Arena, cluster: Cluster, topic: str, cli_for: Callable[[Settings], Cli], tmp_path: Path
) -> None:
    """One replica may not take a write: publishers wait, and say so, until a second one is back."""
    times = arena.times(1, 5)
    beside = replace(arena.settings, kafka_topic=f"{topic}-simulated")
    create_topic(beside, 4)
    said = tmp_path / "simulate.log"
    with said.open("wb") as log:
        publisher = cli_for(beside).start("simulate", "--rate", "100", stderr=log)
    arena.wait_for("the publisher's progress", lambda: "acknowledged" in said.read_text())
    for number in range(times):
        reports = said.read_text().count(WAITS)
        cluster.kill(IDS[number % 3], IDS[(number + 1) % 3])
        arena.wait_for("the publisher's report", functools.partial(says_again, said, reports))
        ends, is_over = arena.load.ledger.ends(), deadline(arena.times(3, 10))
        while not is_over():
            arena.check_processes()
            assert arena.load.ledger.ends() == ends, "one replica has taken a write"
            time.sleep(0.2)  # how often it is looked at
        cluster.up()
        arena.all_partitions_pass(ends)
        heal(arena, cluster)
    publisher.send_signal(signal.SIGTERM)
    out, _ = publisher.communicate(timeout=60)
    sent, acknowledged = (int(part.split()[1]) for part in out.split(","))
    assert publisher.returncode == 0
    assert sent == acknowledged > 0
    arena.finish(
        "three brokers: kill -9 of two, no writes meanwhile", times, note="until each partition moves again"
    )


def test_the_brokers_are_restarted_in_turn(arena: Arena, cluster: Cluster, topic: str) -> None:
    times = arena.times(1, 5)
    for _ in range(times):
        for broker in IDS:
            cluster.stop(broker)
            arena.all_partitions_pass(arena.load.ledger.ends())
            heal(arena, cluster)
    arena.finish("three brokers: rolling restart", times, note=AWAY)


def test_partitions_move_to_other_brokers(arena: Arena, cluster: Cluster, topic: str) -> None:
    """Each broker in turn loses all its replicas, those that lead included, and gets copies again."""
    times = arena.times(2, 5)
    for number in range(times):
        emptied = IDS[number % len(IDS)]
        others = [broker for broker in IDS if broker != emptied]
        for wanted in (others, [*others, emptied]):
            replicas = {
                partition: [*wanted[partition % 2 :], *wanted[: partition % 2]] for partition in range(4)
            }
            cluster.reassign(topic, replicas)
            arena.wait_for("moved partitions", functools.partial(cluster.has_placed, topic, replicas))
            assert wanted is not others or emptied not in cluster.leaders(topic).values()
            arena.all_partitions_pass(arena.load.ledger.ends())
    arena.finish("three brokers: partitions reassigned", times, note="until each partition moves again")
