"""The one backoff: growing, bounded, and over when it should be."""

from __future__ import annotations

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics import retry
from cryptometrics.retry import MAX_WAIT_S, MIN_WAIT_S, retrying, wait_after


class Flaky:
    """Fails so many times, then answers."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.calls = 0
        self._failures = failures
        self._error = error or ConnectionError("not yet")

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._failures:
            raise self._error
        return "answer"


@given(st.integers(1, 10_000))
def test_waits_grow_to_a_bound_with_some_jitter(failures: int) -> None:
    plain = min(MIN_WAIT_S * 2 ** min(failures - 1, 100), MAX_WAIT_S)
    assert plain <= wait_after(failures) <= min(plain + MIN_WAIT_S, MAX_WAIT_S)


def test_two_that_failed_together_do_not_come_back_together() -> None:
    assert len({wait_after(1) for _ in range(20)}) > 1


def test_it_tries_until_it_works_and_tells_each_failure() -> None:
    told: list[tuple[str, float]] = []
    slept: list[float] = []
    flaky = Flaky(3)
    attempts = retrying(
        ConnectionError,
        timeout=None,
        notice=lambda error, wait: told.append((str(error), wait)),
        sleep=slept.append,
    )
    assert attempts(flaky) == "answer"
    assert flaky.calls == 4
    assert [text for text, _ in told] == ["not yet"] * 3
    assert [wait for _, wait in told] == slept


def test_other_errors_pass_at_once() -> None:
    flaky = Flaky(3, ValueError("no use"))
    with pytest.raises(ValueError, match="no use"):
        retrying(ConnectionError, timeout=None, sleep=lambda _: None)(flaky)
    assert flaky.calls == 1


def test_several_kinds_may_be_worth_another_attempt() -> None:
    flaky = Flaky(2, ValueError("busy"))
    assert retrying((ConnectionError, ValueError), timeout=None, sleep=lambda _: None)(flaky) == "answer"


def test_after_its_time_the_last_error_passes_unchanged() -> None:
    flaky = Flaky(1_000_000)
    with pytest.raises(ConnectionError, match="not yet"):
        retrying(ConnectionError, timeout=0.25)(flaky)
    assert flaky.calls > 1


def test_a_limit_that_is_shorter_than_the_first_wait_means_one_attempt() -> None:
    flaky = Flaky(1)
    with pytest.raises(ConnectionError):
        retrying(ConnectionError, timeout=MIN_WAIT_S / 2)(flaky)
    assert flaky.calls == 1


def test_who_is_asked_to_stop_waits_no_more() -> None:
    slept: list[float] = []
    flaky = Flaky(1_000_000)
    with pytest.raises(ConnectionError):
        retrying(ConnectionError, timeout=None, sleep=slept.append, stop=lambda: len(slept) == 3)(flaky)
    assert (flaky.calls, len(slept)) == (4, 3)


def test_without_a_limit_it_goes_on() -> None:
    flaky = Flaky(500)
    assert retrying(ConnectionError, timeout=None, sleep=lambda _: None)(flaky) == "answer"


def test_no_wait_is_longer_than_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    retrying(ConnectionError, timeout=None, sleep=slept.append)(Flaky(40))
    assert max(slept) <= MAX_WAIT_S
    assert slept[-1] == MAX_WAIT_S
    assert isinstance(retry._waits, tenacity.wait_exponential_jitter)
