"""Gaps in a market's ticks: longer than a minute, and much longer than its usual pause."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cryptometrics.market.pauses import after_gaps

START = datetime(2026, 7, 1, 12, tzinfo=UTC)


def gaps(pauses: list[float], session_starts: set[int] | None = None) -> list[int]:
    """Return the gaps of single ticks, that are so many seconds apart."""
    times = [START]
    for pause in pauses:
        times.append(times[-1] + timedelta(seconds=pause))
    return after_gaps(times, times, [1] * len(times), session_starts or set())


def test_a_busy_market_has_a_gap_after_more_than_a_minute() -> None:
    assert gaps([1, 1, 60, 1, 60.000001, 1, 1, 1, 1]) == [5]


def test_a_market_that_pauses_often_has_a_gap_after_twenty_usual_pauses() -> None:
    assert gaps([10, 10, 200, 10, 200.000001, 10, 10, 10, 10]) == [5]


def test_three_of_four_pauses_are_at_most_the_usual_one() -> None:
    """So the pauses between bursts of ticks are no gaps, unless they are rare."""
    assert gaps([1, 1, 1, 1, 1, 10, 90, 10]) == []
    assert gaps([1, 1, 1, 1, 1, 1, 90, 10]) == [7]


def test_ticks_inside_of_buckets_count_as_often_as_they_are() -> None:
    ends = START + timedelta(seconds=40)  # five ticks, 10 s apart
    later = ends + timedelta(seconds=200)
    assert after_gaps([START, later], [ends, later], [5, 1]) == []
    later = ends + timedelta(seconds=201)
    assert after_gaps([START, later], [ends, later], [5, 1]) == [1]


def test_three_ticks_have_two_pauses() -> None:
    """Two of 10 s are two of three pauses, and the third is then the usual one."""
    ends = START + timedelta(seconds=20)
    later = ends + timedelta(seconds=300)
    assert after_gaps([START, later], [ends, later], [3, 1]) == []


def test_four_ticks_have_three_pauses() -> None:
    """Three of 10 s are three of four pauses, so the usual one is theirs."""
    ends = START + timedelta(seconds=30)
    later = ends + timedelta(seconds=201)
    assert after_gaps([START, later], [ends, later], [4, 1]) == [1]


def test_two_ticks_have_one_pause() -> None:
    """Of 20 s: so 400 s are not longer than twenty usual pauses."""
    ends = START + timedelta(seconds=20)
    for pause, found in ((400, []), (401, [1])):
        later = ends + timedelta(seconds=pause)
        assert after_gaps([START, later], [ends, later], [2, 1], {1}) == found


def test_the_pause_before_a_session_is_not_usual_but_can_be_a_gap() -> None:
    assert gaps([90, 1], {1}) == [1]
    assert gaps([90, 90, 90, 1, 1], {1, 2, 3}) == [1, 2, 3]
    assert gaps([90, 90, 90, 1, 1]) == []


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        after_gaps([START, START], [START, START], [1])
    with pytest.raises(ValueError, match="zip"):
        after_gaps([START, START], [START], [1, 1])


def test_without_a_pause_there_is_no_gap() -> None:
    assert gaps([]) == after_gaps([], [], []) == []
    assert gaps([60]) == []
    assert gaps([61], {1}) == [1]
