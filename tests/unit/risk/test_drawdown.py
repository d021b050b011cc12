from __future__ import annotations

import math

import numpy as np
import pytest

from cryptometrics import risk
from cryptometrics.risk.drawdown import MaxDrawdown, largest_fall_of_bars, present_drawdown


def column(*prices: float) -> np.ndarray:
    return np.array(prices, dtype=np.float64)


def test_the_first_of_equal_falls_from_the_first_of_equal_peaks() -> None:
    assert risk.max_drawdown([10, 10, 8, 10, 8]) == MaxDrawdown(0.2, peak=0, trough=2)


def test_a_rise_has_no_drawdown() -> None:
    assert risk.max_drawdown([1, 2, 3]) == MaxDrawdown(0.0, peak=0, trough=0)


def test_without_prices_it_is_unknown() -> None:
    assert risk.max_drawdown([]) is None


@pytest.mark.parametrize("price", [0, -1])
def test_prices_must_be_positive(price: float) -> None:
    with pytest.raises(ValueError, match="positive prices"):
        risk.max_drawdown([1, price])


def test_a_low_counts_against_the_peak_before_its_minute() -> None:
    """The high of 20 and the low of 9 are in one minute, and nobody knows which came first."""
    found = largest_fall_of_bars(column(10, 11), column(12, 20), column(10, 9))
    assert found == MaxDrawdown((12 - 9) / 12, peak=0, trough=1)


def test_a_low_counts_against_the_open_of_its_own_minute() -> None:
    found = largest_fall_of_bars(column(10, 16), column(12, 20), column(10, 12))
    assert found == MaxDrawdown(0.25, peak=1, trough=1)


def test_the_high_raises_the_peak_for_the_next_minute() -> None:
    found = largest_fall_of_bars(column(10, 18), column(20, 18), column(10, 15))
    assert found == MaxDrawdown(0.25, peak=0, trough=1)


def test_minutes_without_a_price_are_left_out() -> None:
    nan = math.nan
    bars = column(nan, 10, nan, 8), column(nan, 10, nan, 8), column(nan, 10, nan, 8)
    assert largest_fall_of_bars(*bars) == MaxDrawdown(0.2, peak=1, trough=3)
    assert largest_fall_of_bars(column(nan), column(nan), column(nan)) is None


def test_the_present_drawdown_is_from_the_peak_of_the_range_to_the_newest_close() -> None:
    assert present_drawdown(column(10, 20, 12), column(10, 18, 15)) == 0.25
    assert present_drawdown(column(10, 20, math.nan), column(10, 18, math.nan)) == pytest.approx(0.1)
    assert present_drawdown(column(math.nan), column(math.nan)) is None
    assert present_drawdown(column(10), column(math.nan)) is None
    assert present_drawdown(column(math.nan), column(10)) is None


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="high has 2, close has 1"):
        present_drawdown(column(10, 11), column(10))
    with pytest.raises(ValueError, match="open has 1, high has 1, low has 2"):
        largest_fall_of_bars(column(10), column(10), column(10, 9))
