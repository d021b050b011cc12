"""Everything runs for a long time with a fault a minute: `make soak MINUTES=30`, SEED=n to repeat one.

MINUTES=2 runs a fault of each kind. SOAK_PAGE=docs/guarantees.md makes a run that passes write its tables
into that page.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.page import circumstances
from tests.faults.soak.deliveries import OUTBOX, Notification, missing_by_key, missing_by_text, unmarked
from tests.faults.soak.faults import FAULTS, shuffled
from tests.faults.soak.report import Report
from tests.faults.soak.stage import Stage

if TYPE_CHECKING:
    from tests.faults.arena import Arena

MINUTES = float(os.environ.get("SOAK_MINUTES") or 2)
SEED = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(10**6))
EVERY_S = min(60.0, 60 * MINUTES / (len(FAULTS) + 1))
"""Seconds from one fault to the next; less than a minute in a run too short for a fault of each kind."""


@pytest.mark.timeout(60 * MINUTES + 900)
def test_soak(arena: Arena) -> None:
    say(f"seed {SEED}, {MINUTES:g} minutes, a fault every {EVERY_S:.0f} s")
    with Stage(arena, SEED, 60 * MINUTES) as stage:
        report = Report(MINUTES, SEED, stage.sampler.lives)
        suffer(stage, report)
        stage.finish()
        report.offsets = int(arena.ask("SELECT sum(next_offset - first_offset) FROM consumer_offsets")[0][0])
        trouble = check_deliveries(stage, report)
    arena.verify()
    say("", *report.processes(), "", *report.faults(), "", report.summary())
    trouble += report.failings()
    say(*(f"NOT AS PROMISED: {each}" for each in trouble))
    assert not trouble
    if page := os.environ.get("SOAK_PAGE"):
        Path(page).write_text(report.page(Path(page).read_text(), circumstances()))


def suffer(stage: Stage, report: Report) -> None:
    """Let a fault happen in each period until the time is over and each kind has come; report each."""
    begun = time.monotonic()
    for number, fault in enumerate(shuffled(stage.chance), 1):
        if number > len(FAULTS) and time.monotonic() - begun + EVERY_S > 60 * MINUTES:
            break
        fault.cause(stage)
        seconds = stage.recovers()
        report.recoveries.setdefault(fault.name, []).append(seconds)
        say(f"{(time.monotonic() - begun) / 60:5.1f} min: {fault.name}: {seconds:.1f} s; {state(stage)}")
        while time.monotonic() - begun < number * EVERY_S:
            stage.arena.check_processes()
            time.sleep(0.2)  # the period lasts


def state(stage: Stage) -> str:
    """Return what is stored, and the memory of each process that runs."""
    newest = {life.name: life for life in stage.sampler.lives if life.samples}
    memory = ", ".join(f"{name} {life.megabytes():.0f}" for name, life in newest.items())
    return f"{stage.arena.stored():,} offsets, {stage.undelivered()} alerts wait; MB: {memory}"


def check_deliveries(stage: Stage, report: Report) -> list[str]:
    """Compare the outbox with what its receivers got, and return the differences."""
    outbox = [Notification(*row) for row in stage.arena.ask(OUTBOX, stage.arena.group)]
    to_webhook = [each for each in outbox if each.channel == "webhook"]
    to_desk = [each for each in outbox if each.channel == "desk"]
    report.alerts = int(stage.arena.ask("SELECT count(*) FROM alerts")[0][0])
    report.deliveries = len(outbox)
    report.attempts = len(stage.webhook.posts) + len(stage.desk.posts)
    assert len(to_webhook) == len(to_desk) >= MINUTES, "the rules hardly fired"
    return [
        *unmarked(outbox),
        *missing_by_key(to_webhook, stage.webhook.posts),
        *missing_by_text(to_desk, stage.desk.posts),
    ]


def say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
