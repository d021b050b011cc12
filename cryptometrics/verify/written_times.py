"""Read many times of the form 2026-07-01T12:00:00.123456Z, eight characters at a time. Pure."""

from __future__ import annotations

import calendar
import re
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.verify.byte_words import LAST, WORD, words_of
from cryptometrics.verify.written_numbers import are_digits, digit_values, joined_digits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cryptometrics.verify.byte_words import ByteWords, Integers, Words

MAX_FRACTION = 6
"""Digits of the fraction of a second."""
_WITHOUT_FRACTION = len("2026-07-01T12:00:00Z")
_DAY_US, _HOUR_US, _MINUTE_US, _SECOND_US = 86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000
_HIGH = np.uint64(0x8080_8080_8080_8080)
_LAST_BYTE, _EIGHT, _TEN = LAST[1], np.uint64(8), np.uint64(10)
_POWERS = np.array([10**n for n in range(MAX_FRACTION + 1)], np.int64)
_EPOCH = date(1970, 1, 1)


class _Form:
    """Eight characters of a time: `0` stands for a digit, `*` for any character, others for themselves."""

    def __init__(self, form: bytes) -> None:
        # Added to a byte, a limit sets its high bit unless the byte is a digit's value, or 0 for a mark.
        limits = bytes({ord("0"): 0x80 - 10, ord("*"): 0}.get(char, 0x80 - 1) for char in form)
        kept = bytes(0 if char == ord("*") else 0xFF for char in form)
        self._marks, self._limits, self._kept = (
            np.uint64(words_of(text, 1)[0]) for text in (form.replace(b"*", b"\0"), limits, kept)
        )

    def digits(self, words: Words) -> tuple[Words, NDArray[np.bool_]]:
        """Return the value of each digit in its byte, and whether each word has the form."""
        digits = (words & self._kept) ^ self._marks
        return digits, (digits + self._limits) & _HIGH == 0


_is_month = re.compile(rb"([0-9]{4})-([0-9]{2})-").fullmatch
_MINUTE = _Form(b"00T00:00")
_SECOND, _SECOND_AND_POINT = _Form(b":00Z****"), _Form(b":00.****")


def read_times(words: ByteWords, begins: Integers, ends: Integers) -> tuple[Integers, NDArray[np.bool_]]:
    """Return times in microseconds from the epoch, and whether each text is one with at most six decimals."""
    lengths = ends - begins
    decimals = np.clip(lengths - _WITHOUT_FRACTION - 1, 0, MAX_FRACTION)
    has_fraction = decimals > 0
    if not len(lengths):
        return lengths, lengths == 0
    first_day, days = _months(words.at(begins))
    minute, is_time = _MINUTE.digits(words.at(begins + WORD))
    rest = words.at(begins + 2 * WORD)
    second, has_form = _SECOND_AND_POINT.digits(rest)
    if not has_fraction.all():
        has_form = np.where(has_fraction, has_form, _SECOND.digits(rest)[1])
    is_time &= has_form
    tail = words.at(ends - WORD)
    fraction = digit_values(tail >> _EIGHT, LAST[decimals])
    is_time &= are_digits(fraction) & (tail & _LAST_BYTE == ord("Z"))
    is_time &= lengths == _WITHOUT_FRACTION + np.where(has_fraction, decimals + 1, 0)
    day, hour, minutes = _two_digits(minute, 0), _two_digits(minute, 3), _two_digits(minute, 6)
    seconds = _two_digits(second, 1)
    is_time &= (day >= 1) & (day <= days) & (hour < 24) & (minutes < 60) & (seconds < 60)
    time = (first_day + day - 1) * _DAY_US + hour * _HOUR_US + minutes * _MINUTE_US + seconds * _SECOND_US
    time += joined_digits(fraction).view(np.int64) * _POWERS[MAX_FRACTION - decimals]
    return np.where(is_time, time, 0), is_time


def _two_digits(values: Words, place: int) -> Integers:
    """Return the number of the two digits from a place of each word."""
    tens, ones = ((values >> np.uint64(8 * (WORD - 1 - at))) & _LAST_BYTE for at in (place, place + 1))
    number: Integers = (tens * _TEN + ones).view(np.int64)
    return number


def _months(words: Words) -> tuple[Integers, Integers]:
    """Return the first day of each month, counted from the epoch, and its days: 0 for no month."""
    if (words == words[0]).all():
        months, which = words[:1], np.zeros(len(words), np.int64)
    else:
        months, which = np.unique(words, return_inverse=True)
    table = np.array([_month(month.to_bytes(WORD, "big")) for month in months.tolist()], np.int64)
    return table[which, 0], table[which, 1]


def _month(text: bytes) -> tuple[int, int]:
    """Return the first day of a month, counted from the epoch, and its days."""
    found = _is_month(text)
    year, month = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (year and 1 <= month <= 12):
        return 0, 0
    return (date(year, month, 1) - _EPOCH).days, calendar.monthrange(year, month)[1]
