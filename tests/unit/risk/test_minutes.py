from __future__ import annotations

import math

import numpy as np
import pytest

from cryptometrics.risk.minutes import (
    Bars,
    count_apart,
    coverage,
    every,
    fill_quiet_minutes,
    log_returns,
    simple_return,
)

NAN = math.nan


def closes(*prices: float) -> np.ndarray:
    return np.array(prices, dtype=np.float64)


def flat_bars(*prices: float) -> Bars:
    close = closes(*prices)
    return Bars(close, close + 1, close - 1, close)


def test_a_quiet_minute_has_a_flat_bar_at_the_last_close() -> None:
    bars = fill_quiet_minutes(flat_bars(10, NAN, NAN, 11), np.array([False, True, True, False]))
    assert bars.close.tolist() == [10, 10, 10, 11]
    assert bars.open.tolist() == bars.close.tolist()
    assert bars.high.tolist() == [11, 10, 10, 12]
    assert bars.low.tolist() == [9, 10, 10, 10]


def test_a_quiet_minute_after_an_unknown_one_is_unknown_until_the_next_tick() -> None:
    quiet = np.array([False, False, True, False, True])
    bars = fill_quiet_minutes(flat_bars(10, NAN, NAN, 11, NAN), quiet)
    np.testing.assert_equal(bars.close, closes(10, NAN, NAN, 11, 11))


def test_quiet_minutes_before_the_first_tick_are_unknown() -> None:
    for count in (1, 2, 3):
        bars = fill_quiet_minutes(flat_bars(*[NAN] * count, 10), np.array([True] * count + [False]))
        np.testing.assert_equal(bars.close, closes(*[NAN] * count, 10))


def test_a_tick_in_a_quiet_minute_stays() -> None:
    bars = fill_quiet_minutes(flat_bars(10, 12), np.array([True, True]))
    assert bars.close.tolist() == [10, 12]


def test_returns_across_an_unknown_minute_are_unknown_and_not_zero() -> None:
    np.testing.assert_equal(log_returns(closes(10, 20, NAN, 20, 20)), closes(math.log(2), NAN, NAN, 0))


def test_a_return_over_several_minutes_is_known_if_both_its_closes_are() -> None:
    found = log_returns(closes(10, NAN, 20, 40), 2)
    np.testing.assert_allclose(found, [math.log(2), NAN])


@pytest.mark.parametrize("step", [4, 5])
def test_there_is_no_return_longer_than_the_range(step: int) -> None:
    assert not len(log_returns(closes(1, 2, 3, 4), step))


def test_coverage_counts_minutes_with_a_price_or_heard_to_be_empty() -> None:
    ticked = np.array([True, False, False, False])
    assert coverage(ticked, np.array([True, True, False, False])) == 0.5
    assert coverage(np.array([], dtype=bool), np.array([], dtype=bool)) is None


def test_the_simple_return_needs_both_closes() -> None:
    assert simple_return(closes(10, 11, 12), 2) == pytest.approx(0.2)
    assert simple_return(closes(10, 10, 12), 1) == pytest.approx(0.2)
    assert simple_return(closes(NAN, 11, 12), 2) is None
    assert simple_return(closes(10, 11, NAN), 2) is None
    assert simple_return(closes(10, 11, 12), 3) is None


def test_the_grid_of_longer_bars_ends_with_the_newest_close() -> None:
    assert every(closes(1, 2, 3, 4, 5, 6), 5).tolist() == [1, 6]
    assert every(closes(1, 2, 3, 4, 5, 6), 2).tolist() == [2, 4, 6]
    assert every(closes(1, 2, 3), 1).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("known", "step", "count"),
    [("111111", 1, 6), ("111111", 2, 3), ("1110011", 3, 2), ("1000001", 7, 1), ("000", 1, 0)],
)
def test_returns_that_do_not_overlap_are_counted(known: str, step: int, count: int) -> None:
    assert count_apart(np.array([sign == "1" for sign in known]), step) == count


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="2 minutes and 1 labels"):
        fill_quiet_minutes(flat_bars(1, 2), np.array([True]))
    with pytest.raises(ValueError, match="1 minutes and 2 labels"):
        coverage(np.array([True]), np.array([True, False]))
    with pytest.raises(ValueError, match="step must be at least 1"):
        log_returns(closes(1, 2), 0)
    with pytest.raises(ValueError, match="minutes must be at least 1"):
        simple_return(closes(1, 2), 0)
    with pytest.raises(ValueError, match="bar must be at least 1"):
        every(closes(1, 2), 0)
