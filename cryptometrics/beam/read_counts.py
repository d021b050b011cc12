"""Count the messages read: for the progress line of a local runner, and in Beam's metrics."""

from __future__ import annotations

import threading

from apache_beam.metrics import Metrics

from cryptometrics.beam.folding import ReadCounts

_lock = threading.Lock()
_total = ReadCounts()


class Counters:
    """Beam's counters of a reader, by the outcomes of its messages."""

    def __init__(self) -> None:
        names = (name for name in ReadCounts._fields if name != "too_late")
        self._counters = {name: Metrics.counter("aggregate", name) for name in names}

    def add(self, counts: ReadCounts) -> None:
        """Add the counts of a poll, also to those of this process."""
        add(counts)
        for name, counter in self._counters.items():
            if number := getattr(counts, name):
                counter.inc(number)


def add(counts: ReadCounts) -> None:
    """Add the counts of a poll to those of this process."""
    global _total  # noqa: PLW0603
    with _lock:
        _total = _total.plus(counts)


def total() -> ReadCounts:
    """Return the counts since the process began."""
    return _total
