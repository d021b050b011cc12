"""The one backoff: every retry of the project waits by these rules.

Waits grow exponentially from a tenth of a second to five seconds, with jitter, so that many workers
that lost the same service do not come back in the same instant.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import tenacity

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_WAIT = 0.1
"""Seconds before the second attempt, about."""
LONGEST_WAIT = 5.0
"""Seconds between attempts at most."""


_waits = tenacity.wait_exponential_jitter(multiplier=FIRST_WAIT, max=LONGEST_WAIT, jitter=FIRST_WAIT)


def wait_after(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row (1 or more)."""
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = failures
    return _waits(state)


def retrying(
    on: type[Exception] | tuple[type[Exception], ...],
    *,
    timeout: float | None,
    notice: Callable[[BaseException, float], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    stop: Callable[[], bool] | None = None,
) -> tenacity.Retrying:
    """Return a retrier: iterate over it (`for attempt in …: with attempt: …`) or call it with a function.

    on: the errors worth another attempt; any other passes at once.
    timeout: seconds in which attempts may begin; None tries without end. The last error passes unchanged.
    notice: told each failure and the seconds until the next attempt.
    sleep: how to wait; a consumer passes one that keeps its place in the group meanwhile.
    stop: asked before each wait; when it says yes the last error passes.
    """
    stops: list[tenacity.stop.stop_base] = []
    if timeout is not None:
        stops.append(tenacity.stop_before_delay(timeout))

    def told(state: tenacity.RetryCallState) -> None:
        if notice is not None and state.outcome is not None and (error := state.outcome.exception()):
            notice(error, state.upcoming_sleep)

    def ended(state: tenacity.RetryCallState) -> bool:
        return any(rule(state) for rule in stops) or (stop is not None and stop())

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(on),
        wait=_waits,
        stop=ended,
        before_sleep=told,
        sleep=sleep,
        reraise=True,
    )
