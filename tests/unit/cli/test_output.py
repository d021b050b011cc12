"""Where output goes: files that are whole, streams, and what cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from cryptometrics import files

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
