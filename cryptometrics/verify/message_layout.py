"""Find the fields of many quotes of one layout: learn it from one message, and check the others for it.

A publisher writes all its messages with the same fields in the same order. `MessageLayout.of` takes one
message apart into its literals: the bytes between the values. Another message has the same layout if it has
as many quotation marks and each literal stands at its mark. What does not match is read by `message_decoder`,
so a layout can only make reading faster. Pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np

from cryptometrics.verify.byte_words import FIRST, WORD, words_of
from cryptometrics.verify.joined_messages import MARK, MAX_BYTES, JoinedMessages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cryptometrics.verify.byte_words import Integers

KINDS = ("ticker", "quote")
"""The types of messages that hold a quote."""
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("product_id", "best_bid", "best_ask", "time"), (str,)),
    **dict.fromkeys(("best_bid_size", "best_ask_size", "price", "last_size", "side"), (str, NoneType)),
    "trade_id": (int, NoneType),
}
"""The types of the fields that are read, but for the venue."""
_SEPARATORS = ((",", ":"), (", ", ": "))


Places = tuple["Integers", "Integers"]
"""Where the values of a field begin and end, in some messages."""


@dataclass(frozen=True, slots=True)
class _Literal:
    """Bytes that all messages of a layout have between two values."""

    text: bytes
    mark: int
    """How many marks of the message come before it."""

    def starts(self, messages: JoinedMessages, rows: Integers) -> Integers:
        """Return where it must begin in some messages, which have a mark of that number: at its own mark."""
        return messages.marks[messages.first_marks[rows] + self.mark] - self.text.index(MARK)

    def words(self) -> Iterator[tuple[int, np.uint64, np.uint64 | None]]:
        """Yield the words that cover it: where each begins, its bytes, and a mask if some are not its own."""
        for at in range(0, len(self.text), WORD):
            begin = max(min(at, len(self.text) - WORD), 0)  # the last one may overlap with the one before
            kept = FIRST[len(self.text)] if len(self.text) < WORD else None
            yield begin, np.uint64(words_of(self.text[begin : begin + WORD], 1)[0]), kept


class MessageLayout:
    """The layout of some quotes of one type."""

    def __init__(self, kind: str, literals: Sequence[bytes], fields: Mapping[str, bool]) -> None:
        """Keep what the messages have in common.

        literals: the bytes before, between and behind the values; each but the first and the last has a mark.
        fields: the name of each value, and whether it is an integer; the others are texts.
        """
        self.kind = kind
        self.integers = [name for name, is_integer in fields.items() if is_integer]
        self._fields = list(fields)
        counts = [literal.count(MARK) for literal in literals]
        self._marks = sum(counts)
        self._literals = [_Literal(text, sum(counts[:number])) for number, text in enumerate(literals)]
        self._words = [list(literal.words()) for literal in self._literals]

    @classmethod
    def of(cls, value: bytes) -> MessageLayout | None:
        """Return the layout of a message; None if it is not a quote, or has no fixed layout."""
        if len(value) > MAX_BYTES or not value.isascii():
            return None
        try:
            document = json.loads(value)
        except (ValueError, RecursionError):
            return None
        if not isinstance(document, dict) or document.get("type") not in KINDS:
            return None
        has_types = all(type(document.get(name)) in types for name, types in _TYPES.items())
        if not has_types or type(document.get("venue", "")) is not str:
            return None
        for separators in _SEPARATORS:
            if json.dumps(document, separators=separators).encode() == value:
                layout = cls._of_document(document, *separators)
                is_one = layout is not None and len(layout.find(JoinedMessages([value]), np.arange(1))[0])
                return layout if is_one else None
        return None

    @classmethod
    def _of_document(cls, document: Mapping[str, Any], comma: str, colon: str) -> MessageLayout | None:
        literals, fields = ["{"], {}
        for name, content in document.items():
            literals[-1] += f"{json.dumps(name)}{colon}"
            if name == "type" or content is None or isinstance(content, bool):
                literals[-1] += json.dumps(content)
            elif isinstance(content, (str, int)):
                fields[name] = isinstance(content, int)
                quote = "" if fields[name] else '"'
                literals[-1] += quote
                literals.append(quote)
            else:
                return None
            literals[-1] += comma
        literals[-1] = literals[-1].removesuffix(comma) + "}"
        return cls(document["type"], [literal.encode() for literal in literals], fields)

    def find(self, messages: JoinedMessages, rows: Integers) -> tuple[Integers, dict[str, Places]]:
        """Return those of the rows that have the layout, and where their values are, by the field.

        An integer is only located here: the caller must still check that its characters are digits.
        """
        rows = rows[(messages.mark_counts[rows] == self._marks) & messages.is_plain[rows]]
        *before, last = self._literals
        starts = [
            messages.begins[rows],
            *(literal.starts(messages, rows) for literal in before[1:]),
            messages.ends[rows] - len(last.text),
        ]
        ends = [start + len(literal.text) for start, literal in zip(starts, self._literals, strict=True)]
        has_layout = np.ones(len(rows), np.bool_)
        for start, words in zip(starts, self._words, strict=True):
            for at, true, kept in words:
                word = messages.words.at(start + at)
                has_layout &= (word if kept is None else word & kept) == true
        values = list(zip(ends[:-1], starts[1:], strict=True))
        for begin, end in values:
            has_layout &= begin <= end
        if not has_layout.all():
            rows = rows[has_layout]
            values = [(begin[has_layout], end[has_layout]) for begin, end in values]
        return rows, dict(zip(self._fields, values, strict=True))
