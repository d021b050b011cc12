"""Count the messages read in this process, for the progress line of a local runner."""

from __future__ import annotations

import threading

from cryptometrics.beam.folding import ReadCounts

_lock = threading.Lock()
_total = ReadCounts()


def add(counts: ReadCounts) -> None:
    """Add the counts of a poll."""
    global _total  # noqa: PLW0603
    with _lock:
        _total = _total.plus(counts)


def total() -> ReadCounts:
    """Return the counts since the process began."""
    return _total
