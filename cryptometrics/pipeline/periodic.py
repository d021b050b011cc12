"""What is to be done now and then in a loop that turns often."""

from __future__ import annotations

import time


class Due:
    """Says once every so many seconds that something is due."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = time.monotonic() + seconds

    def __call__(self) -> bool:
        """Whether it is due; asked again at once, it is not."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True
