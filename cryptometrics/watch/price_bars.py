"""Draw prices with characters: a sparkline of one line, and a chart of several. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

BARS, PLAIN_BARS = "▁▂▃▄▅▆▇█", "_.-=+*%#"


def sparkline(values: Sequence[Decimal | None], bars: str = BARS) -> str:
    """Return one character per value, as high as the value is between the lowest and the highest."""
    return "".join(chart(values, 1, bars))


def chart(values: Sequence[Decimal | None], height: int, bars: str = BARS) -> list[str]:
    """Return `height` lines, from the top, with a column of bars per value.

    The lowest value fills the lowest eighth of a line, the highest all lines; all values equal: half of it.
    """
    known = [value for value in values if value is not None]
    if not known:
        return [""] * height
    low, span = min(known), max(known) - min(known)
    last = len(bars) * height - 1
    levels = [
        -1 if value is None else last // 2 if not span else int((value - low) / span * last)
        for value in values
    ]
    return [
        "".join(_bar(level - floor, bars) for level in levels)
        for floor in range(len(bars) * (height - 1), -1, -len(bars))
    ]


def _bar(level: int, bars: str) -> str:
    """Return the part of a bar that one line shows."""
    return " " if level < 0 else bars[min(level, len(bars) - 1)]
