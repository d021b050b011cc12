"""Read eight bytes at any place of some data as one number, at many places at once. Pure.

The first byte is the highest of the number, so texts compare as they do byte by byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Words = NDArray[np.uint64]

WORD = 8
"""Bytes of a word."""
FIRST = np.array([2**64 - 2 ** (64 - 8 * n) for n in range(WORD + 1)], np.uint64)
"""Masks that keep the first n bytes of a word."""
LAST = np.array([2 ** (8 * n) - 1 for n in range(WORD + 1)], np.uint64)
"""Masks that keep the last n bytes of a word."""


class ByteWords:
    """The words of some data; no word may begin in its last seven bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        # One word begins at each byte. As bytes without a type they are gathered twice as fast.
        self._words = np.ndarray((len(data) - WORD + 1,), "V8", data, strides=(1,))

    def at(self, places: Integers) -> Words:
        """Return the word at each place."""
        return self._words[places].view(">u8").astype(np.uint64)

    def text(self, begin: int | np.int64, end: int | np.int64) -> bytes:
        """Return the bytes between two places."""
        return self._data[begin:end]

    def of_text(self, begins: Integers, lengths: Integers) -> list[Words]:
        """Return the words of each text, with zeros behind its end; as many as the longest text needs."""
        words = []
        for at in range(0, int(lengths.max(initial=0)), WORD):
            kept = np.clip(lengths - at, 0, WORD)
            words.append(self.at(np.where(kept > 0, begins + at, 0)) & FIRST[kept])
        return words


def words_of(text: bytes, count: int) -> list[int]:
    """Return the words of one text, with zeros behind its end."""
    padded = text.ljust(count * WORD, b"\0")
    return [int.from_bytes(padded[at : at + WORD], "big") for at in range(0, count * WORD, WORD)]
