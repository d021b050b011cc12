"""Fields of the settings: the variable and the parser of each, and the type of secrets.

A parser takes the text of a variable and returns its value. It raises ValueError with what to write instead,
and never quotes the text, which may be a secret in the wrong variable.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_HIDDEN = "**********"


class Secret:
    """Text that does not print: not in a log, not in a traceback, not as JSON."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret('{_HIDDEN}')"

    def __str__(self) -> str:
        return _HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def setting(
    parse: Callable[[str], object],
    *,
    default: object = None,
    default_factory: Callable[[], object] | None = None,
    variable: str | None = None,
) -> Any:
    """Return a field of the settings.

    variable: its variable, if it is not the name of the field in capitals.
    """
    metadata = {"parse": parse, "variable": variable}
    if default_factory is not None:
        return dataclasses.field(default_factory=default_factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def variable_of(field: dataclasses.Field[Any]) -> str:
    """Return the name of the variable that holds a setting."""
    return field.metadata["variable"] or field.name.upper()


def parse(field: dataclasses.Field[Any], text: str) -> object:
    """Return the value of a setting; raise ValueError with what to write instead."""
    value: object = field.metadata["parse"](text)
    return value


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """Return a parser of whole numbers between two bounds, which are allowed."""

    def read(text: str) -> int:
        # Without the limit on its length, Python itself refuses a long number, in words of its own.
        if re.fullmatch("[0-9]{1,18}", text.strip()) and lowest <= int(text) <= highest:
            return int(text)
        raise ValueError(f"write a whole number from {lowest} to {highest}")

    return read


def positive_number(text: str) -> float:
    """Parse a finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        _refuse_number()
    if not 0 < number < math.inf:  # every wait ends; NaN is refused, too
        _refuse_number()
    return number


def _refuse_number() -> NoReturn:
    raise ValueError("write a number above 0") from None


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    """Return a parser of one of some words."""

    def read(text: str) -> str:
        if text in choices:
            return text
        raise ValueError(f"write {', '.join(choices[:-1])} or {choices[-1]}")

    return read


def matching(pattern: str, advice: str) -> Callable[[str], str]:
    """Return a parser of texts that match a regular expression; advice: the rule in words."""

    def read(text: str) -> str:
        if re.fullmatch(pattern, text):
            return text
        raise ValueError(advice)

    return read
