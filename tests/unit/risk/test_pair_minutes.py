from __future__ import annotations

import math

import numpy as np
import pytest

from cryptometrics.risk.pair_minutes import (
    PairMinutes,
    begins_within,
    cut_to_range,
    joined,
    unknown_minutes,
    until,
)
from tests.unit.risk.pair_columns import pair_minutes

NAN = math.nan


def test_a_range_counts_its_own_minutes_only() -> None:
    minutes = pair_minutes([10, NAN, NAN, 11, NAN, NAN, 12], "vguvvgu")
    ranged = cut_to_range(minutes, 4)
    assert (ranged.minutes, ranged.minutes_with_ticks) == (4, 2)
    assert (ranged.gap_minutes, ranged.unverified_minutes) == (1, 1)
    assert ranged.coverage == 0.75  # two with a tick and a quiet one
    np.testing.assert_equal(ranged.range_bars.close, [11, 11, NAN, 12])


def test_the_close_of_a_quiet_minute_is_known_and_that_of_a_gap_is_not() -> None:
    found = pair_minutes([10, NAN, NAN, NAN, 11], "vvguv").known_closes()
    np.testing.assert_equal(found, [10, 10, NAN, NAN, 11])


def test_the_first_return_of_a_range_is_that_from_the_close_before_it() -> None:
    ranged = cut_to_range(pair_minutes([10, 20, 40]), 2)
    np.testing.assert_allclose(ranged.range_returns, [math.log(2), math.log(2)])
    assert ranged.closes.tolist() == [10, 20, 40]


def test_a_quiet_minute_at_the_start_of_a_range_carries_on_the_close_before_it() -> None:
    ranged = cut_to_range(pair_minutes([10, NAN, NAN, NAN, 20]), 2)
    assert ranged.range_bars.close.tolist() == [10, 20]
    np.testing.assert_allclose(ranged.range_returns, [0, math.log(2)])


def test_minutes_before_the_first_stored_one_are_unknown() -> None:
    ranged = cut_to_range(pair_minutes([10, 20]), 5)
    assert ranged.minutes == 5
    assert ranged.coverage == 0.4
    np.testing.assert_equal(ranged.closes, [NAN, NAN, NAN, NAN, 10, 20])


@pytest.mark.parametrize(("stored", "before"), [(0, 1), (1, 1), (3, 1), (4, 1), (5, 2), (2000, 1440)])
def test_before_a_range_lie_one_minute_at_least_and_a_day_at_most(stored: int, before: int) -> None:
    ranged = cut_to_range(pair_minutes([10.0] * stored), 3)
    assert (ranged.before, len(ranged.bars.close)) == (before, before + 3)


def test_without_a_minute_everything_is_unknown() -> None:
    ranged = cut_to_range(pair_minutes([]), 3)
    assert (ranged.minutes, ranged.minutes_with_ticks, ranged.coverage) == (3, 0, 0)
    assert np.isnan(ranged.range_returns).all()


@pytest.mark.parametrize("quiet", [1439, 1440])
def test_a_range_looks_a_day_back_however_much_is_read(quiet: int) -> None:
    one = cut_to_range(pair_minutes([10] + [NAN] * quiet + [20]), 1)
    other = cut_to_range(pair_minutes([9, 10] + [NAN] * quiet + [20]), 1)
    np.testing.assert_equal(one.bars.close[1:], other.bars.close[-len(one.bars.close) + 1 :])
    assert math.isnan(one.range_returns[0]) == (quiet == 1440)


@pytest.mark.parametrize(("newest", "left"), [(0, [1, 2, 3]), (1, [1, 2]), (3, []), (4, [])])
def test_the_newest_minutes_can_be_left_out(newest: int, left: list[float]) -> None:
    assert until(pair_minutes([1, 2, 3]), newest).bars.close.tolist() == left


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ValueError, match="range_minutes must be at least 1"):
        cut_to_range(pair_minutes([10]), 0)


@pytest.mark.parametrize(
    ("minutes", "begins"),
    [
        (pair_minutes([10, 20]), False),
        (joined(unknown_minutes(2), pair_minutes([10, 20])), True),
        (joined(unknown_minutes(1), pair_minutes([NAN, 20], "gv")), True),
        (pair_minutes([NAN, 20], "gv"), False),
        (pair_minutes([NAN, 20], "uv"), False),
        (pair_minutes([NAN, 20], "vv"), False),
        (unknown_minutes(3), False),  # there may be some before
        (unknown_minutes(0), False),
    ],
)
def test_the_first_minute_of_a_pair_is_found(minutes: PairMinutes, begins: bool) -> None:
    assert begins_within(minutes) is begins


@pytest.mark.parametrize(("asked", "given"), [(2, 2), (1, 1), (0, 0), (-1, 0), (-2, 0)])
def test_a_negative_count_of_unknown_minutes_is_none(asked: int, given: int) -> None:
    minutes = unknown_minutes(asked)
    assert len(minutes.ticks) == len(minutes.bars.close) == len(minutes.heard) == given
