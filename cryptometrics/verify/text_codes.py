"""Replace the texts of a block by numbers: equal texts have the same one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cryptometrics.verify.copy_blocks import CopyBlock, Integers, Words

_WORD = 8
_MASKS = np.array([2**64 - 2 ** (64 - 8 * n) for n in range(_WORD + 1)], np.uint64)
"""Keep the first bytes of a word."""
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
        words = _words(block, begins, lengths)
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
                self._add(block.bytes_at(int(begins[row]), int(lengths[row])), hashes[row])
            codes = self._look_up(hashes)
            for row in np.flatnonzero(self._unlike(words, codes)).tolist():
                codes[row] = self._add(block.bytes_at(int(begins[row]), int(lengths[row])), None)
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
            count = max(len(known) for known in self._codes) // _WORD + 1
            padded = b"".join(known.ljust(count * _WORD, b"\0") for known in self._codes)
            self._words = np.frombuffer(padded, ">u8").astype(np.uint64).reshape(-1, count).T.copy()
            if key is not None and key not in self._hashes:
                at = int(np.searchsorted(self._hashes, key))
                self._hashes = np.insert(self._hashes, at, key)
                self._code_of_hash = np.insert(self._code_of_hash, at, code)
        return code


def _words(block: CopyBlock, begins: Integers, lengths: Integers) -> list[Words]:
    """Return the bytes of each row as words, with zeros behind the last one."""
    words = []
    for at in range(0, int(lengths.max(initial=0)) + 1, _WORD):
        kept = np.clip(lengths - at, 0, _WORD)
        words.append(block.word(np.where(kept > 0, begins + at, 0)) & _MASKS[kept])
    return words


def _split(fields: bytes) -> tuple[str, ...]:
    texts, at = [], 0
    while at < len(fields):
        end = at + 4 + int.from_bytes(fields[at : at + 4], "big")
        texts.append(fields[at + 4 : end].decode())
        at = end
    return tuple(texts)
