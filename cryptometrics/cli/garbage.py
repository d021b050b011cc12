"""How often Python looks for garbage that refers to itself: rarely at the start, often in a long run.

A lost connection leaves such garbage, mostly errors with their tracebacks. A command that runs for days must
not let it add up.
"""

from __future__ import annotations

import gc

AT_START = 50_000
"""Net allocations before the search: imports make many objects that stay."""
IN_LONG_RUN = 5_000


def search_rarely() -> None:
    """Start a command; call it before anything is imported."""
    gc.set_threshold(AT_START)


def search_often() -> None:
    """Begin a long run. What the start has made is left out of every search, so each of them is short."""
    gc.freeze()
    gc.set_threshold(IN_LONG_RUN)


def search_no_more() -> None:
    """End the process: a last search would take a quarter of a chart's time."""
    gc.freeze()
