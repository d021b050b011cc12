"""Share what is slow to compute among viewers: computed once, then kept for a moment."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

Key = TypeVar("Key", bound="Hashable")
Value = TypeVar("Value")

MAX_KEYS = 64


class Cache(Generic[Key, Value]):
    """Values by key, each for some seconds; viewers who ask at the same time wait for one computation."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._values: dict[Key, tuple[float, Value]] = {}
        self._lock = threading.Lock()

    def get(self, key: Key, compute: Callable[[], Value]) -> Value:
        """Return the value of a key; errors of `compute` propagate and are not kept."""
        with self._lock:
            at, value = self._values.get(key, (float("-inf"), None))
            if value is not None and self._clock() - at < self._seconds:
                return value
            computed = compute()
            while len(self._values) >= MAX_KEYS:
                self._values.pop(next(iter(self._values)))
            self._values[key] = self._clock(), computed
            return computed
