"""A number without a unit is no time and no length of time, whichever command reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cryptometrics.cli import _run
from tests.command_options import options_with

if TYPE_CHECKING:
    from pathlib import Path

IN_SECONDS = {("simulate", "--duration"), ("simulate", "--step")}
"""Their help says that a number without a unit is in seconds."""
TIMES = [words for words in options_with("TIME") if words not in IN_SECONDS]
LENGTHS = list(options_with("DURATION", "[LENGTH]"))


def refusal(
    arguments: tuple[str, ...],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    """Run a command that ends with exit code 2 before it looks for a service; return its one line."""
    monkeypatch.chdir(folder)
    assert _run(arguments) == 2
    out, line = capsys.readouterr()
    assert out == ""
    assert line.startswith("error: Invalid value for ")
    assert line.count("\n") == 1
    return line


@pytest.mark.parametrize("number", ["1712010512345", "2026"])
@pytest.mark.parametrize("words", TIMES, ids=" ".join)
def test_a_bare_number_is_no_time_on_any_command_line(
    words: tuple[str, ...],
    number: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = refusal((*words, number), tmp_path, monkeypatch, capsys)
    assert f"{number!r} is a bare number, not a time: write 15m, 2h or 7d for that long ago, or 20" in line


@pytest.mark.parametrize("words", LENGTHS, ids=" ".join)
def test_a_bare_number_is_no_length_on_any_command_line(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = refusal((*words, "30"), tmp_path, monkeypatch, capsys)
    assert "'30'" in line
    assert any(f" {example}" in line for example in ("5ms", "15m", "1m", "24h", "30d")), "there is an example"


def test_the_options_are_found() -> None:
    assert {
        ("export", "--since"),
        ("plot", "--until"),
        ("gaps", "--since"),
        ("positions", "show", "--at"),
    } <= {*TIMES}
    assert {("prune", "--keep"), ("plot", "--candles"), ("risk", "history", "--step")} <= {*LENGTHS}
