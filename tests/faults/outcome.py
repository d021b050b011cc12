"""The result of one fault test, and the table of all results for docs/guarantees.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BOUND_S = 15.0
"""Seconds within which a worker must recover from any fault; enforced only with the full counts."""


@dataclass
class Outcome:
    """A row of the table."""

    fault: str
    times: int
    ticks: int = 0
    lost: int = 0
    duplicated: int = 0
    wrong: int = 0
    seconds: float | None = None
    """From the end of the fault to the first new commit, the longest of them."""
    note: str = ""

    def failings(self) -> list[str]:
        """Return what of it breaks a promise."""
        counted = {"lost": self.lost, "duplicated": self.duplicated, "wrong rows": self.wrong}
        found = [f"{count} {name}" for name, count in counted.items() if count]
        if self.seconds is not None and self.seconds > BOUND_S:
            found.append(f"{self.seconds:.1f} s to recover, more than {BOUND_S:g}")
        return found


def table(outcomes: list[Outcome]) -> list[str]:
    """Return the table as Markdown, to be read as it is or put into docs/guarantees.md."""
    head = ("fault", "times", "ticks", "lost", "duplicated", "wrong rows", "seconds to recover", "")
    body = [
        (
            outcome.fault,
            f"{outcome.times:,}",
            f"{outcome.ticks:,}",
            str(outcome.lost),
            str(outcome.duplicated),
            str(outcome.wrong),
            "–" if outcome.seconds is None else f"{outcome.seconds:.1f}",
            outcome.note,
        )
        for outcome in outcomes
    ]
    return markdown(head, body, left={0, 7})


def markdown(head: Sequence[str], body: Sequence[Sequence[str]], left: set[int]) -> list[str]:
    """Return a table as Markdown that can be read as it is; columns are right-aligned unless in `left`."""
    widths = [max(len(row[column]) for row in [head, *body]) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = (
            text.ljust(width) if column in left else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        return f"| {' | '.join(cells)} |"

    rule = "|".join(
        "-" * (width + 2) if column in left else "-" * (width + 1) + ":"
        for column, width in enumerate(widths)
    )
    return [line(head), f"|{rule}|", *map(line, body)]
