"""How many messages the readers of this process have read: for a progress line while a runner runs here."""

from __future__ import annotations

import threading

from cryptometrics.beam.folding import ReadCounts

_lock = threading.Lock()
_total = ReadCounts()


def add(counts: ReadCounts) -> None:
    """Count what a poll read."""
    global _total  # noqa: PLW0603
    with _lock:
        _total = _total.plus(counts)


def total() -> ReadCounts:
    """Return what was read since the process began."""
    return _total
