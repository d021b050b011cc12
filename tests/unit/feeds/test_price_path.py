"""The latent prices: plausible over any day and any two hours, and the same at any rate."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.feeds.simulator.currencies import LastQuote, levels_of
from cryptometrics.feeds.simulator.fixed_point import FINE_BITS, OCTAVE, Curve, multiplier, scaled
from cryptometrics.feeds.simulator.path import SECOND, PricePath
from cryptometrics.feeds.simulator.scenarios import Conditions
from tests.unit.feeds.streams import START

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAMES = ("USD", "BTC", "ETH", "SOL", "DOGE", "UNKNOWN")
MINUTES = 1440
A_YEAR = math.sqrt(525_960)
"""Makes the standard deviation of minutes that of a year."""


def path(seed: int) -> PricePath:
    return PricePath(seed, NAMES, Conditions((), ("BTC-USD",)))


def minute_returns(seed: int) -> NDArray[np.float64]:
    """Return the returns of each minute of a day in US dollars, a column for each currency but the dollar."""
    times = np.arange(MINUTES + 1, dtype=np.int64) * 60 * SECOND
    coins = len(NAMES) - 1
    bases = np.tile(np.arange(1, len(NAMES)), len(times))
    sample = path(seed).sample(np.repeat(times, coins), bases, np.zeros_like(bases))
    logarithms = sample.logarithms.reshape(-1, coins) / 2**FINE_BITS * math.log(2)
    return np.diff(logarithms, axis=0)


def correlation_with_bitcoin(returns: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([np.corrcoef(returns[:, 0], column)[0, 1] for column in returns.T[1:]])


@pytest.mark.parametrize("seed", range(20))
def test_any_day_and_any_two_hours_are_plausible(seed: int) -> None:
    returns = minute_returns(seed)
    volatility = returns.std(axis=0) * A_YEAR
    assert 0.4 < volatility[0] < 0.8
    assert volatility.max() < 1.5
    correlation = correlation_with_bitcoin(returns)
    assert 0.5 < correlation.min() < correlation.max() < 0.9
    squares = (returns - returns.mean(axis=0)) ** 2
    assert ((squares**2).mean(axis=0) / squares.mean(axis=0) ** 2 - 3).min() > 1
    assert min(np.corrcoef(column[1:], column[:-1])[0, 1] for column in squares.T) > 0
    for first in range(0, MINUTES - 120, 10):
        part = returns[first : first + 120]
        assert 0.3 < part[:, 0].std() * A_YEAR < 1.0
        correlation = correlation_with_bitcoin(part)
        assert 0.35 < correlation.min() < correlation.max() < 0.95


def test_any_sampling_sees_the_same_path() -> None:
    fine, coarse = path(3), path(3)
    times = np.arange(0, 3 * 3600 * SECOND, 700_000, dtype=np.int64)
    one = np.ones_like(times)
    at_once = fine.sample(times, one, 0 * one)
    for part in np.array_split(np.arange(len(times))[::17], 5):
        seen = coarse.sample(times[part], one[part], 0 * one[part])
        assert (seen.logarithms == at_once.logarithms[part]).all()
        assert (seen.weather == at_once.weather[part]).all()


def test_a_path_does_not_depend_on_the_other_currencies() -> None:
    times = np.arange(1000, dtype=np.int64) * 5 * SECOND
    one = np.ones_like(times)
    alone = PricePath(3, ("USD", "DOGE"), Conditions((), ("DOGE-USD",))).sample(times, one, 0 * one)
    assert (alone.logarithms == path(3).sample(times, 4 * one, 0 * one).logarithms).all()


# Whole numbers


@given(st.integers(1, 2**31 - 1), st.integers(-8, 20), st.floats(-8, 8))
def test_powers_are_nearly_exact(mantissa: int, exponent: int, logarithm: float) -> None:
    units = np.array([round(logarithm * 2**FINE_BITS)], np.int64)
    found = scaled(np.array([mantissa], np.int64), np.array([exponent], np.int64), units)[0]
    expected = mantissa * 2.0**exponent * 2.0**logarithm
    assert abs(found - expected) <= 1 + expected * 1e-8
    times = multiplier(np.array([round(logarithm * OCTAVE)], np.int64))[0]
    assert abs(times - OCTAVE * 2.0**logarithm) <= 1 + OCTAVE * 2.0**logarithm * 2e-5


def test_a_curve_is_0_before_it_and_constant_after_it() -> None:
    curve = Curve([(0, 0), (10, 100), (20, 100), (20, 5), (25, 0)])
    times = np.array([-1, 0, 1, 9, 10, 19, 20, 21, 25, 1000], np.int64)
    assert curve.at(times).tolist() == [0, 0, 10, 90, 100, 100, 5, 4, 0, 0]
    assert Curve([(0, 7), (3, 7), (3, 0)]).at(np.array([-1, 0, 2, 3], np.int64)).tolist() == [0, 7, 7, 0]


# Levels


def quote(price: str, decimals: int = 2) -> LastQuote:
    return LastQuote(Fraction(price), decimals, 1, START)


def test_levels_follow_the_last_quotes() -> None:
    last = {"ETH-BTC": quote("0.05", 5), "BTC-USD": quote("60000.015")}
    levels = levels_of(("BTC-USD", "ETH-USD", "ETH-BTC", "SOL-USD"), last)
    assert levels["BTC-USD"] == (2, 6_000_002)
    assert levels["ETH-USD"] == (2, 300_000)  # follows from the other two
    assert levels["ETH-BTC"] == (5, 5_000)
    assert levels["SOL-USD"] == levels_of(["SOL-USD"], {})["SOL-USD"]


def test_pairs_without_a_way_to_the_dollar_keep_their_last_price() -> None:
    last = {"AAA-BBB": quote("3.5"), "CCC-BBB": quote("7", 3), "USD-DDD": quote("4")}
    levels = levels_of(last, last)
    assert levels == {"AAA-BBB": (2, 350), "CCC-BBB": (3, 7_000), "USD-DDD": (2, 400)}
