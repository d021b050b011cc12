"""Workers that are killed, suspended and resumed, or that join and leave."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from confluent_kafka import Consumer

from cryptometrics.kafka import client, errors
from tests.faults.relay import Act, Moment, Relay

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.arena import Arena
    from tests.faults.worker import WorkerProcess

RATE = 2_000
"""Ticks a second while workers are harmed: far from idle, and far from what would hide a restart."""


def test_a_worker_is_killed_at_any_moment(arena: Arena) -> None:
    """At random, in mid-COPY, between COPY and COMMIT, as COMMIT leaves, and right after its answer."""
    times = arena.times(6, 50)
    aims = ("random", "in COPY", "after COPY", "COMMIT sent", "COMMIT done")
    with Relay(arena.settings.postgres()) as relay:
        arena.load.start(RATE)
        for number in range(times):
            worker = arena.worker("--batch", "500", through=relay.uri)
            if number:
                arena.recovers()
            arena.wait_for_progress()
            _kill(arena, relay, worker.kill, aims[number % len(aims)])
        arena.worker("--batch", "500", through=relay.uri)
        arena.recovers()
        arena.finish("kill -9 of a worker", times)


def _kill(arena: Arena, relay: Relay, kill: Callable[[], None], aim: str) -> None:
    match aim:
        case "random":
            time.sleep(arena.chance.uniform(0, 0.5))  # the fault itself: any moment will do
            kill()
            return
        case "in COPY":
            done = relay.once(Moment.COPY, Act.CUT, kill)
        case "after COPY":
            done = relay.once(Moment.COPIED, harm=kill)
        case "COMMIT sent":
            done = relay.once(Moment.COMMIT, harm=kill, when_sent=True)
        case _:
            done = relay.once(Moment.COMMITTED, harm=kill)
    arena.wait_for(f"killed {aim}", done.is_set)


def test_a_worker_sleeps_while_another_takes_over_and_wakes_up_late(arena: Arena) -> None:
    times = arena.times(1, 5)
    sleeper = arena.worker()
    arena.load.start(RATE)
    arena.wait_for_progress()
    for _ in range(times):
        heir = arena.worker()
        arena.share(sleeper, heir)
        arena.wait_for_progress(RATE // 2)
        noticed = len(sleeper.events("starting_over"))
        sleeper.freeze()
        arena.takes_over(heir)
        sleeper.thaw()
        arena.wait_for_event(sleeper, "starting_over", noticed)
        arena.wait_for_progress(RATE)
        assert heir.stop() == 0
        arena.recovers()
    arena.finish("SIGSTOP past the session time-out, then SIGCONT", times)


def test_a_worker_sleeps_in_mid_copy_with_the_lock_of_its_rows(arena: Arena) -> None:
    times = arena.times(1, 5)
    arena.load.start(RATE)
    with Relay(arena.settings.postgres()) as relay:
        for _ in range(times):
            sleeper = arena.worker(through=relay.uri)
            arena.wait_for_progress()
            stalled = relay.once(Moment.COPY, Act.STALL, sleeper.freeze)
            arena.wait_for("stalled in COPY", stalled.is_set)
            heir = arena.worker()
            arena.takes_over(heir)
            assert heir.events("stalled_owner_ended"), heir.words()
            sleeper.thaw()
            arena.wait_for_event(sleeper, "partitions_assigned", 1)
            arena.wait_for_progress(RATE)
            assert sleeper.stop() == 0
            assert heir.stop() == 0
        arena.worker()
        arena.finish("SIGSTOP in mid-COPY, row lock held", times, note="until each partition moves again")


def test_workers_join_and_leave_every_second(arena: Arena) -> None:
    times = arena.times(4, 30)
    arena.load.start(RATE)
    arena.worker()
    arena.wait_for_progress()
    others: list[WorkerProcess] = []
    for number in range(times):
        begun = time.monotonic()
        if number % 2 == 0 or not others:
            others.append(arena.worker())
        else:
            leaving = others.pop(arena.chance.randrange(len(others)))
            if arena.chance.random() < 0.5:
                leaving.kill()
            else:
                leaving.stop_at_any_time()
        arena.all_partitions_move()
        time.sleep(max(0.0, 1 - (time.monotonic() - begun)))  # the load's rhythm, not a wait for luck
    arena.finish(
        "workers join, leave and are killed, one a second", times, note="until each partition moves again"
    )


class Double:
    """A member of the group with the name of a worker, as two machines with one host name have it."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        name = str(arena.ask("SELECT owner FROM consumer_offsets LIMIT 1")[0][0]).split()[0]
        self._conf = client.consumer_conf(arena.settings, arena.group, name)
        self._consumer: Consumer | None = None

    def take_place_of(self, worker: WorkerProcess) -> None:
        """Stay in the worker's place until the worker has noticed, then leave it."""
        before = len(worker.events("fenced_by_kafka"))

        def has_noticed() -> bool:
            self.stay()
            return len(worker.events("fenced_by_kafka")) > before

        self._arena.wait_for("a worker without its place", has_noticed)
        self.close()

    def stay(self) -> None:
        """Hold the place, and take it back once it is lost.

        A worker that lost its connection may come back as a new member, and take the place from the double.
        """
        if self._consumer is None:
            self._consumer = Consumer(self._conf)
            self._consumer.subscribe([self._arena.settings.kafka_topic])
        message = self._consumer.poll(0.1)
        error = None if message is None else message.error()
        if error is not None and errors.is_fatal(error):
            self.close()

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None


def test_kafka_gives_a_workers_place_away(arena: Arena) -> None:
    """As a broker does at times that was killed: to the member it is fatal, the worker joins anew.

    Again soon after, when the broker was killed between: that is no other machine of the same name.
    """
    arena.load.start(RATE)
    worker = arena.worker()
    arena.wait_for_progress()
    double = Double(arena)
    double.take_place_of(worker)
    arena.all_partitions_move()
    arena.end_service("kafka", signal.SIGKILL)
    arena.services.up()
    double.take_place_of(worker)
    arena.all_partitions_move()
    arena.finish("a worker's place in the group given away", 2, note="until each partition moves again")


def test_two_machines_have_one_name(arena: Arena) -> None:
    """They would take each other's place for ever: the worker ends and says what to do."""
    arena.load.start(RATE)
    worker = arena.worker()
    arena.wait_for_progress()
    double = Double(arena)
    worker.doomed = True

    def has_ended() -> bool:
        double.stay()
        return worker.ended()

    arena.wait_for("the end of the worker", has_ended)
    double.close()
    assert worker.process.returncode == 1
    assert worker.words().splitlines()[-1] == (
        f"error: another worker keeps taking this one's place in group {arena.group}: "
        "give each machine its own host name"
    )
    arena.worker()
    arena.all_partitions_move()
    arena.finish("two machines of one name in a group", 1, note="until each partition moves again")
