"""Tables and values on stdout: for people on a terminal, whole and exact everywhere else."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from cryptometrics.cli.output import exact, plain, print_table, short

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "for_json", "for_programs", "for_people"),
    [
        (12345, 12345, "12345", "12,345"),
        (Decimal("1E-18"), "0.000000000000000001", "0.000000000000000001", "0.000000000000000001"),
        (Decimal("64250.020"), "64250.020", "64250.020", "64,250.020"),
        (NOON, "2026-07-01T12:00:00Z", "2026-07-01T12:00:00Z", "2026-07-01 12:00:00"),
        (1234.56, 1234.56, "1234.56", "1,234.6"),
        (None, None, "–", "–"),
        ("[red]", "[red]", "[red]", "[red]"),
    ],
)
def test_values(value: object, for_json: object, for_programs: str, for_people: str) -> None:
    assert (exact(value), plain(value), short(value)) == (for_json, for_programs, for_people)


def test_without_a_terminal_no_cell_is_cut_folded_or_taken_for_markup(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(("name", "text"), [("[red]", "word " * 100)])
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "text"]
    assert line.split() == ["[red]", *["word"] * 100]


def test_on_a_terminal_a_wide_table_closes_its_columns_up_before_it_folds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    for width, gaps in ((6, 3), (11, 2), (12, 1)):
        print_table(("a", "b", "c"), [("x" * width,) * 3])
        lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
        assert ("x" * width + " " * gaps) * 2 + "x" * width in "\n".join(lines)
