"""Print values and tables on stdout: for people where it has a width, whole and uncut everywhere else.

Rich is imported where it draws: lines for programs need nothing of it but the width of characters.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from cryptometrics.cli.table_layout import JOINT, joined, layout
from cryptometrics.times import iso

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from cryptometrics.cli.table_layout import Layout

WIDE = 10_000
"""Columns of output without a width: a program reads its lines, so nothing is cut or folded."""
ANY_HEIGHT = 25
"""Height of a console for tables. Without one, Rich takes a dumb terminal for 80 columns wide."""
NOTHING = "–"
FORCED = {"FORCE_COLOR", "TTY_COMPATIBLE"}
"""Variables that make Rich treat any output as a terminal."""
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
    if isinstance(value, Decimal):
        return f"{value:,f}"
    return f"{value:,}" if isinstance(value, int) else plain(value)


def console(*, stderr: bool = False, width: int | None = None, height: int | None = None) -> Console:
    """Return a console, by default of the size that COLUMNS and LINES state, else of its terminal's size."""
    from rich.console import Console

    for variable in ("COLUMNS", "LINES"):
        if stated_size(variable) is None:
            os.environ.pop(variable, None)  # Rich would take 0 for a width, and fail on other texts
    return Console(highlight=False, stderr=stderr, width=width, height=height)


def stated_size(variable: str) -> int | None:
    """Return the number in COLUMNS or LINES; None if it states no size."""
    text = os.environ.get(variable, "")
    return min(int(text), WIDE) or None if text.isascii() and text.isdigit() else None


def width() -> int | None:
    """Return how many columns stdout has: those that COLUMNS states, even in a pipe, else the terminal's.

    None without either: then a program reads the output. What a terminal is, Rich decides: `TERM` counts.
    """
    if (columns := stated_size("COLUMNS")) is not None:
        return columns
    if not (sys.stdout.isatty() or FORCED & os.environ.keys()):
        return None
    screen = console()
    return screen.width if screen.is_terminal else None


def for_people() -> bool:
    """Return whether a person reads stdout: it has a width to fit into."""
    return width() is not None


def stacked(*values: str, dim: bool = True) -> Text:
    """Return a cell of values one above the other, so that a table fits into 80 characters.

    dim: whether those below the first are dim.
    """
    from rich.text import Text

    first, *others = values
    return Text.assemble(first, *(("\n" + value, "dim" if dim else "") for value in others))


def print_table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    numbers: Container[str] = (),
    uncut: Container[str] = (),
    title: str | None = None,
    caption: str | None = None,
) -> None:
    """Print a table that fits into the width of stdout; without a width, plain columns, a row per line.

    A time is never broken over two lines: where it would be, each value gets lines of its own.
    numbers: heads of the columns to align right. uncut: heads of the columns that are folded last.
    """
    columns = width()
    if columns is None:
        _print_whole(heads, list(rows))
        return
    screen = console(width=columns, height=ANY_HEIGHT)
    cells = [[_joined(_as_text(cell)) for cell in row] for row in rows]
    title, caption = (text and joined(text) for text in (title, caption))
    found = layout(
        [[head, *(row[at].plain for row in cells)] for at, head in enumerate(heads)],
        {at for at, head in enumerate(heads) if head in uncut},
        columns,
    )
    with screen.capture() as captured:
        if found is None:
            _print_values(screen, heads, cells, title, caption)
        else:
            table = _table(found, heads, cells, numbers)
            table.title, table.caption = title, caption
            screen.print(table)
    sys.stdout.write(captured.get().replace(JOINT, " "))


def _as_text(cell: str | Text) -> Text:
    """Return a cell for Rich: it would read brackets in a string as markup."""
    from rich.text import Text

    return Text(cell) if isinstance(cell, str) else cell


def _joined(cell: Text) -> Text:
    """Return a cell whose values have no space to break a line at; the given one stays as it is."""
    if (text := joined(cell.plain)) != cell.plain:
        cell = cell.copy()
        cell.plain = text
    return cell


def _table(
    found: Layout, heads: Sequence[str], cells: Sequence[Sequence[Text]], numbers: Container[str]
) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, found.gap, 0, 0), pad_edge=False, caption_justify="left")
    for head, room in zip(heads, found.widths, strict=True):
        table.add_column(head, justify="right" if head in numbers else "left", overflow="fold", width=room)
    for row in cells:
        table.add_row(*row)
    return table


def _print_values(
    screen: Console,
    heads: Sequence[str],
    cells: Sequence[Sequence[Text]],
    title: str | None,
    caption: str | None,
) -> None:
    """Print every value below its name: what is left where a table would have to break its times."""
    from rich.text import Text

    if title:
        screen.print(Text(title, "italic"))
    for row in cells:
        for head, cell in zip(heads, row, strict=True):
            names, values = head.split("\n"), [*cell.split("\n")]
            if len(names) != len(values):
                names, values = [" ".join(names)], [cell]
            for name, value in zip(names, values, strict=True):
                apart = "\n" if cell_len(name) + 1 + cell_len(value.plain) > screen.width else " "
                screen.print(Text.assemble((name, "bold"), apart, value), overflow="fold")
        screen.print()
    if caption:
        screen.print(Text(caption, "italic dim"))


def _print_whole(heads: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Print a row per line for programs: nothing is cut or folded."""
    texts = [[*heads], *([cell if isinstance(cell, str) else cell.plain for cell in row] for row in rows)]
    if all(text.isprintable() for line in texts for text in line):
        _print_columns(texts)
        return
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for head in heads:
        table.add_column(head, no_wrap=True)
    for row in rows:
        table.add_row(*map(_as_text, row))
    console(width=WIDE, height=ANY_HEIGHT).print(table)


def _print_columns(lines: Sequence[Sequence[str]]) -> None:
    """Print lines of texts as columns two spaces apart: as Rich does, which takes 2 ms for each line."""
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (text + " " * (wide - cell_len(text)) for text, wide in zip(line, widths, strict=True))
        sys.stdout.write("  ".join(padded) + "\n")
