"""Handle Ctrl-C and SIGTERM: stop at once, or let long work finish its current step."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, NoReturn

from cryptometrics.cli import memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_interrupts: list[int] = []


def interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    """Raise KeyboardInterrupt, like Python's handler of SIGINT, and record the signal.

    SIGTERM is treated the same: in both cases, unfinished work is rolled back.
    """
    _interrupts.append(number)
    raise KeyboardInterrupt


def interrupted() -> bool:
    """Return whether `interrupt` was called.

    If so, any error may be its consequence: KeyboardInterrupt can turn into another exception on its way.
    """
    return bool(_interrupts)


def exit_code() -> int:
    """Return the exit code of a stopped command: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + (_interrupts[-1] if _interrupts else signal.SIGINT)


def hang_up_as_terminate() -> None:
    """Treat SIGHUP, which a terminal sends when it closes, like SIGTERM: nothing may go on unseen."""
    signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))


@contextlib.contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether to stop; within the block, a second signal stops at once.

    Only commands that can run for long need it, so their memory is kept small within the block.
    """
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            interrupt(number, frame)
        asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with memory.tidied():
            yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
