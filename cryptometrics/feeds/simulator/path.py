"""The latent prices: a path of each currency in event time, which ticks sample. Pure.

The path depends on the seed and on nothing else: not on the rate of the ticks, nor on the other currencies.
A coin follows a factor that all coins share, and a part of its own. Volatility clusters: storms last
some minutes, with 10 to 30 minutes between them, so returns over minutes have fat tails.
"""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cryptometrics.feeds.simulator.currencies import BITCOIN, currency
from cryptometrics.feeds.simulator.fixed_point import COARSE, OCTAVE, Curve, multiplier
from cryptometrics.feeds.simulator.scenarios import Effect

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cryptometrics.feeds.simulator.fixed_point import Whole
    from cryptometrics.feeds.simulator.scenarios import Conditions

SECOND = 1_000_000
"""Microseconds; the path has a point every second, and straight lines between them."""
CHUNK_S = 600
"""Seconds that are computed together."""
SPELL_S = 10
"""Seconds for which the volatility is constant."""
SPELLS = CHUNK_S // SPELL_S

CALM_STEP = 4_780
"""Move of the path in a calm second, per per cent of volatility and of share.

A year has 31,557,600 seconds, and storms add to calm: over a day, the volatility is the currency's own.
"""
STORM_PAUSE_S = (600, 1_800)
STORM_S = (130, 270)
"""Seconds at full strength; the storm then fades within as many."""
STORM_STRENGTH = (OCTAVE * 13 // 10, OCTAVE * 17 // 10)
OWN_WEATHER = 365
"""How much a currency's own volatility varies: by about an eighth."""
PULL_BITS = 16
"""Per chunk, 2^-16 of the distance to the start is undone: prices stay plausible over many years."""


class Sample(NamedTuple):
    """The market at the times of some ticks."""

    logarithms: Whole
    """Of each tick's price relative to the start, in 2^-FINE_BITS octaves."""
    weather: Whole
    """Logarithm of the base currency's volatility relative to a calm one, in OCTAVE units."""


class PricePath:
    """The paths of some currencies, computed as far as they are needed."""

    def __init__(self, seed: int, names: Sequence[str], conditions: Conditions) -> None:
        known = [currency(name) for name in names]
        self._conditions = conditions
        self._randoms = [_random(seed, name) for name in names]
        self._market = _random(seed, "market")
        self._coming = _storms(_random(seed, "storms"))
        self._storms = [next(self._coming)]
        """The storms that are not over, and the next one."""
        shares = [each.market_share for each in known]
        own = [math.isqrt(10_000 - share * share) for share in shares]
        steps = np.array([each.volatility * CALM_STEP for each in known], np.int64)[:, None]
        self._market_steps = steps * np.array(shares, np.int64)[:, None]
        self._own_steps = steps * np.array(own, np.int64)[:, None]
        # A fall of the market moves a coin by as much more as it is more volatile than Bitcoin.
        betas = [each.volatility * 256 // BITCOIN.volatility if each.market_share else 0 for each in known]
        self._betas = np.array(betas, np.int64)
        self._pegged = np.array([name == conditions.depegged for name in names], np.int64)
        self._begin = 0
        """Second at which the chunk begins."""
        self._ends = np.zeros(len(names), np.int64)
        self._past = np.stack([_normal(random, SPELLS) for random in self._randoms])
        self._compute()

    def sample(self, times: Whole, bases: Whole, quotes: Whole) -> Sample:
        """Return the market at each time, of the pair of these currencies.

        times: microseconds since the start, in ascending order, also from call to call.
        bases, quotes: places of the currencies.
        """
        logarithms, weather = np.empty_like(times), np.empty_like(times)
        begin = 0
        while begin < len(times):
            while times[begin] >= (self._begin + CHUNK_S) * SECOND:
                self._begin += CHUNK_S
                self._compute()
            end = int(np.searchsorted(times, (self._begin + CHUNK_S) * SECOND))
            part = slice(begin, end)
            seconds, rest = np.divmod(times[part] - self._begin * SECOND, SECOND)
            base, quote = bases[part], quotes[part]
            low, high = self._between(base, quote, seconds), self._between(base, quote, seconds + 1)
            logarithms[part] = low + (high - low) * rest // SECOND
            weather[part] = self._weather[base, seconds // SPELL_S]
            begin = end
        return Sample(logarithms + self._shifts(times, bases, quotes), weather)

    def _between(self, bases: Whole, quotes: Whole, seconds: Whole) -> Whole:
        return self._points[bases, seconds] - self._points[quotes, seconds]

    def _shifts(self, times: Whole, bases: Whole, quotes: Whole) -> Whole | int:
        """Return the logarithms that scenarios add."""
        shifts: Whole | int = 0
        for effect, weights, bits in ((Effect.MARKET, self._betas, 8), (Effect.PEG, self._pegged, 0)):
            values = self._conditions.at(effect, times)
            if values is not None:
                shifts = shifts + ((values * (weights[bases] - weights[quotes]) << COARSE) >> bits)
        return shifts

    def _compute(self) -> None:
        """Compute the chunk that begins at `_begin`."""
        spells = np.arange(self._begin, self._begin + CHUNK_S, SPELL_S, dtype=np.int64) * SECOND
        common = self._storm(spells)
        added = self._conditions.at(Effect.VOLATILITY, spells)
        if added is not None:
            common = common + added
        draws = np.stack([_normal(random, CHUNK_S + SPELLS) for random in self._randoms])
        moves, changes = draws[:, :CHUNK_S], draws[:, CHUNK_S:]
        # The sum of the last changes: it varies slowly and never far.
        sums = np.cumsum(np.concatenate((self._past, changes), axis=1), axis=1)
        self._past = changes
        self._weather = common + OWN_WEATHER * (sums[:, SPELLS:] - sums[:, :SPELLS])
        common_moves = _normal(self._market, CHUNK_S) * multiplier(common).repeat(SPELL_S)
        own_moves = moves * multiplier(self._weather).repeat(SPELL_S, axis=1)
        steps = common_moves * self._market_steps + own_moves * self._own_steps >> 16
        self._points = np.empty((len(self._randoms), CHUNK_S + 1), np.int64)
        self._points[:, 0] = self._ends
        self._points[:, 1:] = self._ends[:, None] + np.cumsum(steps, axis=1)
        ends = self._points[:, -1]
        self._ends = ends - (ends >> PULL_BITS)

    def _storm(self, times: Whole) -> Whole:
        """Return the logarithm of the volatility that storms add to all currencies."""
        while self._storms[-1].begin <= times[-1]:
            self._storms.append(next(self._coming))
        self._storms = [storm for storm in self._storms if storm.end > times[0]]
        total = np.zeros_like(times)
        for storm in self._storms:
            total += storm.curve.at(times)
        return total


class _Storm(NamedTuple):
    """A time of high volatility; microseconds since the start."""

    begin: int
    end: int
    curve: Curve


def _storms(random: Random) -> Iterator[_Storm]:
    begin = random.randrange(STORM_PAUSE_S[1])
    while True:
        length, strength = random.randrange(*STORM_S), random.randrange(*STORM_STRENGTH)
        points = [(begin, strength), (begin + length, strength), (begin + 2 * length, 0)]
        curve = Curve([(second * SECOND, value) for second, value in points])
        yield _Storm(begin * SECOND, points[-1][0] * SECOND, curve)
        begin += 2 * length + random.randrange(*STORM_PAUSE_S)


def _random(seed: int, name: str) -> Random:
    """Return a source of its own for each currency, so that none depends on which others there are."""
    return Random(f"{seed} {name}")  # noqa: S311  (a simulation must be repeatable, not secret)


def _normal(random: Random, count: int) -> Whole:
    """Return numbers that are nearly normal, of mean 0 and standard deviation 4: counted bits."""
    bits = np.frombuffer(random.randbytes(8 * count), "<u8")
    ones: Whole = np.bitwise_count(bits).astype(np.int64)
    return ones - 32
