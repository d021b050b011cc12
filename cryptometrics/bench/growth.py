"""Measure whether speed falls as the table grows, and how long answers take when it is large.

`process` is measured with an empty table and with a full one, in turns, so that other load on the machine
affects both: compare the ratios. Everything else is measured with the full table.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptometrics.bench import answers, proof
from cryptometrics.bench.backlog import workers
from cryptometrics.bench.stored_days import fill
from cryptometrics.bench.throughput import Throughput
from cryptometrics.store.connection import connect
from cryptometrics.store.prune import first_kept_day, prune

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptometrics.bench.answers import Export
    from cryptometrics.bench.proof import Proof
    from cryptometrics.bench.scratch import Scratch

PRUNE_WAIT_S = 60.0
KEPT = timedelta(days=1)
"""What `prune` keeps, besides today."""

_SIZE = """
SELECT sum(pg_total_relation_size(inhrelid))::bigint
FROM pg_inherits WHERE inhparent = 'crypto_metrics'::regclass
"""
_ROWS = "SELECT coalesce(sum(rows), 0)::bigint FROM metric_days"


@dataclass
class Growth:
    """What was measured."""

    rows: int = 0
    bytes: int = 0
    empty: list[float] = field(default_factory=list)
    """Ticks per second of `process` with the empty table, and with the full one."""
    full: list[float] = field(default_factory=list)
    answers: dict[str, float] = field(default_factory=dict)
    """Seconds by command."""
    exports: dict[str, Export] = field(default_factory=dict)
    proofs: dict[str, Proof] = field(default_factory=dict)
    pruned: dict[str, float] = field(default_factory=dict)
    """Seconds by dropped partition."""

    @property
    def ratio(self) -> float:
        """The median rate with the full table divided by that with the empty one."""
        return statistics.median(self.full) / statistics.median(self.empty)


def measure(
    rows: int, ticks: int, rounds: int, empty: Scratch, full: Scratch, say: Callable[[str], None]
) -> Growth:
    """Fill one of the two schemas with about this many rows, and measure everything.

    ticks: size of the backlog; rounds: how often it is processed in each schema.
    """
    growth = Growth()
    days = fill(full, rows, say)
    growth.rows, growth.bytes = _one(full, _ROWS), _one(full, _SIZE)
    for command in proof.COMMANDS:
        say(command)
        growth.proofs[command] = proof.measure(full, answers.GROUP, command, full.aside.kafka_topic)
    say("session, plot and watch")
    growth.answers = answers.answers(full, days)
    growth.exports = answers.exports(full, days, say)
    _compare(growth, ticks, rounds, empty, full, say)
    say("process, first row")
    growth.answers["process, first row"] = answers.first_row(full)
    say("up")
    if (seconds := answers.warm_start(full.settings)) is not None:
        growth.answers["up, warm"] = seconds
    say("prune")
    growth.pruned = _prune(full)
    return growth


def _compare(
    growth: Growth, ticks: int, rounds: int, empty: Scratch, full: Scratch, say: Callable[[str], None]
) -> None:
    """Process the same backlog with the empty table and with the full one, in turns."""
    say("making ticks")
    backlogs = {scratch: Throughput(scratch, ticks).backlog() for scratch in (empty, full)}
    with workers(empty, 1), workers(full, 1):
        for number in range(rounds):
            empty.connection.execute("TRUNCATE crypto_metrics")
            for name, scratch, rates in (("empty", empty, growth.empty), ("full", full, growth.full)):
                say(f"process, {name} table, round {number + 1} of {rounds}")
                rates.append(backlogs[scratch].measure(1))


def _prune(scratch: Scratch) -> dict[str, float]:
    """Drop all days but the last; return the seconds for each."""
    taken: dict[str, float] = {}
    with connect(scratch.settings) as connection:
        begun = time.perf_counter()
        for piece in prune(connection, first_kept_day(datetime.now(UTC), KEPT), wait=PRUNE_WAIT_S):
            now = time.perf_counter()
            taken[f"{piece} ({piece.rows:,} rows)"] = now - begun
            begun = now
    return taken


def _one(scratch: Scratch, query: str) -> int:
    row = scratch.connection.execute(query.encode()).fetchone()
    return int(row[0]) if row else 0
