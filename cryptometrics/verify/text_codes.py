"""Replace the texts of a block by numbers: equal texts have the same one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.verify.byte_words import WORD, words_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cryptometrics.verify.byte_words import Integers, Words
    from cryptometrics.verify.copy_blocks import CopyBlock

_FACTOR = np.uint64(0x9E3779B97F4A7C15)


class TextCodes:
    """The combinations of some text fields that were seen, in the order of their codes.

    A hash finds the code, and all bytes are compared with those of the code, so two texts with the same hash
    are still told apart.
    """

    def __init__(self, fields: int) -> None:
        self.texts: list[tuple[str, ...]] = []
        self._fields = fields
        self._codes: dict[bytes, int] = {}
        self._hashes: Words = np.zeros(0, np.uint64)
        self._code_of_hash: Integers = np.zeros(0, np.int64)
        self._words: Words = np.zeros((0, 0), np.uint64)

    def read(self, block: CopyBlock) -> Integers:
        """Read the next fields of a block, and return the code of their texts for each row."""
        begins, lengths = block.span(self._fields)
        words = block.words.of_text(begins, lengths)
        hashes = np.zeros(len(begins), np.uint64)
        for word in words:
            hashes = (hashes ^ word) * _FACTOR
            hashes ^= hashes >> np.uint64(29)
        codes = self._look_up(hashes)
        unlike = self._unlike(words, codes)
        if unlike.any():
            unlike_rows = np.flatnonzero(unlike)
            _, firsts = np.unique(hashes[unlike_rows], return_index=True)
            for row in unlike_rows[firsts].tolist():
                self._add(block.words.text(begins[row], begins[row] + lengths[row]), hashes[row])
            codes = self._look_up(hashes)
            for row in np.flatnonzero(self._unlike(words, codes)).tolist():
                codes[row] = self._add(block.words.text(begins[row], begins[row] + lengths[row]), None)
        return codes

    def _look_up(self, hashes: Words) -> Integers:
        if not len(self._hashes):
            return np.zeros(len(hashes), np.int64)
        at = np.searchsorted(self._hashes, hashes)
        return self._code_of_hash[np.minimum(at, len(self._hashes) - 1)]

    def _unlike(self, words: list[Words], codes: Integers) -> NDArray[np.bool_]:
        """Whether each row has other bytes than its code."""
        if len(self._words) < len(words):
            return np.ones(len(codes), np.bool_)
        unlike: NDArray[np.bool_] = words[0] != self._words[0][codes]
        for word, true in zip(words[1:], self._words[1:], strict=False):
            unlike |= word != true[codes]
        for true in self._words[len(words) :]:
            unlike |= true[codes] != 0
        return unlike

    def _add(self, texts: bytes, key: np.uint64 | None) -> int:
        """Return the code of the bytes of some fields; with a hash, make it find them."""
        code = self._codes.get(texts)
        if code is None:
            code = self._codes[texts] = len(self.texts)
            self.texts.append(_split(texts))
            count = max(len(known) for known in self._codes) // WORD + 1
            self._words = np.array([words_of(known, count) for known in self._codes], np.uint64).T.copy()
        # A known text has a new hash in a block whose longest text has another number of words.
        if key is not None and key not in self._hashes:
            at = int(np.searchsorted(self._hashes, key))
            self._hashes = np.insert(self._hashes, at, key)
            self._code_of_hash = np.insert(self._code_of_hash, at, code)
        return code


def _split(fields: bytes) -> tuple[str, ...]:
    texts, at = [], 0
    while at < len(fields):
        end = at + 4 + int.from_bytes(fields[at : at + 4], "big")
        texts.append(fields[at + 4 : end].decode())
        at = end
    return tuple(texts)
