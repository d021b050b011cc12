"""A simulated day is plausible at any rate, and its prices are the same at all of them."""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import msgspec
import numpy as np
import pytest

from cryptometrics.feeds.simulator import DEFAULT_PAIRS
from tests.unit.feeds.streams import simulation

pytestmark = pytest.mark.slow

MINUTES = 1440
DAY = 86_400
A_YEAR = math.sqrt(525_960)
"""Makes the standard deviation of minutes that of a year."""
RATES = (Fraction(1, 20), Fraction(1), Fraction(4), Fraction(10))
"""Ticks per second over all pairs."""
PAIRS = (*DEFAULT_PAIRS, "ETH-BTC")


class Quote(msgspec.Struct):
    product_id: str
    best_bid: str
    best_ask: str


class Day:
    """The last mid price and the mean spread of each minute; NaN for a minute without ticks."""

    def __init__(self, rate: Fraction) -> None:
        read = msgspec.json.Decoder(Quote).decode
        columns = {pair: ([math.nan] * MINUTES, [0.0] * MINUTES, [0] * MINUTES) for pair in PAIRS}
        number, a_minute = 0, int(60 * rate)
        for block in simulation(int(DAY * rate), pairs=PAIRS, step=10**6 / rate, seed=18).blocks():
            for _, value in block:
                quote = read(value or b"")
                closes, spreads, ticks = columns[quote.product_id]
                minute = number // a_minute
                bid, ask = float(quote.best_bid), float(quote.best_ask)
                closes[minute] = (bid + ask) / 2
                spreads[minute] += (ask - bid) / bid
                ticks[minute] += 1
                number += 1
        self.closes = {pair: np.array(column[0]) for pair, column in columns.items()}
        with np.errstate(invalid="ignore"):
            self.spreads = {
                pair: np.array(column[1]) / np.array(column[2]) for pair, column in columns.items()
            }

    def returns(self, pair: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Return the returns of the minutes, with the last close for a minute without ticks."""
        closes = self.closes[pair]
        places = np.maximum.accumulate(np.where(np.isnan(closes), 0, np.arange(MINUTES)))
        filled = closes[places]
        filled = np.where(np.isnan(filled), closes[np.flatnonzero(~np.isnan(closes))[0]], filled)
        return np.diff(np.log(filled))


day = functools.cache(Day)


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_a_day_is_plausible_at_any_rate(rate: Fraction) -> None:
    found = day(rate)
    for pair in DEFAULT_PAIRS:
        assert found.returns(pair).std() * A_YEAR < 1.5
    returns = found.returns("BTC-USD")
    assert 0.4 < returns.std() * A_YEAR < 0.8
    squares = (returns - returns.mean()) ** 2
    assert (squares**2).mean() / squares.mean() ** 2 - 3 > 1
    assert np.corrcoef(squares[1:], squares[:-1])[0, 1] > 0
    parts = np.lib.stride_tricks.sliding_window_view(returns, 120)[::10]
    assert 0.3 < parts.std(axis=1).min() * A_YEAR < parts.std(axis=1).max() * A_YEAR < 1.0


@pytest.mark.parametrize("rate", [rate for rate in RATES if rate >= 10], ids=str)
def test_the_market_moves_together(rate: Fraction) -> None:
    found = day(rate)
    bitcoin = found.returns("BTC-USD")
    for pair in DEFAULT_PAIRS[1:]:
        returns = found.returns(pair)
        assert 0.5 < np.corrcoef(bitcoin, returns)[0, 1] < 0.9
        for first in range(0, MINUTES - 121, 10):
            part = slice(first, first + 120)
            assert 0.35 < np.corrcoef(bitcoin[part], returns[part])[0, 1] < 0.95
    cross = found.closes["ETH-BTC"] / (found.closes["ETH-USD"] / found.closes["BTC-USD"])
    assert np.abs(cross - 1).max() < 20 / 10_000
    for pair in PAIRS:
        moves = np.abs(found.returns(pair))
        assert np.corrcoef(moves, found.spreads[pair][1:])[0, 1] > 0.25


def test_the_prices_are_the_same_at_any_rate() -> None:
    """Up to what a price moves between two ticks, and a part of the spread."""
    for pair in ("BTC-USD", "ETH-USD"):
        one, other = day(Fraction(4)).closes[pair], day(Fraction(10)).closes[pair]
        assert np.abs(one / other - 1).max() < 10 / 10_000
        slow = day(Fraction(1)).closes[pair]
        assert np.nanmean(np.abs(slow / one - 1)) < 3 / 10_000
