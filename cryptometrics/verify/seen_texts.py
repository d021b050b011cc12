"""Number the texts of a column of messages: equal texts have the same number. Pure."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.verify.byte_words import WORD, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from cryptometrics.verify.byte_words import ByteWords, Integers

NOT_SEEN = -1
MAX_NEW = 8
"""Texts without a number that are tried as new ones at a time."""


class SeenTexts:
    """The texts of one form that were seen; `texts[number]` is the text of a number."""

    def __init__(self, form: Callable[[bytes], object], limit: int, seen: Sequence[bytes] = ()) -> None:
        """Begin with some texts.

        form: returns something true if a text has the form.
        limit: maximum number of texts; later ones get no number, like texts without the form.
        """
        self.texts: list[bytes] = []
        self._form, self._limit = form, limit
        self._numbers: dict[bytes | None, int] = {}
        self._lengths: Integers = np.zeros(0, np.int64)
        self._words = np.zeros((0, 0), np.uint64)
        self._add(seen)

    def number(self, text: bytes) -> int:
        """Return the number of a text; NOT_SEEN if it has none."""
        return self._numbers.get(text, NOT_SEEN)

    def numbers(self, texts: Sequence[bytes | None]) -> Integers:
        """Return the number of each text; NOT_SEEN for None and for a text without the form."""
        found = self._look_up(texts)
        new = np.flatnonzero(found == NOT_SEEN).tolist()
        if new and self._add(dict.fromkeys(texts[row] for row in new)):
            found = self._look_up(texts)
        return found

    def read(self, words: ByteWords, begins: Integers, ends: Integers) -> Integers:
        """Return the number of each text between two places; few different texts are expected."""
        found = np.full(len(begins), NOT_SEEN, np.int64)
        left = np.arange(len(begins))
        for number in itertools.count():
            if number == len(self.texts):
                self._add([words.text(begins[row], ends[row]) for row in left[:MAX_NEW].tolist()])
            if not len(left) or number == len(self.texts):
                return found
            is_it = self.equal(np.full(len(left), number, np.int64), words, begins[left], ends[left])
            found[left[is_it]] = number
            left = left[~is_it]
        raise AssertionError

    def equal(
        self, numbers: Integers, words: ByteWords, begins: Integers, ends: Integers
    ) -> NDArray[np.bool_]:
        """Return whether the texts between two places are those with these numbers."""
        equal: NDArray[np.bool_] = numbers != NOT_SEEN
        if not equal.any():
            return equal
        lengths = ends - begins
        equal &= self._lengths[numbers] == lengths
        for word, true in zip(words.of_text(begins, lengths), self._words, strict=False):
            equal &= word == true[numbers]
        return equal

    def _look_up(self, texts: Iterable[bytes | None]) -> Integers:
        return np.fromiter(map(self._numbers.get, texts, itertools.repeat(NOT_SEEN)), np.int64)

    def _add(self, texts: Iterable[bytes | None]) -> bool:
        """Give numbers to new texts; return whether there was one."""
        before = len(self.texts)
        for text in texts:
            if len(self.texts) < self._limit and text and text not in self._numbers and self._form(text):
                self._numbers[text] = len(self.texts)
                self.texts.append(text)
        if len(self.texts) == before:
            return False
        self._lengths = np.fromiter(map(len, self.texts), np.int64)
        count = -(-int(self._lengths.max()) // WORD)
        self._words = np.array([words_of(text, count) for text in self.texts], np.uint64).T.copy()
        return True
