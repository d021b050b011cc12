"""Print values and tables on stdout: for people on a terminal, whole and uncut everywhere else."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cryptometrics.times import iso

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

WIDE = 10_000
"""Columns of a console that is not a terminal: a program reads its lines, so nothing is cut or folded."""
NOTHING = "–"
TIME = "%Y-%m-%d %H:%M:%S"


def exact(value: Any) -> Any:
    """Return a value for JSON: a time as ISO 8601 in UTC, a decimal as its exact digits."""
    if isinstance(value, datetime):
        return iso(value)
    return f"{value:f}" if isinstance(value, Decimal) else value


def plain(value: object) -> str:
    """Return a value as text for programs: exact, without thousands separators."""
    return NOTHING if value is None else str(exact(value))


def short(value: object, *, time: str = TIME) -> str:
    """Return a value as text for people: thousands separators, times without their zone, in UTC."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):{time}}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else plain(value)


def is_terminal() -> bool:
    """Return whether a person sees stdout, by the rules of rich: `TERM` and the like count."""
    return Console().is_terminal


def stacked(above: str, below: str, *, dim: bool = True) -> Text:
    """Return a cell of two values, one above the other, so that a table fits into 80 characters."""
    return Text.assemble(above, "\n", (below, "dim" if dim else ""))


def print_table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    numbers: Container[str] = (),
    uncut: Container[str] = (),
    title: str | None = None,
    caption: str | None = None,
) -> None:
    """Print a table; where stdout is not a terminal, as plain columns with one line per row.

    numbers: heads of the columns to align right. uncut: heads of the columns that are never folded.
    """
    console = Console(highlight=False)
    cells = [[Text(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    if not console.is_terminal:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for head in heads:
            table.add_column(head, no_wrap=True)
        for row in cells:
            table.add_row(*row)
        Console(width=WIDE, highlight=False).print(table)
        return
    for gap in (2, 1, 0):  # a long price gets the space between the columns rather than a second line
        table = Table(
            box=box.SIMPLE_HEAD,
            padding=(0, gap, 0, 0),
            pad_edge=False,
            title=title,
            caption=caption,
            caption_justify="left",
        )
        for head in heads:
            table.add_column(
                head,
                justify="right" if head in numbers else "left",
                overflow="fold",
                no_wrap=head in uncut,
            )
        for row in cells:
            table.add_row(*row)
        # Measured without the console's width, which the result would never exceed.
        if console.measure(table, options=console.options.update(width=WIDE)).maximum <= console.width:
            break
    console.print(table)
