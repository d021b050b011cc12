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

_NEWLINE, _POINT, _ZERO, _NINE = b"\n.09"
_PLAIN_TIME = "2009-01-01T00:00:00.000000Z"
_LINE = len(_PLAIN_TIME) + 1
_SEPARATORS = [place for place, character in enumerate(_PLAIN_TIME) if not character.isdigit()]
_SEPARATOR_VALUES = np.array([ord(_PLAIN_TIME[place]) for place in _SEPARATORS], np.uint8)
_DIGITS = [place for place, character in enumerate(_PLAIN_TIME) if character.isdigit()]
_EPOCH = EPOCH.toordinal()


def prices(texts: Sequence[str]) -> tuple[Ints, Ints, Flags]:
    """Return the digits of each price as a number, its decimal places, and whether the text is odd.

    A price is a decimal as in `decimals`, and not zero.
    """
    digits, places, odd = decimals(texts)
    return digits, places, odd | (digits == 0)


def optional(texts: Sequence[str]) -> tuple[Ints, Ints, Flags]:
    """Return the same of decimals that may be zero, and NOTHING for the digits of an empty text."""
    if "" not in texts:
        return decimals(texts)
    count = len(texts)
    if not any(texts):
        return np.full(count, NOTHING), np.zeros(count, np.int64), np.zeros(count, np.bool_)
    digits, places, odd = decimals([text or "0" for text in texts])
    digits[[not text for text in texts]] = NOTHING
    return digits, places, odd


def decimals(texts: Sequence[str]) -> tuple[Ints, Ints, Flags]:
    """Return the digits of each decimal as a number, its decimal places, and whether the text is odd.

    "64441.10" becomes 6444110 and 2. A plain decimal has 1 to 18 characters and digits on both sides of at
    most one point. The numbers of an odd text are meaningless.
    """
    count = len(texts)
    text = "\n".join(texts) + "\n"
    characters = np.frombuffer(text.encode(), np.uint8)
    ends = np.flatnonzero(characters == _NEWLINE)
    if len(ends) != count:  # a text with a line break: the column cannot be split
        return np.zeros(count, np.int64), np.zeros(count, np.int64), np.ones(count, np.bool_)
    lengths = np.diff(ends, prepend=-1) - 1
    points = np.flatnonzero(characters == _POINT)
    pointed = np.searchsorted(ends, points)  # the text that each point belongs to
    after = np.zeros(count, np.int64)
    after[pointed] = ends[pointed] - points
    before = lengths - after
    odd = (before < 1) | (after == 1) | (lengths > MAX_PLAIN_CHARS)
    odd[pointed[1:][pointed[1:] == pointed[:-1]]] = True
    others = np.flatnonzero((characters < _ZERO) | (characters > _NINE))
    if len(others) != count + len(points):
        values = characters[others]
        odd[np.searchsorted(ends, others[(values != _NEWLINE) & (values != _POINT)])] = True
    if odd.any():
        plain = (("0" if is_odd else text) for text, is_odd in zip(texts, odd.tolist(), strict=True))
        text = "\n".join(plain) + "\n"
    digits = np.fromstring(text.replace(".", ""), np.int64, sep="\n")
    return digits, np.maximum(after - 1, 0), odd


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
    lines = np.frombuffer(raw, np.uint8).reshape(count, _LINE)
    odd |= (lines[:, _SEPARATORS] != _SEPARATOR_VALUES).any(axis=1)
    digits = lines[:, _DIGITS].astype(np.int64) - _ZERO
    odd |= ((digits < 0) | (digits > 9)).any(axis=1)
    days, hours, minutes, seconds, micros = (
        _number(digits, begin, end) for begin, end in ((0, 8), (8, 10), (10, 12), (12, 14), (14, 20))
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


def _number(digits: Ints, begin: int, end: int) -> Ints:
    """Combine columns of digits into numbers."""
    number: Ints = digits[:, begin]
    for place in range(begin + 1, end):
        number = number * 10 + digits[:, place]
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
