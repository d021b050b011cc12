"""How tests wait: for a condition, with a limit."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import Popen
    from typing import Any

T = TypeVar("T")

LIMIT_S = 60.0
"""Seconds that something may take on a busy machine; a test that passes waits far less."""
POLL_S = 0.02


def wait_until(
    condition: Callable[[], T],
    what: str | Callable[[], str],
    *,
    limit: float = LIMIT_S,
    poll: float = POLL_S,
    running: Popen[Any] | None = None,
) -> T:
    """Return the first true value of a condition; fail after `limit` seconds.

    `what` names the condition in the failure, as a function if its text depends on what was seen.
    If the process `running` ends before the condition is true, fail at once with its output.
    """
    is_over = deadline(limit)
    while True:
        ended = running is not None and running.poll() is not None
        if value := condition():
            return value
        assert not ended, f"ended before {_text(what)}: {running and running.communicate()}"
        assert not is_over(), f"not within {limit:g} s: {_text(what)}"
        time.sleep(poll)


def deadline(seconds: float = LIMIT_S) -> Callable[[], bool]:
    """Return a condition that becomes true when so many seconds have passed."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def _text(what: str | Callable[[], str]) -> str:
    return what if isinstance(what, str) else what()
