"""Memory, file handles and threads of processes over time, and whether they grew."""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

EVERY_S = 1.0
"""Seconds between two samples."""
WARM_UP_S = 600.0
"""Seconds after its start in which a process may grow: caches fill, and each kind of fault comes once."""
MEASURED_S = 600.0
"""Seconds after the warm-up that a slope needs: over a shorter time a single allocation decides it."""
LIVED_S = 300.0
"""Seconds that a process must live for its handles and threads to be compared."""
SETTLED_S = 30.0
"""Seconds after which a new worker has its partitions, and its handles and threads."""
MEGABYTE = 2**20


class Sample(NamedTuple):
    """What a process used at one moment."""

    at: float
    """Seconds since its start."""
    resident: int
    """Bytes of memory."""
    handles: int
    threads: int


@dataclass
class Life:
    """A process from its start to its end; a process that a fault ended is followed by another life."""

    name: str
    samples: list[Sample] = field(default_factory=list)
    begun: float = 0.0
    """When it started, in seconds."""

    @property
    def seconds(self) -> float:
        return self.samples[-1].at if self.samples else 0.0

    def megabytes(self) -> float | None:
        """Return its memory at the end."""
        return self.samples[-1].resident / MEGABYTE if self.samples else None

    def slope(self, warm_up: float = WARM_UP_S, measured: float = MEASURED_S) -> float | None:
        """Return the growth of its memory by least squares, in MB per hour; None if it did not live long."""
        warm = [each for each in self.samples if each.at >= warm_up]
        if len(warm) < 2 or warm[-1].at - warm[0].at < measured:
            return None
        line = statistics.linear_regression(
            [each.at / 3600 for each in warm], [each.resident / MEGABYTE for each in warm]
        )
        return line.slope

    def handles_gained(self) -> int | None:
        return self._gained(lambda sample: sample.handles)

    def threads_gained(self) -> int | None:
        return self._gained(lambda sample: sample.threads)

    def _gained(self, count: Callable[[Sample], int]) -> int | None:
        """Return by how much the lowest count of its last quarter is above the highest of its first.

        A fault changes the counts for a moment. What leaks stays, so it raises the lowest count, too.
        """
        if self.seconds < LIVED_S:
            return None
        first = [count(each) for each in self.samples if each.at <= self.seconds / 4]
        last = [count(each) for each in self.samples if each.at >= self.seconds * 3 / 4]
        return max(min(last) - max(first), 0)


def together(name: str, lives: Iterable[Life]) -> Life:
    """Return what several processes used in sum, whenever all of their names have settled.

    A task of the group, such as sending alerts, moves from worker to worker with its handles and threads.
    Only their sum says whether any leak.
    """
    by_second: dict[int, dict[str, Sample]] = {}
    names = set()
    for life in lives:
        names.add(life.name)
        for sample in life.samples:
            if sample.at >= SETTLED_S:
                by_second.setdefault(round(life.begun + sample.at), {})[life.name] = sample
    found = [(second, used.values()) for second, used in sorted(by_second.items()) if used.keys() == names]
    sums = [
        Sample(
            second - found[0][0],
            sum(each.resident for each in used),
            sum(each.handles for each in used),
            sum(each.threads for each in used),
        )
        for second, used in found
    ]
    return Life(name, sums)


class Sampler:
    """Takes a sample of each watched process every second, in a thread of its own."""

    def __init__(self) -> None:
        self.lives: list[Life] = []
        self._watched: dict[int, tuple[Life, psutil.Process]] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def watch(self, name: str, pid: int) -> None:
        """Follow a process that has just been started, until it ends."""
        with self._lock:
            self.lives.append(Life(name, begun=time.monotonic()))
            self._watched[pid] = self.lives[-1], psutil.Process(pid)

    def _run(self) -> None:
        while not self._ended.wait(EVERY_S):
            with self._lock:
                for pid, (life, process) in list(self._watched.items()):
                    try:
                        with process.oneshot():
                            resident = process.memory_info().rss
                            handles, threads = process.num_fds(), process.num_threads()
                    except psutil.Error:  # it has ended
                        del self._watched[pid]
                        continue
                    if resident:  # else it is ending
                        life.samples.append(Sample(time.monotonic() - life.begun, resident, handles, threads))
