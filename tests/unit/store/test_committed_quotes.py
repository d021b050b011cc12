"""Ranges of event time from the minutes or days that hold new rows."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.store.committed_quotes import joined

START = datetime(2026, 1, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@given(st.sets(st.integers(0, 60)))
def test_ranges_hold_these_minutes_and_no_other(numbers: set[int]) -> None:
    ranges = joined([START + number * MINUTE for number in sorted(numbers)], MINUTE)
    held = {
        number
        for number in range(-1, 62)
        if any(since <= START + number * MINUTE < until for since, until in ranges)
    }
    assert held == numbers


@given(st.sets(st.integers(0, 60)))
def test_no_two_ranges_touch(numbers: set[int]) -> None:
    ranges = joined([START + number * MINUTE for number in sorted(numbers)], MINUTE)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ranges))
