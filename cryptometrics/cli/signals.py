"""Ctrl-C and SIGTERM: an end at once, or a wish that long work finishes what it has in hand."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_interrupts: list[int] = []


def interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    """Raise KeyboardInterrupt, as Python's own handler of SIGINT does, and remember it.

    For SIGTERM, too: what a command began is taken back either way.
    """
    _interrupts.append(number)
    raise KeyboardInterrupt


def interrupted() -> bool:
    """Whether `interrupt` was called.

    Then any error may be its consequence: an exception that finds a lock half taken becomes another one.
    """
    return bool(_interrupts)


def exit_code() -> int:
    """Return the exit code of a command that was stopped: 130 by Ctrl-C, 143 by SIGTERM."""
    return 128 + (_interrupts[-1] if _interrupts else signal.SIGINT)


@contextlib.contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Within the block, yield a function that says whether to stop; who asks twice is not kept waiting."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            interrupt(number, frame)
        asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
