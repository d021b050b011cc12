"""Read many numbers as they are written in messages, eight characters at a time. Pure.

A word holds eight characters. Its digits are joined to a number by three multiplications: pairs of digits,
pairs of these, and both halves. The point is taken out afterwards. The arrays hold unsigned integers, because
a number of 18 digits and its point need all 64 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cryptometrics.verify.byte_words import LAST, WORD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cryptometrics.verify.byte_words import ByteWords, Integers, Words

MAX_DIGITS = 18
"""Digits of a number in an array; longer numbers are not valid here."""


def _each(byte: int) -> np.uint64:
    """Return a word of equal bytes."""
    return np.uint64(int.from_bytes(bytes([byte]) * WORD, "big"))


_ZEROS = _each(ord("0"))
_POINTS = _each(ord(".") ^ ord("0"))
"""Points once the zeros were taken out."""
_HIGH = _each(0x80)
_OVER_NINE = _each(0x80 - 10)
"""Added to a byte, it sets the high bit of all but a digit's value."""
_OVER_ZERO = _each(0x80 - 1)
_PAIRS, _FOURS = np.uint64(0x00FF_00FF_00FF_00FF), np.uint64(0x0000_FFFF_0000_FFFF)
_POWERS = np.array([10**n for n in range(MAX_DIGITS + 2)], np.uint64)
_SEVEN, _EIGHT, _SIXTEEN, _HALF = (np.uint64(bits) for bits in (7, 8, 16, 32))
_LOW_HALF = np.uint64(2**32 - 1)
_ONE, _NINE, _TEN, _HUNDRED, _BASE = (np.uint64(number) for number in (1, 9, 10, 100, 10_000))


@dataclass(frozen=True, slots=True)
class WrittenNumbers:
    """Numbers as written in messages: all digits as a whole number, and how many follow the point."""

    digits: Integers
    decimals: Integers
    is_there: NDArray[np.bool_]

    def __getitem__(self, rows: Any) -> WrittenNumbers:
        return WrittenNumbers(self.digits[rows], self.decimals[rows], self.is_there[rows])


def read_numbers(words: ByteWords, begins: Integers, ends: Integers) -> WrittenNumbers:
    """Read numbers without a sign or an exponent: `is_there` where the text is one of at most 18 digits.

    The places may have any shape.
    """
    is_number = (ends > begins) & (ends - begins <= MAX_DIGITS + 1)
    lengths = np.minimum(ends - begins, MAX_DIGITS + 1)
    total = np.zeros(lengths.shape, np.uint64)
    decimals, points = np.zeros(lengths.shape, np.int64), np.zeros(lengths.shape, np.uint8)
    for place in range(0, int(lengths.max(initial=0)), WORD):
        kept = LAST[np.clip(lengths - place, 0, WORD)]
        digits = digit_values(words.at(np.maximum(ends - place - WORD, 0)), kept)
        point = ~((digits ^ _POINTS) + _OVER_ZERO) & _HIGH
        if point.any():
            points += np.bitwise_count(point)
            behind = np.bitwise_count((point & (~point + _ONE)) - _ONE) >> 3
            decimals = np.where(point > 0, place + behind, decimals)
            digits &= ~((point - (point >> _SEVEN)) | point)
        is_number &= are_digits(digits)
        total += joined_digits(digits) * _POWERS[place]
    if points.any():
        # A point counts as a zero so far: what stands before it is ten times as much as it should be.
        scale = np.where(points > 0, _POWERS[decimals], 0)
        whole = total // np.maximum(scale * _TEN, _ONE)
        total -= whole * scale * _NINE
        before = lengths - decimals - points
        is_number &= (points <= 1) & (before > 0) & ((points == 0) | (decimals > 0))
    is_number &= lengths - points <= MAX_DIGITS
    if not is_number.all():
        total[~is_number], decimals[~is_number] = 0, 0
    return WrittenNumbers(total.view(np.int64), decimals, is_number)


def read_integers(words: ByteWords, begins: Integers, ends: Integers) -> WrittenNumbers:
    """Read whole numbers in JSON's form, which has no leading zero: `is_there` where the text is one."""
    numbers = read_numbers(words, begins, ends)
    lengths = np.clip(ends - begins, 1, MAX_DIGITS)
    is_integer = numbers.is_there & (numbers.decimals == 0)
    is_integer &= (lengths == 1) | (numbers.digits >= _POWERS[lengths - 1].view(np.int64))
    return WrittenNumbers(numbers.digits, numbers.decimals, is_integer)


def digit_values(words: Words, kept: Words) -> Words:
    """Return the value of each digit in its byte, and 0 for the bytes that are not kept."""
    return (words & kept) ^ (_ZEROS & kept)


def are_digits(values: Words) -> NDArray[np.bool_]:
    """Return whether each word has nothing but the values of digits."""
    are: NDArray[np.bool_] = (values + _OVER_NINE) & _HIGH == 0
    return are


def joined_digits(digits: Words) -> Words:
    """Return the number of eight digits: one in each byte of a word."""
    pairs = ((digits >> _EIGHT) & _PAIRS) * _TEN + (digits & _PAIRS)
    fours = ((pairs >> _SIXTEEN) & _FOURS) * _HUNDRED + (pairs & _FOURS)
    return (fours >> _HALF) * _BASE + (fours & _LOW_HALF)
