"""Output that cannot be written: closed streams, and encodings that lack a character."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COMMANDS = (["--help"], ["alerts", "example"], ["simulate", "--help"], ["session", "--pair", "btc"])


def run(
    arguments: list[str], redirection: str = "", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    command = f'exec "$0" -m cryptometrics "$@" {redirection}'
    return subprocess.run(
        ["sh", "-c", command, sys.executable, *arguments],
        env=os.environ | environment,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_closed_stream_changes_nothing_else(arguments: list[str], redirection: str) -> None:
    expected, found = run(arguments), run(arguments, redirection)
    assert found.returncode == expected.returncode
    assert b"Traceback" not in found.stderr
    assert found.stdout in (b"", expected.stdout)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_an_encoding_that_lacks_a_character_shows_its_escape(arguments: list[str], encoding: str) -> None:
    expected = run(arguments, PYTHONIOENCODING="utf-8")
    found = run(arguments, PYTHONIOENCODING=encoding)
    assert found.returncode == expected.returncode
    assert b"Traceback" not in found.stderr
    text = expected.stdout.decode()
    assert found.stdout.decode(encoding) == text.encode(encoding, "backslashreplace").decode(encoding)
