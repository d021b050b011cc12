"""The widths of a table's columns: it fits into a terminal, and no time is broken over two lines. Pure."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    Column = Sequence[str]
    """The texts of a column: of its head and of all its cells; they may have several lines."""

GAP = 2
"""Spaces beside a column's own where there is room."""
EDGES = 2
"""The spaces left and right of a table."""
MIN_FOLDED = 6
"""Characters a line of a folded value has at least, as long as there is a choice."""
JOINT = "\ue000"
"""Stands for a space at which no line may be broken: Rich would break it at a no-break space, too."""

_DATE, _CLOCK = "[0-9]{4}-[0-9]{2}-[0-9]{2}", "[0-9]{2}:[0-9]{2}:[0-9]{2}"
_TIME = re.compile(
    rf"(?:[0-9]{{4}}-)?[0-9]{{2}}-[0-9]{{2}}[ T](?:{_CLOCK}(?:\.[0-9]+)?|[0-9]{{2}}:[0-9]{{2}})(?:Z| UTC)?"
    rf"|{_DATE}|{_CLOCK}"
)
"""A date, a time of a day, or both, in the forms that our tables have."""


class Layout(NamedTuple):
    """The widths of a table's columns, without the spaces between them."""

    gap: int
    """Spaces after each column, beside the one that separates it from the next."""
    widths: Sequence[int]


def joined(text: str) -> str:
    """Return a text whose times and percentages have no space to break a line at."""
    return _TIME.sub(lambda time: time[0].replace(" ", JOINT), text).replace(" %", f"{JOINT}%")


def wrapped(text: str, width: int, *, indent: str = "") -> str:
    """Return a text in lines of at most `width` characters; indent: before all lines but the first."""
    lines = textwrap.wrap(joined(text), width, subsequent_indent=indent, break_on_hyphens=False)
    return "\n".join(lines).replace(JOINT, " ")


def natural_width(columns: Sequence[Column], gap: int = GAP) -> int:
    """Return how wide a table is if nothing in it is folded."""
    return sum(map(_natural, columns)) + (len(columns) - 1) * (gap + 1) + EDGES


def word_width(columns: Sequence[Column]) -> int:
    """Return how narrow a table can be if it is folded at the ends of words only."""
    return sum(map(_longest_word, columns)) + len(columns) - 1 + EDGES


def layout(columns: Sequence[Column], uncut: Container[int], width: int) -> Layout | None:
    """Return the layout of a table in `width` columns of the terminal; None if no table can be read there.

    columns: of joined texts. uncut: numbers of the columns that are folded last.
    A long value first gets the space between the columns, then a second line: at the ends of words, then
    within them, but never within a time.
    """
    natural = [_natural(column) for column in columns]
    for gap in range(GAP, -1, -1):
        if natural_width(columns, gap) <= width:
            return Layout(gap, natural)
    room = width - (len(columns) - 1) - EDGES
    words = [full if at in uncut else _longest_word(columns[at]) for at, full in enumerate(natural)]
    times = [max(map(_longest_time, column)) for column in columns]
    folded = [max(time, min(full, MIN_FOLDED)) for time, full in zip(times, natural, strict=True)]
    for least in (words, folded, None if any(times) else [1] * len(columns)):
        if least and sum(least) <= room:
            return Layout(0, _shrunk(natural, least, room))
    return None


def _shrunk(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Take what is too much from the widest columns, down to their least widths."""
    found = list(widths)
    for _ in range(sum(found) - room):
        widest = max(range(len(found)), key=lambda at: found[at] if found[at] > least[at] else 0)
        found[widest] -= 1
    return found


def _natural(column: Column) -> int:
    return max((cell_len(line) for text in column for line in text.split("\n")), default=0)


def _longest_word(column: Column) -> int:
    return max((cell_len(word) for text in column for word in text.split()), default=0)


def _longest_time(text: str) -> int:
    return max((cell_len(time) for time in _TIME.findall(text.replace(JOINT, " "))), default=0)
