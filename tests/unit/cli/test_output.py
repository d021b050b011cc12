"""Where output goes: files that are whole, streams, and what cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from cryptometrics import files
from cryptometrics.cli import publish_report
from cryptometrics.cli.output import WIDE, print_table, stated_size
from cryptometrics.kafka.publisher import Published

if TYPE_CHECKING:
    from pathlib import Path

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
    assert any("2024-01-05 10:00:00" in line for line in lines) == (columns > 20)


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
