"""Fit a table of the screen into a width: the least important columns go first, and no price is cut. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.text import Text

Cell: TypeAlias = "str | Text"

GAP = 1
"""Columns between two values."""
MIN_BARS, MAX_BARS = len("mid, 15 min"), 60
"""Characters of a sparkline."""


class FittedColumn(NamedTuple):
    """A column of the table."""

    title: str
    cells: Sequence[Cell]
    right: bool = True
    """Whether values are aligned right, as numbers are."""
    drop: int = 0
    """The column with the highest number is dropped first; 0 is never dropped."""
    bars: Callable[[int], Sequence[Cell]] | None = None
    """Returns the cells for a number of characters, if the column takes the width that is left."""

    @property
    def width(self) -> int:
        """The width at which nothing in the column is cut."""
        longest = max(
            (len(cell) if isinstance(cell, str) else cell.cell_len for cell in self.cells), default=0
        )
        return max(longest, len(self.title), MIN_BARS if self.bars else 0)


def fitted_table(columns: Sequence[FittedColumn], styles: Sequence[str], width: int) -> Table:
    """Return a table of at most `width` columns, as far as the columns that stay allow it.

    styles: of the rows.
    """
    shown = list(columns)
    while _width(shown) > width and (least := max(shown, key=lambda column: column.drop)).drop:
        shown.remove(least)
    left = max(width - _width(shown), 0)
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
    texts: list[Sequence[Cell]] = []
    for column in shown:
        room = column.width
        if column.bars:
            room = min(room + left, max(room, MAX_BARS))
        texts.append(column.bars(room) if column.bars else column.cells)
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
            max_width=room,
        )
    for number, style in enumerate(styles):
        table.add_row(*(cells[number] for cells in texts), style=style)
    return table


def _width(columns: Sequence[FittedColumn]) -> int:
    return sum(column.width + GAP for column in columns) - GAP


def window(count: int, place: int, room: int) -> range:
    """Return the numbers of at most `room` of `count` rows; the row `place` is one of them."""
    first = max(min(place - room // 2, count - room), 0)
    return range(first, min(first + max(room, 0), count))
