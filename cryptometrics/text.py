"""Make text safe and short for one line of output. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_LISTED = 10
"""Names in one line before the rest is only counted."""


def visible(text: str) -> str:
    r"""Return a text with what does not print written as Python has it: an escape is \x1b."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def listed(names: Iterable[str]) -> str:
    """Join names for one line: the first ten, then how many more there are."""
    every = list(names)
    more = len(every) - MAX_LISTED
    return ", ".join(every[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
