"""Read many quotes that are laid out alike: the layout is learnt from one message, and proves the others.

A publisher writes all its messages with the same fields in the same order. `MessageLayout.of` turns one
message into a regular expression for messages that differ in nothing but the values. What does not match is
read by `message_decoder`, so a layout can only make reading faster.
It uses only the standard library. Pure.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from cryptometrics.verify.message_decoder import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

# Numbers and times only by their characters: `message_table` checks their form, many at once.
_NUMBER = r'"([0-9.]{1,37})"'
_VALUES = {
    "product_id": r'"([A-Z0-9]{1,20}-[A-Z0-9]{1,20})"',
    "best_bid": _NUMBER,
    "best_ask": _NUMBER,
    "time": r'"([0-9T:.-]{19,26})Z"',
    "trade_id": r"(0|[1-9][0-9]{0,17})",
    "venue": r'"([a-z0-9-]{1,32})"',
    "best_bid_size": _NUMBER,
    "best_ask_size": _NUMBER,
    "price": _NUMBER,
    "last_size": _NUMBER,
    "side": r'"(buy|sell)"',
}
"""The form of each field that is read, as a layout takes it; the decoder takes more."""
_REQUIRED = ("product_id", "best_bid", "best_ask", "time")
KINDS = ("ticker", "quote")
"""The types of messages that hold a quote."""
_PLAIN_TEXT = r'"[ !#-\[\]-~]*"'
_INTEGER = r"-?(?:0|[1-9][0-9]{0,17})"


class MessageLayout:
    """The layout of some quotes of one type."""

    def __init__(self, kind: str, pattern: str, fields: Sequence[str]) -> None:
        self.kind = kind
        self._match = re.compile(pattern.encode()).fullmatch
        self._place = {name: place for place, name in enumerate(fields)}

    @classmethod
    def of(cls, value: bytes) -> MessageLayout | None:
        """Return the layout of a message; None if it is not a quote in a form that a layout can have."""
        if len(value) > MAX_BYTES or not value.isascii():
            return None
        try:
            document = json.loads(value, object_pairs_hook=tuple)
        except (ValueError, RecursionError):
            return None
        if not isinstance(document, tuple) or len(dict(document)) != len(document):
            return None
        kind = dict(document).get("type")
        if kind not in KINDS or any(name not in dict(document) for name in _REQUIRED):
            return None
        comma, colon = (", ", ": ") if b'", "' in value else (",", ":")
        fields: list[str] = []
        members = []
        for name, content in document:
            form = _form(name, content)
            if form is None:
                return None
            if name in _VALUES and content is not None:
                fields.append(name)
            members.append(f"{re.escape(json.dumps(name))}{colon}{form}")
        layout = cls(kind, r"\{" + comma.join(members) + r"\}", fields)
        return layout if layout.read([value])[0] is not None else None

    def read(self, values: Sequence[bytes | None]) -> list[tuple[bytes, ...] | None]:
        """Return the values of `fields` of each message; None for a message with another layout."""
        match = self._match
        found = [match(v) if v is not None and len(v) <= MAX_BYTES else None for v in values]
        return [each.groups() if each is not None else None for each in found]

    @property
    def fields(self) -> list[str]:
        """The fields that the messages have, of those that are read."""
        return list(self._place)


def _form(name: str, content: Any) -> str | None:
    """Return the regular expression of a field's value; None if no layout has it."""
    if name == "type":
        return re.escape(json.dumps(content))
    if name in _VALUES:
        # An absent optional value is the same in all messages.
        return "null" if content is None and name not in _REQUIRED and name != "venue" else _VALUES[name]
    if isinstance(content, str):
        return _PLAIN_TEXT
    return _INTEGER if type(content) is int else None
