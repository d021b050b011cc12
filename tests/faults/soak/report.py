"""The tables at the end of a soak, what of them breaks a promise, and their place in docs/guarantees.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.faults.outcome import BOUND_S, markdown
from tests.faults.page import between
from tests.faults.soak.samples import together

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.faults.soak.samples import Life

BEGIN, END = "<!-- soak: written by make soak -->", "<!-- end of soak -->"
MAX_SLOPE = 1.0
"""MB per hour that the memory of a process may grow."""
WORKER = "worker"
"""How the names of workers begin: their handles and threads are counted together."""


@dataclass
class Report:
    """What a soak has seen."""

    minutes: float
    seed: int
    lives: Sequence[Life]
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    """Seconds from the end of each fault to new rows, by its kind."""
    offsets: int = 0
    """Offsets with an outcome, each proved by `verify --topic`."""
    alerts: int = 0
    deliveries: int = 0
    """Notifications that were delivered, to all receivers."""
    attempts: int = 0
    """Requests that the receivers got for them, duplicates and refused ones included."""

    def summary(self) -> str:
        faults = sum(map(len, self.recoveries.values()))
        return (
            f"{faults} faults in {self.minutes:g} minutes with seed {self.seed}. {self.offsets:,} offsets, "
            f"each with one outcome, and `verify --topic` agrees. {self.alerts:,} alerts; their "
            f"{self.deliveries:,} notifications were received, each at least once and in order, with "
            f"{self.attempts:,} requests."
        )

    def failings(self) -> list[str]:
        """Return what breaks a promise."""
        found = [
            f"{kind}: {max(seconds):.1f} s to recover, more than {BOUND_S:g}"
            for kind, seconds in self.recoveries.items()
            if max(seconds) > BOUND_S
        ]
        for life in self.lives:
            slope = life.slope()
            if slope is not None and slope >= MAX_SLOPE:
                found.append(f"{life.name}: memory grows by {slope:.1f} MB per hour")
        for life in (*self._others(), self._workers()):
            for count, what in ((life.handles_gained(), "handles"), (life.threads_gained(), "threads")):
                if count:
                    found.append(f"{life.name}: {count} {what} gained")
        return found

    def _others(self) -> list[Life]:
        return [life for life in self.lives if not life.name.startswith(WORKER)]

    def _workers(self) -> Life:
        return together("all workers", [life for life in self.lives if life.name.startswith(WORKER)])

    def processes(self) -> list[str]:
        """Return the table of the processes as Markdown; of several lives the worst figures.

        The rows of the workers have the handles and threads that all of them gained together.
        """
        head = (
            "process",
            "lives",
            "minutes",
            "MB at the end",
            "MB per hour",
            "handles gained",
            "threads gained",
        )
        names = dict.fromkeys(life.name for life in self.lives)
        rows = [self._row(name, [life for life in self.lives if life.name == name]) for name in names]
        return markdown(head, rows, left={0})

    def _row(self, name: str, lives: Sequence[Life]) -> tuple[str, ...]:
        counted = [self._workers()] if name.startswith(WORKER) else lives
        return (
            name,
            str(len(lives)),
            f"{max(life.seconds for life in lives) / 60:.1f}",
            _worst((life.megabytes() for life in lives), ".0f"),
            _worst((life.slope() for life in lives), "+.2f"),
            _worst((life.handles_gained() for life in counted), "d"),
            _worst((life.threads_gained() for life in counted), "d"),
        )

    def faults(self) -> list[str]:
        """Return the table of the faults as Markdown."""
        rows = [(kind, str(len(all_)), f"{max(all_):.1f}") for kind, all_ in sorted(self.recoveries.items())]
        return markdown(("fault", "times", "seconds to recover"), rows, left={0})

    def page(self, text: str, where: str) -> str:
        """Return the page with the results between its two marks."""
        intro = f"Measured on {where}: {self.summary()}"
        return between(text, BEGIN, END, [intro, "", *self.processes(), "", *self.faults()])


def _worst(values: Iterable[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return format(max(known), form) if known else "–"
