"""Parse columns of text into columns of whole numbers: prices, sizes, and times in microseconds.

Only the plain forms that an exchange sends all day are parsed. Any other text is reported as odd: it may
still be valid, which `tick_decoder` decides.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.times import EPOCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]

MAX_PLAIN_CHARS = 18
"""Length of a plain price or size; as many digits fit into 64 bits."""
NOTHING = -1
"""In a column of optional numbers: the text is empty."""
DAY_US = 86_400_000_000
"""Microseconds of a day."""

_NEWLINE, _POINT, _ZERO = b"\n.0"
_PLAIN_TIME = "2009-01-01T00:00:00.000000Z"
_LINE = len(_PLAIN_TIME) + 1
_SEPARATORS = [place for place, character in enumerate(_PLAIN_TIME) if not character.isdigit()]
_SEPARATOR_VALUES = np.array([ord(_PLAIN_TIME[place]) for place in _SEPARATORS], np.uint8)
_DIGITS = [place for place, character in enumerate(_PLAIN_TIME) if character.isdigit()]
_EPOCH = EPOCH.toordinal()


def prices(texts: Sequence[str]) -> tuple[Ints, Ints, Flags]:
    """Return the digits of each price as a number, its decimal places, and whether the text is odd.

    "64441.10" becomes 6444110 and 2. A plain price has 1 to 18 characters and digits on both sides of at most
    one point, and is not zero. The numbers of an odd text are meaningless.
    """
    digits, places, _, odd = _decimals(texts)
    return digits, places, odd | (digits == 0)


def optional(texts: Sequence[str]) -> tuple[Ints, Ints, Flags]:
    """Return the same of decimals that may be zero, and NOTHING for the digits of an empty text."""
    if not any(texts):  # one look at the first text, as a rule
        count = len(texts)
        return np.full(count, NOTHING), np.zeros(count, np.int64), np.zeros(count, np.bool_)
    digits, places, empty, odd = _decimals(texts)
    if empty.any():
        digits[empty] = NOTHING
        odd &= ~empty
    return digits, places, odd


def _decimals(texts: Sequence[str]) -> tuple[Ints, Ints, Flags, Flags]:
    """Return digits, decimal places, whether the text is empty, and whether it is odd, as an empty one is."""
    count = len(texts)
    raw = ("\n".join(texts) + "\n").encode()
    characters = np.frombuffer(raw, np.uint8)
    marks = np.flatnonzero(characters - _ZERO > 9)  # what is no digit; below zero, bytes wrap around
    values = characters[marks]
    if len(marks) == 2 * count and values.tobytes() == b".\n" * count:  # one point in each text, as a rule
        ends, points = marks[1::2], marks[::2]
        after = ends - points
        odd = np.zeros(count, np.bool_)
    else:
        is_end = values == _NEWLINE
        ends = marks[is_end]
        if len(ends) != count:  # a text with a line break: the column cannot be split
            zeros = np.zeros(count, np.int64)
            return zeros, zeros.copy(), np.zeros(count, np.bool_), np.ones(count, np.bool_)
        after, odd = _points(marks, values, ends, is_end)
    lengths = np.diff(ends, prepend=-1) - 1
    odd |= (lengths == after) | (after == 1) | (lengths > MAX_PLAIN_CHARS)
    if odd.any():
        plain = (("0" if is_odd else text) for text, is_odd in zip(texts, odd.tolist(), strict=True))
        raw = ("\n".join(plain) + "\n").encode()
    digits = np.fromstring(raw.translate(None, b"."), np.int64, sep="\n")
    return digits, np.maximum(after - 1, 0), lengths == 0, odd


def _points(marks: Ints, values: NDArray[np.uint8], ends: Ints, is_end: Flags) -> tuple[Ints, Flags]:
    """Return the length of each text from its point on, 0 without one, and which texts have other marks.

    marks: the places of all that is no digit. values: the characters there. ends, is_end: the line breaks.
    """
    count = len(ends)
    text: Ints = np.cumsum(is_end) - is_end  # the number of the text that each mark belongs to
    is_point = values == _POINT
    pointed: Ints = text[is_point]
    after, odd = np.zeros(count, np.int64), np.zeros(count, np.bool_)
    after[pointed] = ends[pointed] - marks[is_point]
    odd[pointed[1:][pointed[1:] == pointed[:-1]]] = True
    if len(marks) != count + len(pointed):
        odd[text[~(is_end | is_point)]] = True
    return after, odd


def times(texts: Sequence[str]) -> tuple[Ints, Flags]:
    """Return the microseconds of each time since 1970 UTC, and whether the text is odd.

    A plain time exists and is written as 2026-01-31T23:59:59.123456Z.
    """
    count = len(texts)
    if not count:
        return np.zeros(0, np.int64), np.zeros(0, np.bool_)
    odd = np.zeros(count, np.bool_)
    raw = ("\n".join(texts) + "\n").encode()
    if not _aligned(raw, count):
        is_plain = [len(text) == _LINE - 1 and text.isascii() and "\n" not in text for text in texts]
        odd = ~np.array(is_plain)
        plain = (text if fits else _PLAIN_TIME for text, fits in zip(texts, is_plain, strict=True))
        raw = ("\n".join(plain) + "\n").encode()
    columns = np.ascontiguousarray(np.frombuffer(raw, np.uint8).reshape(count, _LINE).T)
    odd |= (columns[_SEPARATORS] != _SEPARATOR_VALUES[:, np.newaxis]).any(axis=0)
    digits = columns[_DIGITS] - _ZERO  # below zero, bytes wrap around
    odd |= (digits > 9).any(axis=0)
    days, hours, minutes, seconds, micros = (
        _number(digits[begin:end]) for begin, end in ((0, 8), (8, 10), (10, 12), (12, 14), (14, 20))
    )
    odd |= (hours > 23) | (minutes > 59) | (seconds > 59)
    ordinals, is_no_day = _ordinals(days)
    odd |= is_no_day
    return ordinals * DAY_US + ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros, odd


def _aligned(raw: bytes, count: int) -> bool:
    """Whether each text has the length of a plain time, so that all line breaks are evenly spaced."""
    return (
        len(raw) == count * _LINE and raw.count(b"\n") == count and raw[_LINE - 1 :: _LINE] == b"\n" * count
    )


def _number(digits: NDArray[np.uint8]) -> Ints:
    """Combine rows of digits, the highest first, into numbers."""
    number: Ints = digits[0].astype(np.int64)
    for row in digits[1:]:
        number *= 10
        number += row
    return number


def _ordinals(days: Ints) -> tuple[Ints, Flags]:
    """Return the days since 1970 of dates such as 20260131, and whether the calendar lacks the date."""
    first = days[0]
    known = [first] if (days == first).all() else np.unique(days)
    ordinals, missing = np.zeros(len(days), np.int64), np.zeros(len(days), np.bool_)
    for day in known:
        same = slice(None) if len(known) == 1 else days == day
        ordinal = _ordinal(int(day))
        if ordinal is None:
            missing[same] = True
        else:
            ordinals[same] = ordinal - _EPOCH
    return ordinals, missing


def _ordinal(day: int) -> int | None:
    try:
        return date(day // 10_000, day // 100 % 100, day % 100).toordinal()
    except ValueError:
        return None
