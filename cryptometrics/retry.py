"""The one backoff, for every retry of the package.

Waits grow exponentially from 0.1 s to 5 s. Jitter spreads workers that lost the same service, so that they
do not all return at once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import tenacity

if TYPE_CHECKING:
    from collections.abc import Callable

MIN_WAIT_S = 0.1
"""Wait before the second attempt, without jitter."""
MAX_WAIT_S = 5.0


_waits = tenacity.wait_exponential_jitter(multiplier=MIN_WAIT_S, max=MAX_WAIT_S, jitter=MIN_WAIT_S)


def wait_after(failures: int) -> float:
    """Return the seconds to wait after this many consecutive failures (1 or more)."""
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

    on: errors to retry; any other error propagates at once.
    timeout: seconds in which attempts may begin; None retries forever. The last error propagates unchanged.
    notice: called with each error and the seconds until the next attempt.
    sleep: how to wait; a consumer passes a function that polls, so that it stays in its group.
    stop: called before each wait; if it returns True, the last error propagates.
    """
    stops: list[tenacity.stop.stop_base] = []
    if timeout is not None:
        stops.append(tenacity.stop_before_delay(timeout))

    def report(state: tenacity.RetryCallState) -> None:
        if notice is not None and state.outcome is not None and (error := state.outcome.exception()):
            notice(error, state.upcoming_sleep)

    def ended(state: tenacity.RetryCallState) -> bool:
        return any(rule(state) for rule in stops) or (stop is not None and stop())

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(on),
        wait=_waits,
        stop=ended,
        before_sleep=report,
        sleep=sleep,
        reraise=True,
    )
