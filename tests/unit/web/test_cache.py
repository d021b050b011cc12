from __future__ import annotations

import pytest

from cryptometrics.web import cache
from cryptometrics.web.cache import Cache


def test_a_value_is_computed_once_and_again_when_it_is_old() -> None:
    now, computed = 0.0, []
    values: Cache[str, int] = Cache(5, clock=lambda: now)

    def compute() -> int:
        computed.append(now)
        return len(computed)

    assert [values.get("a", compute), values.get("a", compute), values.get("b", compute)] == [1, 1, 2]
    now = 5.0
    assert values.get("a", compute) == 3


def test_an_error_is_not_kept() -> None:
    values: Cache[str, int] = Cache(5)
    with pytest.raises(ZeroDivisionError):
        values.get("a", lambda: 1 // 0)
    assert values.get("a", lambda: 1) == 1


def test_the_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_KEYS", 2)
    values: Cache[int, int] = Cache(5)
    for key in range(10):
        values.get(key, lambda key=key: key)  # type: ignore[misc]
    assert len(values._values) <= 2
