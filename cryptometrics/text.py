"""Text in one line: escape and shorten what comes from outside, validate names, write ratios. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_LISTED = 10
"""Names in one line before the rest is only counted."""
MAX_NAME_CHARACTERS = 100


def escape(text: str, *, keep: str = "") -> str:
    r"""Escape non-printable characters as Python does (\x1b), except those in `keep`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def check_name(name: str) -> str:
    """Return the name of a group, a session or a kind of windows; raise ValueError if it is not valid.

    Control characters and bidirectional marks could steer a terminal or show another name than the real one.
    """
    if not 0 < len(name) <= MAX_NAME_CHARACTERS or not name.isprintable():
        raise ValueError(
            f"{name[:MAX_NAME_CHARACTERS]!r} is not a valid name: "
            f"names have 1 to {MAX_NAME_CHARACTERS} printable characters"
        )
    return name


def listed(names: Iterable[str]) -> str:
    """Join names for one line: the first ten, then how many more there are."""
    every = list(names)
    more = len(every) - MAX_LISTED
    return ", ".join(every[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


def are(names: Sequence[str]) -> str:
    """Return names as the end of a sentence that begins with `there`: `is a` or `are a, b`."""
    return f"{'is' if len(names) == 1 else 'are'} {listed(names)}"


def percent(value: float | None, *, signed: bool = False, nothing: str = "–") -> str:
    """Return a ratio in per cent with two decimals at most, one from 10 % on, none from 100 % on.

    As everywhere, a space stands before the sign. nothing: for None.
    """
    if value is None:
        return nothing
    number = 100 * value
    places = 2 if abs(number) < 9.995 else 1 if abs(number) < 99.95 else 0
    return f"{number:{'+' if signed else ''},.{places}f} %"
