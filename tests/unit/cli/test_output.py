"""Where output goes: files that are whole, streams, and what cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from cryptometrics import files
from cryptometrics.cli import publish_report
from cryptometrics.cli.output import NOTHING, WIDE, print_table, stacked, stated_size
from cryptometrics.kafka.publisher import Published

if TYPE_CHECKING:
    from pathlib import Path

    from rich.text import Text

EXAMPLE = [sys.executable, "-m", "cryptometrics", "alerts", "example"]


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    files.write(pipe, b"whole")
    reader.join(10)
    assert read == [b"whole"]
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_disk_that_takes_no_more_is_one_line(tmp_path: Path) -> None:
    limited = [
        "sh",
        "-c",
        'ulimit -f 0; exec "$@"',
        "sh",
        *EXAMPLE,
    ]  # a full disk is another error of that kind
    with (tmp_path / "out").open("w") as out:
        done = subprocess.run(limited, stdout=out, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert done.stderr == "error: cannot write the output: File too large\n"
    assert done.returncode == 1


def test_a_reader_that_has_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(EXAMPLE, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


HEADS = ("name", "number", "at")
ROWS = [("a name of " + "many " * 20, "1,234,567.123456", "2024-01-05 10:00:00")] * 2


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_table(HEADS, ROWS, numbers=HEADS[1:2], uncut=HEADS[2:], caption="times in UTC")
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("columns", [200, 80, 60, 20, 11])
def test_a_table_fits_into_columns_in_a_pipe_and_loses_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = shown(capsys)
    assert max(map(len, lines)) <= columns
    characters = "".join("".join(lines).split())
    for cell in ROWS[0]:
        for character in set(cell) - {" "}:
            assert characters.count(character) >= 2 * cell.count(character)
    assert any("2024-01-05 10:00:00" in line for line in lines) == (columns >= len("2024-01-05 10:00:00"))


def stacked_rows() -> list[list[str | Text]]:
    """Return a row as `alerts list` has it: two times in a cell, one of them unknown, and one in a text."""
    what = stacked("limit.gross", "gross 2,104,311.20 USD is above its limit")
    what.append("\nacknowledged 2026-07-01 12:00:31 by somebody: known")
    return [["1", stacked("firing", "critical"), what, stacked("2026-07-01 12:00:01", NOTHING), "delivered"]]


@pytest.mark.parametrize("columns", [200, 120, 80, 60, 50, 40, 30, 24, 19])
def test_a_time_is_never_broken_over_two_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    heads = ("id", "status\nseverity", "rule\nmessage", "fired at\nresolved at", "delivery")
    print_table(heads, stacked_rows(), numbers=heads[:1], uncut=heads[3:4], caption="to 2026-07-01 12:01 UTC")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    for time in ("2026-07-01 12:00:01", "2026-07-01 12:00:31", "2026-07-01 12:01"):
        assert any(time in line for line in lines), lines
    printed = Counter("".join(lines))
    for cell in stacked_rows()[0]:
        assert not Counter("".join(str(cell).split())) - printed  # nothing is lost


def test_a_narrow_table_with_times_names_each_value(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    heads = ("id", "status\nseverity", "rule\nmessage", "fired at\nresolved at", "delivery")
    print_table(heads, stacked_rows())
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[:3] == ["id 1", "status firing", "severity critical"]
    assert "fired at 2026-07-01 12:00:01" in lines
    assert f"resolved at {NOTHING}" in lines


def test_the_caller_s_cells_stay_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    cell = stacked("2026-07-01 12:00:01", "2026-07-01 12:00:02")
    print_table(("at",), [[cell]])
    assert cell.plain == "2026-07-01 12:00:01\n2026-07-01 12:00:02"
    assert "2026-07-01 12:00:02" in capsys.readouterr().out


@pytest.mark.parametrize("columns", [None, "", "0", "-80", "wide", "²"])
def test_without_a_width_a_pipe_gets_a_row_per_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str | None
) -> None:
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", columns)
    lines = shown(capsys)
    assert len(lines) == 3
    assert all(cell.strip() in lines[1] for cell in ROWS[0])


def test_a_size_is_a_positive_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "24")
    assert stated_size("LINES") == 24
    monkeypatch.setenv("LINES", "9" * 99)
    assert stated_size("LINES") == WIDE


def test_counts_of_messages_are_readable_for_people_and_plain_for_programs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    published = Published(sent=12_345, acknowledged=12_344)
    assert publish_report.summary(published) == "sent 12345, acknowledged 12344"
    monkeypatch.setenv("COLUMNS", "80")
    assert publish_report.summary(published) == "sent 12,345, acknowledged 12,344"
