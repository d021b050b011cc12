"""Join messages to one piece, and find what a reader needs to know of all of them at once. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.verify.byte_words import WORD, ByteWords

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cryptometrics.verify.byte_words import Integers

MAX_BYTES = 4096
"""Longer messages are left out: no publisher writes quotes that long."""
MARK = b'"'
_PADDING = bytes(MAX_BYTES + WORD)
"""A literal of a layout is looked for even where a message is too short for it."""
_SPACE, _DELETE = ord(" "), 0x7F


class JoinedMessages:
    """Some messages in one piece, with the places of their quotation marks."""

    def __init__(self, values: Sequence[bytes | None]) -> None:
        taken = [value if value is not None and len(value) <= MAX_BYTES else b"" for value in values]
        data = b"".join([_PADDING, *taken, _PADDING])
        self.words = ByteWords(data)
        lengths = np.fromiter(map(len, taken), np.int64, len(taken))
        self.ends: Integers = np.cumsum(lengths) + len(_PADDING)
        self.begins: Integers = self.ends - lengths
        characters = np.frombuffer(data, np.uint8)
        self.marks: Integers = np.flatnonzero(characters == ord(MARK))
        """The places of all quotation marks."""
        self.first_marks: Integers = np.searchsorted(self.marks, self.begins)
        """Index in `marks` of the first one of each message."""
        self.mark_counts: Integers = np.diff(self.first_marks, append=len(self.marks))
        self.is_plain = self._plain(data, characters)
        """Whether each message is ASCII without control characters or escapes: its texts are as they look."""

    def _plain(self, data: bytes, characters: NDArray[np.uint8]) -> NDArray[np.bool_]:
        is_plain = np.ones(len(self.begins), np.bool_)
        inner = characters[len(_PADDING) : -len(_PADDING)]
        # These look at all messages at once, and nearly always find nothing.
        is_odd = not data.isascii() or b"\\" in data or b"\x7f" in data
        if is_odd or int(inner.min(initial=_SPACE)) < _SPACE:
            odd = (inner < _SPACE) | (inner >= _DELETE) | (inner == ord("\\"))
            places = np.flatnonzero(odd) + len(_PADDING)
            is_plain[np.searchsorted(self.ends, places, side="right")] = False
        return is_plain
