"""Whole-number arithmetic for prices: powers of two, and curves of straight lines. Pure.

Logarithms are to the base 2, in whole units: OCTAVE units are a factor of two. Without floats, every machine
computes the same numbers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Whole = NDArray[np.int64]

OCTAVE = 1 << 16
"""The unit of curves and of the volatility."""
FINE_BITS = 40
"""Bits of an octave of the price path, whose steps are much smaller."""
COARSE = FINE_BITS - 16
"""Bits between the two units."""
POWER_BITS = 30
MAX_MANTISSA_BITS = 31

_TABLE_BITS = 12
_REST_BITS = 16


def _powers() -> Whole:
    """Return 2^(i / 4096) for i from 0 to 4096, times 2^30."""
    precision = 120
    root = 2 << precision
    for _ in range(_TABLE_BITS):
        root = math.isqrt(root << precision)
    values, power = [], 1 << precision
    for _ in range((1 << _TABLE_BITS) + 1):
        values.append(power >> precision - POWER_BITS)
        power = power * root >> precision
    return np.array(values, np.int64)


_POWERS = _powers()


def _fraction_and_shift(logarithms: Whole) -> tuple[Whole, Whole]:
    """Return 2^x as (power, shift): power · 2^-shift."""
    rest = logarithms & (1 << FINE_BITS) - 1
    place = rest >> FINE_BITS - _TABLE_BITS
    between = rest >> FINE_BITS - _TABLE_BITS - _REST_BITS & (1 << _REST_BITS) - 1
    low = _POWERS[place]
    power = low + ((_POWERS[place + 1] - low) * between >> _REST_BITS)
    return power, POWER_BITS - (logarithms >> FINE_BITS)


def scaled(mantissas: Whole, exponents: Whole, logarithms: Whole) -> Whole:
    """Return mantissa · 2^exponent · 2^x, rounded down; a mantissa has at most 31 bits.

    logarithms: x, in units of 1/2^FINE_BITS of an octave.
    """
    power, shift = _fraction_and_shift(logarithms)
    result: Whole = mantissas * power >> np.clip(shift - exponents, 0, 63)
    return result


def multiplier(logarithms: Whole) -> Whole:
    """Return 2^x times OCTAVE, rounded down; OCTAVE units of `logarithms` are an octave."""
    power, shift = _fraction_and_shift(logarithms << COARSE)
    result: Whole = power >> np.clip(shift - 16, 0, 63)
    return result


class Curve:
    """A function of time, made of straight lines: 0 before its first point, constant after its last one."""

    def __init__(self, points: Sequence[tuple[int, int]]) -> None:
        """points: (time, value), in order; two at the same time make a step."""
        self._times = np.array([time for time, _ in points], np.int64)
        self._values = np.array([0, *(value for _, value in points)], np.int64)
        lengths = np.diff(self._times, append=self._times[-1] + 1)
        self._begins = np.concatenate(([self._times[0]], self._times))
        self._lengths = np.concatenate(([1], np.maximum(lengths, 1)))
        self._rises = np.concatenate(([0], np.diff(self._values[1:]), [0]))

    def at(self, times: Whole) -> Whole:
        """Return the value at each time."""
        line = np.searchsorted(self._times, times, side="right")
        since = times - self._begins[line]
        return self._values[line] + self._rises[line] * since // self._lengths[line]
