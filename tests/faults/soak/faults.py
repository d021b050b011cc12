"""What goes wrong during a soak. Each fault ends by itself; the stage then waits for the recovery."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults.arena import cut_workers
from tests.faults.relay import Act as Harm
from tests.faults.relay import Moment

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from tests.fakes.receiver import Act
    from tests.faults.soak.stage import Stage

AWAY_S = 3.0
"""Seconds that a service stays away, and that the network is silent."""
REFUSED_S = 15.0
"""Seconds in which the receivers take nothing."""


@dataclass(frozen=True)
class Fault:
    """A kind of fault and how to cause it."""

    name: str
    cause: Callable[[Stage], None]


def _kill_worker(stage: Stage) -> None:
    stage.replace_victim()


def _suspend_worker(stage: Stage) -> None:
    stage.victim.freeze()
    stage.arena.wait_for("one worker owns all", lambda: stage.arena.owners() == {str(stage.steady.pid)})
    stage.victim.thaw()


def _kill_broker(stage: Stage) -> None:
    stage.arena.end_service("kafka", signal.SIGKILL)
    _stay_away(stage)


def _kill_postmaster(stage: Stage) -> None:
    stage.arena.end_service("postgres", signal.SIGKILL)
    _stay_away(stage)


def _stay_away(stage: Stage) -> None:
    time.sleep(stage.chance.uniform(0, AWAY_S))  # the fault lasts
    stage.arena.services.up()


def _cut_network(stage: Stage) -> None:
    stage.relay.cut_all()


def _silence_network(stage: Stage) -> None:
    stage.relay.frozen.set()
    time.sleep(stage.chance.uniform(0, AWAY_S))  # the fault lasts
    stage.relay.frozen.clear()


def _cut_copy(stage: Stage) -> None:
    stage.arena.wait_for("a COPY is cut", stage.relay.once(Moment.COPY, Harm.CUT).is_set)


def _lose_answer(stage: Stage) -> None:
    stage.arena.wait_for("an answer is lost", stage.relay.once(Moment.COMMIT, Harm.SWALLOW).is_set)


def _end_sessions(stage: Stage) -> None:
    cut_workers(stage.arena.books())


def _refuse_alerts(stage: Stage) -> None:
    receivers = (stage.webhook, stage.desk)
    before = [receiver.choose for receiver in receivers]
    act: Act = stage.chance.choice(("refuse", "cut", "busy"))
    for receiver in receivers:
        receiver.choose = lambda: act
    time.sleep(stage.chance.uniform(REFUSED_S / 3, REFUSED_S))  # the fault lasts
    for receiver, choose in zip(receivers, before, strict=True):
        receiver.choose = choose


def _cut_feed(stage: Stage) -> None:
    stage.exchange.act(stage.chance.choice(("cut", "close going away", "frame {garbage")))


FAULTS = (
    Fault("kill -9 of a worker", _kill_worker),
    Fault("SIGSTOP past the session time-out, then SIGCONT", _suspend_worker),
    Fault("kill -9 of the broker", _kill_broker),
    Fault("kill -9 of the postmaster", _kill_postmaster),
    Fault("every connection to PostgreSQL cut", _cut_network),
    Fault("network to PostgreSQL silent", _silence_network),
    Fault("connection cut in mid-COPY", _cut_copy),
    Fault("COMMIT done, its answer lost", _lose_answer),
    Fault("pg_terminate_backend of all workers", _end_sessions),
    Fault("webhook and channel refuse everything", _refuse_alerts),
    Fault("the exchange ends the connection", _cut_feed),
)


def shuffled(chance: random.Random) -> Iterator[Fault]:
    """Yield faults at random without end; each kind comes once before any comes again."""
    while True:
        yield from chance.sample(FAULTS, len(FAULTS))
