"""Run the whole benchmark, in rounds, so that compared parts are measured side by side."""

from __future__ import annotations

import importlib.util
import os
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptometrics.bench import latency, latency_floor, proof
from cryptometrics.bench.backlog import GROUP, workers
from cryptometrics.bench.scratch import PARTITIONS
from cryptometrics.bench.throughput import Throughput
from cryptometrics.config.latency import DEFAULT_LATENCY

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptometrics.bench.cpu_cost import CpuCost
    from cryptometrics.bench.latency import Latency
    from cryptometrics.bench.latency_floor import Floor
    from cryptometrics.bench.proof import Proof
    from cryptometrics.bench.scratch import Scratch

RATES = [100, 1_000, 10_000]
LIMIT = "bare COPY, original table"
BUSY_LOAD = 0.5
"""Load per core above which the figures are unreliable."""


@dataclass
class Result:
    """Measured rates in ticks or rows per second, one per round, latencies, and processor times."""

    ticks: int
    cores: int
    load: float
    rates: dict[str, list[float]] = field(default_factory=dict)
    floor: Floor | None = None
    latencies: list[Latency] = field(default_factory=list)
    costs: list[CpuCost] = field(default_factory=list)
    """Empty without psutil."""
    proofs: dict[str, Proof] = field(default_factory=dict)
    """By command."""

    def median(self, part: str) -> float:
        """Return the median rate of a part."""
        return statistics.median(self.rates[part])

    def ratio(self, part: str) -> float:
        """Return a part's median divided by the limit's."""
        return self.median(part) / self.median(LIMIT)

    @property
    def busy(self) -> bool:
        """Whether the machine was loaded when the benchmark began."""
        return self.load > BUSY_LOAD * self.cores


def run(scratch: Scratch, ticks: int, rounds: int, seconds: float, say: Callable[[str], None]) -> Result:
    """Measure everything.

    ticks: size of the backlog; rounds: measurements of each part; seconds: length of a latency measurement.
    """
    cores = os.cpu_count() or 1
    result = Result(ticks, cores, os.getloadavg()[0])
    say("making ticks")
    throughput = Throughput(scratch, ticks)

    def record(part: str, measured: Callable[[], float]) -> None:
        say(part)
        result.rates.setdefault(part, []).append(measured())

    for _ in range(rounds):
        record("simulate", throughput.simulate)
        record("bare consume", throughput.consume)
    if seconds:
        # First: after millions of rows the server stays busy for a while (vacuum, checkpoints).
        say("floor of latency")
        result.floor = latency_floor.measure(scratch, seconds)
        say("latency")
        result.latencies = latency.measure(scratch, ["0", DEFAULT_LATENCY], RATES, seconds)
        if importlib.util.find_spec("psutil") is not None:
            from cryptometrics.bench import cpu_cost

            say("processor time")
            result.costs = cpu_cost.measure(scratch, RATES, seconds)
    backlog = throughput.backlog()
    for number in sorted({1, min(cores, PARTITIONS)}):
        name = f"process, {number} worker{'s' if number > 1 else ''}"
        say(name)
        with workers(scratch, number):
            for _ in range(rounds):
                record(LIMIT, throughput.copy_original)
                record("bare COPY, crypto_metrics", throughput.copy_own)
                record(name, lambda n=number: backlog.measure(n))  # type: ignore[misc]
    record("INSERT and COMMIT a tick", lambda: throughput.row_by_row(1.5))
    for command in proof.COMMANDS:
        say(command)
        result.proofs[command] = proof.measure(scratch, GROUP, command)
    return result
