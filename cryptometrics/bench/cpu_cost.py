"""Measure the processor time that a tick costs each process, at the rates that people have.

Nothing else is measured meanwhile: a query of what is visible, a thousand times a second, would cost
PostgreSQL more than the ticks do. Needs psutil, which the extra `local` brings.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from cryptometrics.bench.backlog import GROUP, workers
from cryptometrics.errors import CryptometricsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptometrics.bench.scratch import Scratch

WARM_UP_S = 1.0
"""Seconds after the start of the feed that are not measured."""
PROCESS, BROKER, POSTGRES = "process", "broker", "postgres"

_STORED = "SELECT coalesce(sum(next_offset), 0)::bigint FROM consumer_offsets WHERE consumer_group = %s"
_BACKEND = "SELECT pg_backend_pid()"


@dataclass(frozen=True)
class CpuCost:
    """Processor time of each process while ticks arrived at one rate."""

    rate: int
    ticks: int
    """Ticks stored meanwhile."""
    seconds: float
    """Length of the measurement."""
    cpu_seconds: dict[str, float | None]
    """By process: user and system time. None for a service that does not run on this machine."""

    def per_tick(self, process: str) -> float | None:
        """Return the microseconds of processor time per tick."""
        used = self.cpu_seconds[process]
        return None if used is None else 1e6 * used / self.ticks

    def share(self, process: str) -> float | None:
        """Return the share of one core, as a fraction."""
        used = self.cpu_seconds[process]
        return None if used is None else used / self.seconds


def measure(scratch: Scratch, rates: Sequence[int], seconds: float) -> list[CpuCost]:
    """Run one worker, and `simulate` at each of the rates in turn."""
    with workers(scratch, 1) as worker:
        meters = {PROCESS: _process(worker), BROKER: _broker(scratch), POSTGRES: _postmaster(scratch)}
        return [_at(scratch, meters, rate, seconds) for rate in rates]


def _at(scratch: Scratch, meters: dict[str, psutil.Process | None], rate: int, seconds: float) -> CpuCost:
    with scratch.simulate(rate, 2 * WARM_UP_S + seconds):
        _wait_for_first(scratch)
        time.sleep(WARM_UP_S)
        stored, begun = _stored(scratch), time.monotonic()
        before = {name: _cpu_seconds(meter) for name, meter in meters.items()}
        time.sleep(seconds)
        after = {name: _cpu_seconds(meter) for name, meter in meters.items()}
        ticks, lasted = _stored(scratch) - stored, time.monotonic() - begun
    if not ticks:
        raise CryptometricsError(f"no tick became visible at {rate} ticks/s")
    used = {
        name: None if begin is None or end is None else end - begin
        for name, begin, end in ((name, before[name], after[name]) for name in meters)
    }
    return CpuCost(rate, ticks, lasted, used)


def _wait_for_first(scratch: Scratch, limit: float = 30.0) -> None:
    """Wait until the feed's first tick is stored: its start takes a second, and longer on a busy machine."""
    before, deadline = _stored(scratch), time.monotonic() + limit
    while _stored(scratch) == before and time.monotonic() < deadline:
        time.sleep(0.05)


def _stored(scratch: Scratch) -> int:
    row = scratch.connection.execute(_STORED, [GROUP]).fetchone()
    return int(row[0]) if row else 0


def _cpu_seconds(process: psutil.Process | None) -> float | None:
    """Return the user and system time of a process and its children, ended ones included."""
    if process is None:
        return None
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        try:
            used = each.cpu_times()
        except psutil.Error:
            continue  # it has just ended: its parent has its time once it has reaped it
        total += used.user + used.system
        # Linux only: of children that were reaped.
        total += getattr(used, "children_user", 0.0) + getattr(used, "children_system", 0.0)
    return total


def _broker(scratch: Scratch) -> psutil.Process | None:
    """Return the process of the only broker if it runs here, and this user may see it."""
    host, _, port = scratch.settings.kafka_address.rpartition(":")
    if host not in ("127.0.0.1", "localhost") or not port.isdigit():
        return None
    try:
        listening = {
            socket.pid
            for socket in psutil.net_connections("tcp")
            if socket.status == psutil.CONN_LISTEN and socket.laddr.port == int(port) and socket.pid
        }
    except psutil.AccessDenied:
        return None
    # In front of a container the listener is a proxy, which does none of the work.
    return next((each for each in map(_process, listening) if each and "java" in each.name()), None)


def _postmaster(scratch: Scratch) -> psutil.Process | None:
    """Return the parent of PostgreSQL's processes if it runs here."""
    connection = scratch.connection
    if not connection.info.host.startswith("/") and connection.info.hostaddr not in ("127.0.0.1", "::1"):
        return None
    row = connection.execute(_BACKEND).fetchone()
    backend = _process(row[0]) if row else None
    if backend is None or "postgres" not in backend.name():  # a container has other process ids
        return None
    return backend.parent()


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.Error:
        return None
