"""Scenarios: what can go wrong in a market or in its feed, defined by depth, duration and recovery. Pure."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.errors import UserError
from cryptometrics.feeds.simulator.currencies import STABLECOINS, split
from cryptometrics.feeds.simulator.fixed_point import OCTAVE, Curve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from fractions import Fraction

    import numpy as np
    from numpy.typing import NDArray

    from cryptometrics.feeds.simulator.fixed_point import Whole

    Flags = NDArray[np.bool_]

_SECOND = 1_000_000


class Effect(enum.Enum):
    """Something that a scenario changes; the unit of its curve is in brackets."""

    MARKET = enum.auto()
    """Price of Bitcoin, and with it of the other coins (OCTAVE)."""
    PEG = enum.auto()
    """Price of the currency that loses its peg (OCTAVE)."""
    VOLATILITY = enum.auto()
    """Volatility of all prices; spreads follow it (OCTAVE)."""
    SPREAD = enum.auto()
    """Spreads of all pairs, beyond their volatility (OCTAVE)."""
    SIZE = enum.auto()
    """Sizes of all quotes and trades are halved this often (whole number)."""
    FROZEN = enum.auto()
    """Quotes do not change (0 or 1)."""
    SILENT = enum.auto()
    """The first pair is not traded (0 or 1)."""
    OUTAGE = enum.auto()
    """The feed receives nothing (0 or 1)."""
    CROSSED = enum.auto()
    """Bid and ask of the first pair are exchanged (0 or 1)."""
    CLOCK = enum.auto()
    """How far the exchange's clock is ahead (microseconds)."""
    SWEEP = enum.auto()
    """One sale that takes all bids of the first pair: not a curve but a moment (0 or 1)."""


class Scenario(NamedTuple):
    """What a scenario does; the texts say it to people, the curves do it. Their times begin at 0."""

    name: str
    depth: str
    duration: str
    recovery: str
    curves: Mapping[Effect, Curve]


class Scheduled(NamedTuple):
    """A scenario with the time when it begins, in microseconds after the stream's start."""

    scenario: Scenario
    at: int


def _octaves(factor: float) -> int:
    return round(math.log2(factor) * OCTAVE)


def _curve(*points: tuple[float, int]) -> Curve:
    """Return a curve through points; their times are in minutes."""
    return Curve([(round(minutes * 60 * _SECOND), value) for minutes, value in points])


def _during(minutes: float, value: int = 1) -> Curve:
    """Return a curve that has a value for some minutes and is 0 before and after."""
    return _curve((0, value), (minutes, value), (minutes, 0))


SWEEP_DEPTH = 20
"""How far below the best bid a fat finger sells, in per cent."""

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "flash-crash",
            "BTC-USD falls by 10 %, other coins by up to 18 % in proportion to their volatility; "
            "volatility × 2, spreads × 8, sizes ÷ 8",
            "falls for 1 min, stays down for 30 s",
            "80 % of the fall within 10 min, the rest never; the rest of the market within 10 min",
            {
                Effect.MARKET: _curve(
                    (0, 0), (1, _octaves(0.9)), (1.5, _octaves(0.9)), (11.5, _octaves(0.98))
                ),
                Effect.VOLATILITY: _curve((0, 0), (0, OCTAVE), (1.5, OCTAVE), (11.5, 0)),
                Effect.SPREAD: _curve((0, 0), (1, 2 * OCTAVE), (1.5, 2 * OCTAVE), (11.5, 0)),
                Effect.SIZE: _curve((0, 0), (1, 2), (1.5, 2), (11.5, 0)),
            },
        ),
        Scenario(
            "liquidity-drought",
            "spreads × 10, sizes ÷ 16, prices as usual",
            "drains for 1 min, lasts 10 min",
            "within 5 min",
            {
                Effect.SPREAD: _curve((0, 0), (1, _octaves(10)), (11, _octaves(10)), (16, 0)),
                Effect.SIZE: _curve((0, 0), (1, 4), (11, 4), (16, 0)),
            },
        ),
        Scenario(
            "depeg",
            "the first stablecoin, else the base currency of the last pair, falls by 8 % against all others",
            "falls for 10 min, stays down for 20 min",
            "within 30 min, all of it",
            {Effect.PEG: _curve((0, 0), (10, _octaves(0.92)), (30, _octaves(0.92)), (60, 0))},
        ),
        Scenario(
            "frozen-quotes",
            "ticks of all pairs go on with new times and trade ids, but prices and sizes do not change",
            "5 min",
            "at once, to the prices of the moment",
            {Effect.FROZEN: _during(5)},
        ),
        Scenario(
            "silence",
            "the first pair has no ticks; nothing is missed, so there is no gap record",
            "3 min",
            "at once; trade ids go on without a hole",
            {Effect.SILENT: _during(3)},
        ),
        Scenario(
            "outage",
            "no pair has ticks, while trades go on at the exchange",
            "2 min",
            "at once; each pair goes on with a gap record of kind `down` that has the missed trade ids",
            {Effect.OUTAGE: _during(2)},
        ),
        Scenario(
            "crossed-book",
            "the bid of the first pair is above its ask by the usual spread; such ticks are rejected",
            "1 min",
            "at once",
            {Effect.CROSSED: _during(1)},
        ),
        Scenario(
            "clock-skew",
            "event times of all pairs are 90 s ahead",
            "5 min",
            "at once: times go back by 90 s",
            {Effect.CLOCK: _during(5, 90 * _SECOND)},
        ),
        Scenario(
            "fat-finger",
            f"one sale of the largest size takes the bid of the first pair {SWEEP_DEPTH} % down, not the ask",
            "one tick of the pair",
            "with its next tick",
            {Effect.SWEEP: _during(0)},
        ),
        Scenario(
            "trend",
            "BTC-USD rises by 6 %, other coins in proportion to their volatility",
            "2 h, evenly",
            "none: prices stay up",
            {Effect.MARKET: _curve((0, 0), (120, _octaves(1.06)))},
        ),
        Scenario(
            "quiet",
            "volatility and spreads ÷ 8",
            "calms down for 1 min, lasts 30 min",
            "within 5 min",
            {Effect.VOLATILITY: _curve((0, 0), (1, -3 * OCTAVE), (31, -3 * OCTAVE), (36, 0))},
        ),
    )
}


def schedule(name: str, seconds: Fraction) -> Scheduled:
    """Return a scenario that begins this many seconds after the start; raise UserError if there is none."""
    scenario = SCENARIOS.get(name)
    if scenario is None:
        raise UserError(f"there is no scenario {name!r}: choose one of {', '.join(SCENARIOS)}")
    return Scheduled(scenario, int(seconds * _SECOND))


class Conditions:
    """What the scenarios of a stream change, at any time; times are microseconds after its start."""

    def __init__(self, scheduled: Iterable[Scheduled], pairs: Sequence[str]) -> None:
        self._scheduled = sorted(scheduled, key=lambda each: each.at)
        self.depegged = _depegged(pairs)
        """The currency that `depeg` concerns."""

    def begins(self, effect: Effect) -> list[int]:
        """Return when the scenarios with an effect begin."""
        return [each.at for each in self._scheduled if effect in each.scenario.curves]

    def at(self, effect: Effect, times: Whole) -> Whole | None:
        """Return the sum of an effect's curves at each time; None if no scenario has the effect."""
        total: Whole | None = None
        for scenario, at in self._scheduled:
            if effect in scenario.curves:
                values = scenario.curves[effect].at(times - at)
                total = values if total is None else total + values
        return total

    def holds(self, effect: Effect, times: Whole) -> Flags | None:
        """Return whether an effect holds at each time; None if it does at none."""
        values = self.at(effect, times)
        return values > 0 if values is not None and values.any() else None


def _depegged(pairs: Sequence[str]) -> str:
    names = [name for pair in pairs for name in split(pair)]
    return next((name for name in names if name in STABLECOINS), split(pairs[-1])[0])
