"""Keep the memory of a command small: how often Python looks for garbage, and when freed memory goes back.

A lost connection leaves errors that refer to themselves through their tracebacks, and a backlog leaves holes
in the heap. In a command that runs for days neither may add up.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_START = 50_000
"""Net allocations before Python looks for garbage: imports make many objects that stay."""
TIDY_EVERY_S = 60.0


def start() -> None:
    """Look for garbage rarely; call it before anything is imported."""
    gc.set_threshold(AT_START)


@contextlib.contextmanager
def tidied() -> Iterator[None]:
    """Within the block, collect garbage and give freed memory back once a minute, in a thread of its own.

    What exists at the beginning is left out of every search, so each takes milliseconds.
    """
    gc.freeze()
    ended = threading.Event()
    thread = threading.Thread(target=_tidy, args=(ended,), name="memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _tidy(ended: threading.Event) -> None:
    import ctypes  # here, so that no other command waits for it

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it
    while not ended.wait(TIDY_EVERY_S):
        gc.collect()
        if trim is not None:
            trim(0)


def end() -> None:
    """Look no more; call it when the process ends. It would take a quarter of a chart's time."""
    gc.freeze()
