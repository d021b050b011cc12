"""Connections to PostgreSQL that break, or that neither work nor break."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.faults.relay import Act, Moment, Relay, Word

if TYPE_CHECKING:
    from tests.faults.arena import Arena

RATE = 2_000


@pytest.mark.parametrize("how", ["relay", "server"])
def test_a_connection_is_cut_in_mid_copy(arena: Arena, how: str) -> None:
    times = arena.times(4, 50)
    arena.load.start(RATE)
    with (
        Relay(arena.settings.postgres()) as relay,
        psycopg.connect(arena.settings.postgres(), autocommit=True) as admin,
    ):
        worker = arena.worker(through=relay.uri)
        arena.wait_for_progress()
        for _ in range(times):
            cut = threading.Event()
            seen = len(worker.events("starting_over"))

            def script(word: Word, cut: threading.Event = cut) -> Act:
                if word.moment is not Moment.COPY or cut.is_set():
                    return Act.PASS
                if how == "server":
                    admin.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND application_name = 'cryptometrics'"
                    )
                cut.set()
                return Act.CUT if how == "relay" else Act.PASS

            relay.script = script
            arena.wait_for("a COPY was cut", cut.is_set)
            arena.wait_for_event(worker, "starting_over", seen)
            arena.recovers()
        name = "connection cut in mid-COPY" if how == "relay" else "pg_terminate_backend in mid-COPY"
        arena.finish(name, times)


def test_the_server_does_not_hear_that_a_connection_broke_in_mid_copy(arena: Arena) -> None:
    """A firewall that forgets a connection does this: the server keeps the lock, for nobody."""
    times = arena.times(1, 10)
    arena.load.start(RATE)
    with Relay(arena.settings.postgres()) as relay:
        worker = arena.worker(through=relay.uri)
        arena.wait_for_progress()
        for _ in range(times):
            broken = threading.Event()
            seen = len(worker.events("starting_over"))

            def script(word: Word, broken: threading.Event = broken) -> Act:
                if word.moment is not Moment.COPY or broken.is_set():
                    return Act.PASS
                broken.set()
                return Act.ORPHAN

            relay.script = script
            arena.wait_for("a COPY was orphaned", broken.is_set)
            arena.wait_for_event(worker, "starting_over", seen)
            arena.recovers()
        arena.finish("connection broken in mid-COPY, server not told", times)


def test_a_connection_stalls_while_the_group_rebalances(arena: Arena) -> None:
    """The writing session neither works nor breaks: its worker has to let go, another one has to go on."""
    arena.load.start(RATE)
    with Relay(arena.settings.postgres()) as relay:
        worker = arena.worker(through=relay.uri)
        arena.wait_for_progress(RATE)
        stalled = threading.Event()

        def script(word: Word) -> Act:
            if word.moment is not Moment.COPY or stalled.is_set():
                return Act.PASS
            stalled.set()
            return Act.STALL

        relay.script = script
        arena.wait_for("stalled in COPY", stalled.is_set)
        heir = arena.worker()
        arena.all_partitions_move()
        assert heir.stop() == 0
        arena.all_partitions_move()
        assert not worker.ended()
        arena.finish("a connection stalls in a rebalance", 1, note="until each partition moves again")


def test_a_broken_connection_of_an_idle_worker_does_not_keep_it_from_ending(arena: Arena) -> None:
    """With nothing to read it cannot notice the break, but has to see that all is stored."""
    sessions = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name = 'cryptometrics'"
    arena.remake_topic(1)
    arena.worker()
    arena.load.send(2_000)
    arena.wait_for("caught up", arena.caught_up)
    database = arena.settings.kafka_topic
    with psycopg.connect(arena.settings.postgres()) as other:
        theirs = other.execute(sessions, [database]).fetchall()
        other.execute("SELECT * FROM consumer_offsets FOR UPDATE")  # so that the others are not done too soon
        arena.load.send(2_000)
        idle = arena.worker("--until-caught-up")
        arena.wait_for_event(idle, "partitions_assigned")  # none of them
        arena.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s "
            "AND application_name = 'cryptometrics' AND pid <> ALL(%s)",
            database,
            [pid for (pid,) in theirs],
        )
    assert idle.wait(60) == 0
    arena.finish("idle worker's connection broken", 1)
