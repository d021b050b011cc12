"""What the fault tests stand on, and the table at their end."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.arena import Arena, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.config import Settings
    from cryptometrics.local.services import Services

FULL = os.environ.get("FAULTS") == "full"
"""Whether the counts are those of the table in docs/guarantees.md (`make faults`)."""
_outcomes: list[Outcome] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(3600 if FULL else 300))


@pytest.fixture
def arena(settings: Settings, services: Services, tmp_path: Path) -> Iterator[Arena]:
    """Return a database and a topic with nothing in them, both services running."""
    with Arena(settings, services, tmp_path, FULL, _outcomes) as arena:
        yield arena
        services.up()  # where a test failed in the middle of a fault


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _outcomes:
        return
    terminalreporter.section("faults")
    for line in table(_outcomes):
        terminalreporter.write_line(line)
    if place := os.environ.get("FAULTS_RESULTS"):
        with Path(place).open("a") as results:
            results.writelines(json.dumps(dataclasses.asdict(outcome)) + "\n" for outcome in _outcomes)


def table(outcomes: list[Outcome]) -> list[str]:
    """Return the table as Markdown, to be read as it is or put into docs/guarantees.md."""
    head = ("fault", "times", "ticks", "lost", "duplicated", "wrong rows", "seconds to recover", "")
    body = [
        (
            outcome.fault,
            str(outcome.times),
            f"{outcome.ticks:,}",
            str(outcome.lost),
            str(outcome.duplicated),
            str(outcome.wrong),
            "–" if outcome.seconds is None else f"{outcome.seconds:.1f}",
            outcome.note,
        )
        for outcome in outcomes
    ]
    widths = [max(len(row[column]) for row in [head, *body]) for column in range(len(head))]

    def line(row: tuple[str, ...]) -> str:
        cells = (
            text.ljust(width) if column in {0, 7} else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        return f"| {' | '.join(cells)} |"

    rule = "|".join(
        "-" * (width + 2) if column in {0, 7} else "-" * (width + 1) + ":"
        for column, width in enumerate(widths)
    )
    return [line(head), f"|{rule}|", *map(line, body)]
