"""Columns of exact numbers: whole numbers of a common unit, in 64 bits where they fit and else of any size.

PostgreSQL's `numeric` is a row of digits in base 10,000. A column here is the whole number of units
10,000 ** -places, and `places` is the same for all numbers that are compared or added. Where one of them does
not fit into 64 bits with room for a sum, the array holds Python's own integers (dtype object): the same
operations, slower, and still exact. Floats are never involved. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cryptometrics.verify.byte_words import Integers
    from cryptometrics.verify.copy_blocks import CopyBlock

    Exact = NDArray[Any]
    """int64, or object with Python's integers."""

BASE = 10_000
MAX_DIGITS = 4
"""Digits in base 10,000 that are read at once; longer numbers are read one by one."""
MAX_FIXED = 2**61
"""Numbers below it in 64 bits can be added and subtracted once."""
NOT_A_NUMBER = 10**400
"""Stands for NaN, which PostgreSQL takes for greater than every number."""
INFINITE = 10**399

_POWERS = np.array([BASE**n for n in range(MAX_DIGITS)], np.int64)
_MASKS = np.array([2**64 - 2 ** (64 - 16 * n) for n in range(MAX_DIGITS + 1)], np.uint64)
_NEGATIVE, _NAN, _PLUS_INFINITY, _MINUS_INFINITY = 0x4000, 0xC000, 0xD000, 0xF000
_WIDE = Context(prec=1000)
_LOW_HALF = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of `numeric` as it was read: significands, and the place of the last of their digits."""

    significands: Integers
    """Up to four digits in base 10,000, negative numbers included. `weights` belongs to the first digit."""
    weights: Integers
    """The power of 10,000 of the first digit."""
    lowest: Integers
    """The power of 10,000 of the last digit; 0 for 0, NULL, and the numbers in `longer`."""
    is_null: NDArray[np.bool_]
    longer: dict[int, tuple[int, int]]
    """Row → digits as a whole number, and the power of 10,000 of the last one: no room in the arrays."""

    def __getitem__(self, part: slice) -> Numbers:
        begin, end, _ = part.indices(len(self.weights))
        longer = {row - begin: number for row, number in self.longer.items() if begin <= row < end}
        return Numbers(
            self.significands[part], self.weights[part], self.lowest[part], self.is_null[part], longer
        )

    def places(self) -> int:
        """Return how many places after the point, in base 10,000, hold all of the numbers."""
        lowest = min((place for _, place in self.longer.values()), default=0)
        return -min(int(self.lowest.min(initial=0)), lowest, 0)

    def scaled(self, places: int) -> Exact:
        """Return the numbers in units of 10,000 ** -places; NULL is 0. `places` must hold all of them."""
        powers = self.weights + (places - MAX_DIGITS + 1)
        highest = int(powers.max(initial=0))
        largest = int(np.abs(self.significands).max(initial=0)) * BASE ** max(highest, 0)
        if largest < MAX_FIXED and highest < MAX_DIGITS and not self.longer:
            if int(powers.min(initial=highest)) == highest:
                power = _POWERS[abs(highest)]
                whole: Exact = self.significands * power if highest >= 0 else self.significands // power
                return whole
            up, down = _POWERS[np.maximum(powers, 0)], _POWERS[np.maximum(-powers, 0)]
            return np.where(powers >= 0, self.significands * up, self.significands // down)
        numbers = np.array(
            [_shifted(s, p) for s, p in zip(self.significands.tolist(), powers.tolist(), strict=True)], object
        )
        for row, (digits, place) in self.longer.items():
            numbers[row] = digits if abs(digits) >= INFINITE else digits * BASE ** (place + places)
        return numbers


def _shifted(significand: int, power: int) -> int:
    """Multiply by 10,000 ** power; what a negative power cuts off is 0."""
    factor: int = BASE ** abs(power)
    return significand * factor if power >= 0 else significand // factor


def read_numbers(block: CopyBlock) -> Numbers:
    """Read the next field of a block, of type numeric."""
    begins, lengths = block.next_field()
    is_null = lengths < 0
    head, digits = block.words.at(begins), block.words.at(begins + 8)
    counts = (head >> np.uint64(48)).view(np.int64)
    weights = ((head << np.uint64(16)).view(np.int64)) >> 48
    signs = ((head >> np.uint64(16)) & np.uint64(0xFFFF)).view(np.int64)
    is_longer = (counts > MAX_DIGITS) | (signs > _NEGATIVE)
    if is_null.any():
        counts[is_null] = 0
        is_longer &= ~is_null
    longer = {}
    if is_longer.any():
        for row in np.flatnonzero(is_longer).tolist():
            longer[row] = _read_one(block.words.text(begins[row], begins[row] + lengths[row]))
        counts[is_longer] = 0
    digits = (digits & _MASKS[counts]).view(np.int64)
    low = 0xFFFF
    significands = (
        ((digits >> 48) & low) * BASE**3
        + ((digits >> 32) & low) * BASE**2
        + ((digits >> 16) & low) * BASE
        + (digits & low)
    )
    is_zero = counts == 0
    if is_zero.any():
        weights[is_zero] = 0
    lowest = weights - counts + 1
    lowest[is_zero] = 0
    is_negative = signs == _NEGATIVE
    if is_negative.any():
        significands[is_negative] *= -1
    return Numbers(significands, weights, lowest, is_null, longer)


def _read_one(field: bytes) -> tuple[int, int]:
    """Return the digits of one number as a whole number, and the power of 10,000 of the last one."""
    count, weight, sign = (int.from_bytes(field[at : at + 2], "big", signed=at == 2) for at in (0, 2, 4))
    if sign in {_NAN, _PLUS_INFINITY, _MINUS_INFINITY}:
        return {_NAN: NOT_A_NUMBER, _PLUS_INFINITY: INFINITE, _MINUS_INFINITY: -INFINITE}[sign], 0
    number = 0
    for at in range(8, 8 + 2 * count, 2):
        number = number * BASE + int.from_bytes(field[at : at + 2], "big")
    return (-number if sign == _NEGATIVE else number), weight - count + 1


def rescaled(numbers: Exact, places: int) -> Exact:
    """Return the numbers in a unit that is 10,000 ** places smaller."""
    if not places or not len(numbers):
        return numbers
    if numbers.dtype != object and int(np.abs(numbers).max()) >= MAX_FIXED // BASE**places:
        numbers = numbers.astype(object)
    larger: Exact = numbers * BASE**places
    return larger


def fits(number: int) -> bool:
    """Whether an array of 64 bits may take the number."""
    return -MAX_FIXED < number < MAX_FIXED


def sums(numbers: Exact, begins: Integers) -> Exact:
    """Return the sum of each part of the numbers; the parts begin at these indices."""
    if numbers.dtype != object and int(np.abs(numbers).max(initial=0)) >= MAX_FIXED // max(len(numbers), 1):
        # Both halves of the bits are summed up by themselves, so that only the sums need more than 64.
        low = np.add.reduceat(numbers & _LOW_HALF, begins)
        whole: Exact = np.add.reduceat(numbers >> 32, begins).astype(object) * 2**32 + low
        return whole
    total: Exact = np.add.reduceat(numbers, begins)
    return total


def as_decimal(number: int, places: int) -> Decimal:
    """Return a number of units of 10,000 ** -places as a Decimal without trailing zeros."""
    if abs(number) >= INFINITE:
        return Decimal("NaN") if number >= NOT_A_NUMBER else Decimal("Infinity").copy_sign(number)
    return Decimal(f"{Decimal(number).scaleb(-4 * places, _WIDE).normalize(_WIDE):f}")
