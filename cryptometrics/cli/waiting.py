"""What is said on stderr while a service is waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics import log

if TYPE_CHECKING:
    from collections.abc import Callable


def waiting(service: str) -> Callable[[BaseException, float], None]:
    """Return a notice for `retry.retrying`: which service, why, and when the next attempt is."""

    def notice(error: BaseException, seconds: float) -> None:
        lines = str(error).strip().splitlines()
        log.get_logger().warning(
            "service_unavailable",
            service=service,
            error=lines[-1] if lines else repr(error),
            next_attempt_s=round(seconds, 1),
        )

    return notice
