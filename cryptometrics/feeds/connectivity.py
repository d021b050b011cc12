"""Whether a feed is connected to its exchange: since when, or why not."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptometrics.errors import ServiceUnavailableError
from cryptometrics.times import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable


class Connectivity:
    """Follows the connections of a feed; as text, it is their state in one line."""

    def __init__(self, address: str, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without a connection; total: how many there will be."""
        self._address = address
        self._total = total
        self._clock = clock
        self._began = self._changed = clock()
        self._was_open = False
        self._reason = ""
        self.open = 0
        """Open connections."""

    @property
    def seconds(self) -> float:
        """Seconds since the feed began."""
        return self._clock() - self._began

    def opened(self) -> None:
        """Record that a connection was opened."""
        if not self.open:
            self._changed = self._clock()
        self.open += 1
        self._was_open = True

    def closed(self) -> None:
        """Record that a connection was closed."""
        self.open -= 1
        if not self.open:
            self._changed = self._clock()

    def failed(self, reason: str) -> None:
        """Record why a connection was lost or could not be opened."""
        self._reason = reason

    def __str__(self) -> str:
        """Return whether the feed is connected, since when, and why not."""
        since, why = _length(self._clock() - self._changed), f" ({self._reason})" if self._reason else ""
        if self.open == self._total:
            return f"connected for {since}"
        if self.open:
            return f"{self.open} of {self._total} connections open{why}"
        if self._was_open or self._reason:
            return f"not connected for {since}{why}"
        return f"connecting for {since}"

    def nothing_received(self) -> ServiceUnavailableError:
        """Return the error of a feed that ends before the first frame came."""
        why = f" ({self._reason})" if self._reason else ""
        return ServiceUnavailableError(
            f"nothing was received: the exchange at {self._address} did not answer for "
            f"{_length(self.seconds)}{why}: check the network and --url"
        )


def _length(seconds: float) -> str:
    return format_duration(timedelta(seconds=max(round(seconds), 1)))
