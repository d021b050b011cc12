"""Connections to PostgreSQL that break or stall."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import psycopg

from tests.faults.arena import cut_workers
from tests.faults.relay import Act, Moment, Relay

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.arena import Arena

RATE = 2_000


def break_connection(
    arena: Arena, fault: str, times: int, moment: Moment, act: Act, harm: Callable[[], object] = lambda: None
) -> None:
    """Do this to a connection of the one worker, again and again, at this moment."""
    arena.load.start(RATE)
    with Relay(arena.settings.postgres()) as relay:
        worker = arena.worker(through=relay.uri)
        arena.wait_for_progress()
        for _ in range(times):
            noticed = len(worker.events("starting_over"))
            done = relay.once(moment, act, harm)
            arena.wait_for(fault, done.is_set)
            arena.wait_for_event(worker, "starting_over", noticed)
            arena.recovers()
        arena.finish(fault, times)


def test_a_connection_is_cut_in_mid_copy(arena: Arena) -> None:
    break_connection(arena, "connection cut in mid-COPY", arena.times(4, 50), Moment.COPY, Act.CUT)


def test_the_server_ends_a_session_in_mid_copy(arena: Arena) -> None:
    with psycopg.connect(arena.settings.postgres(), autocommit=True) as admin:
        fault = "pg_terminate_backend in mid-COPY"
        harm = functools.partial(cut_workers, admin)
        break_connection(arena, fault, arena.times(4, 50), Moment.COPY, Act.PASS, harm)


def test_the_answer_to_commit_is_lost(arena: Arena) -> None:
    break_connection(arena, "COMMIT done, its answer lost", arena.times(3, 50), Moment.COMMIT, Act.SWALLOW)


def test_the_server_does_not_hear_that_a_connection_broke_in_mid_copy(arena: Arena) -> None:
    """A firewall that forgets a connection does this: the server keeps the lock, for nobody."""
    fault = "connection broken in mid-COPY, server not notified"
    break_connection(arena, fault, arena.times(1, 10), Moment.COPY, Act.ORPHAN)


def test_a_connection_stalls_while_the_group_rebalances(arena: Arena) -> None:
    """The writing session neither works nor breaks: its worker has to let go, another one has to go on."""
    arena.load.start(RATE)
    with Relay(arena.settings.postgres()) as relay:
        worker = arena.worker(through=relay.uri)
        arena.wait_for_progress(RATE)
        stalled = relay.once(Moment.COPY, Act.STALL)
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


def test_a_connection_is_cut_while_a_worker_starts(arena: Arena) -> None:
    """At any of the first words of its sessions: to go on is as good as to start again."""
    times = arena.times(3, 15)
    arena.load.send(1_000)
    with Relay(arena.settings.postgres()) as relay:
        for number in range(times):
            nth = number * 30 // times
            cut = relay.nth(nth, Act.CUT)
            worker = arena.worker("--until-caught-up", through=relay.uri)
            assert worker.wait(60) == 0, worker.words()
            assert cut.is_set(), f"there were no {nth} words"
            arena.load.send(100)
        arena.worker("--until-caught-up", through=relay.uri).wait(60)
        arena.finish("connection cut while a worker starts", times)
