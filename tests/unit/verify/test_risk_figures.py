"""The figures of `verify` against those of the room of risk: two ways to compute the same."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cryptometrics.risk.figures import FigureSettings, core_figures
from cryptometrics.risk.minutes import Bars
from cryptometrics.risk.pair_minutes import PairMinutes, cut_to_range
from cryptometrics.verify.risk_figures import RANGES, Figures, Minutes

N = 3200


def random_minutes(seed: int, empty: float, heard: float) -> PairMinutes:
    """Return minutes of a random walk, of which a part is empty and a part of those was heard."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.standard_t(4, N) * 0.0005))
    opens = np.append(100.0, close[:-1]) * np.exp(random.normal(0, 0.0001, N))
    high = np.maximum(opens, close) * np.exp(np.abs(random.normal(0, 0.0002, N)))
    low = np.minimum(opens, close) * np.exp(-np.abs(random.normal(0, 0.0002, N)))
    flat = slice(2000, 2100)
    for prices in (opens, high, low, close):
        prices[flat] = close[2000]
    missing = random.random(N) < empty
    for prices in (opens, high, low, close):
        prices[missing] = np.nan
    was_heard = random.random(N) < heard
    return PairMinutes(
        Bars(opens, high, low, close), np.where(missing, 0, 3), was_heard, ~was_heard & missing, ~was_heard
    )


@pytest.mark.parametrize(
    ("empty", "heard"), [(0.0, 1.0), (0.3, 1.0), (0.02, 0.5), (0.3, 0.9), (0.9, 0.99), (1.0, 0.0)]
)
@pytest.mark.parametrize("length", RANGES.values(), ids=RANGES)
def test_both_ways_give_the_same_figures(empty: float, heard: float, length: int) -> None:
    minutes = random_minutes(7, empty, heard)
    bars = minutes.bars
    again = Minutes(
        np.array([bars.open, bars.high, bars.low, bars.close]), minutes.ticks, minutes.heard, minutes.gap
    )
    for end in (1, 2, 20, 90, 104, 700, 1530, 2095, 2105, 2200, N):
        until = PairMinutes(
            Bars(*(prices[:end] for prices in (bars.open, bars.high, bars.low, bars.close))),
            minutes.ticks[:end],
            *(marks[:end] for marks in (minutes.heard, minutes.gap, minutes.unverified)),
        )
        core = core_figures(cut_to_range(until, length), FigureSettings())
        found = again.figures(end, length)
        for name in Figures._fields:
            one, other = getattr(core, name), getattr(found, name)
            if one is None or other is None:
                assert one is other, (end, name)
            else:
                assert math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-15), (end, name, one, other)


def test_a_day_of_minutes_gives_every_figure() -> None:
    minutes = random_minutes(7, 0.1, 1.0)
    bars = minutes.bars
    prices = np.array([bars.open, bars.high, bars.low, bars.close])
    found = Minutes(prices, minutes.ticks, minutes.heard, minutes.gap).figures(N, 1440)
    assert None not in found
