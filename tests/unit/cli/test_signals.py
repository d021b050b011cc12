"""Ctrl-C, once and again, ends a command without a traceback, wherever it comes."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import os, signal, sys, threading, time
import click
from cryptometrics import cli
from cryptometrics.cli.signals import stopping

# As a terminal starts it: who runs the tests in the background has them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

@click.command()
def command():
    click.echo("begun", err=True)
{body}

cli.cryptometrics = command
cli.main([])
"""

# A client's thread that is not a daemon is waited for at the exit.
WHILE_A_CLIENT_ENDS = """
    threading.Thread(target=lambda: (time.sleep(0.5), interrupt(), time.sleep(0.5))).start()
    interrupt()
    time.sleep(60)
"""
# Where the signal finds the interpreter within a lock, the lock's own error takes its place.
OUT_OF_A_LOCK = """
    try:
        interrupt()
        time.sleep(60)
    except KeyboardInterrupt:
        raise RuntimeError("release unlocked lock") from None
"""
WHILE_IT_IS_OBEYED = """
    try:
        interrupt()
        time.sleep(60)
    finally:
        interrupt()
        time.sleep(60)
"""
WHILE_WORK_IS_FINISHED = """
    with stopping() as stop:
        interrupt()
        while not stop():
            time.sleep(0.01)
        interrupt()
        time.sleep(60)
"""
WHILE_WORK_IS_FINISHED_OUT_OF_A_LOCK = """
    with stopping() as stop:
        interrupt()
        try:
            interrupt()
            time.sleep(60)
        except KeyboardInterrupt:
            raise RuntimeError("release unlocked lock") from None
"""


@pytest.mark.parametrize(
    "body",
    [
        WHILE_A_CLIENT_ENDS,
        OUT_OF_A_LOCK,
        WHILE_IT_IS_OBEYED,
        WHILE_WORK_IS_FINISHED,
        WHILE_WORK_IS_FINISHED_OUT_OF_A_LOCK,
    ],
)
def test_there_is_no_traceback(body: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM).format(body=body)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr.splitlines() == ["begun", "", "stopped"]
    assert done.returncode in {130, -signal.SIGINT}


@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_during_an_import_keeps_its_exit_code(tmp_path: Path, number: str, code: int) -> None:
    """Dataclasses and named tuples run a text with exec: Python has its own end for an interrupt there."""
    body = f"""    exec("os.kill(os.getpid(), signal.{number}); time.sleep(60)")"""
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM).format(body=body))
    done = subprocess.run(
        [sys.executable, "-m", "program"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr.splitlines() == ["begun", "", "stopped"]
    assert done.returncode == code


def test_an_error_that_no_signal_caused_has_its_traceback() -> None:
    body = '    raise RuntimeError("a bug")'
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM).format(body=body)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "RuntimeError: a bug" in done.stderr
