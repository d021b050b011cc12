"""What lost connections and backlogs leave behind does not add up in a command that runs for days."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import gc, time
import click
import psutil
from cryptometrics import cli
from cryptometrics.cli import memory
from cryptometrics.cli.signals import stopping

memory.TIDY_EVERY_S = {seconds}

class Error:
    def __init__(self):
        self.itself = self

def errors():
    return sum(type(each) is Error for each in gc.get_objects())

def megabytes():
    return psutil.Process().memory_info().rss / 2**20

@click.command()
def command():
    with stopping():
        before = megabytes()
        for _ in range(1_000):
            Error()
        blocks = [bytes(5_000) for _ in range(20_000)]
        blocks = blocks[::100]  # the others leave holes
        until = time.monotonic() + 10
        while time.monotonic() < until and (errors() or megabytes() - before > 50):
            time.sleep(0.1)
        click.echo(f"{{errors()}} {{megabytes() - before}}")

cli.cryptometrics = command
cli.main([])
"""


def left(seconds: float) -> tuple[int, float]:
    """Return the errors and the megabytes that are left after work, at most ten seconds later."""
    program = PROGRAM.format(seconds=seconds)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    errors, megabytes = done.stdout.split()
    return int(errors), float(megabytes)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc gives memory back when it is asked to")
def test_a_long_run_collects_garbage_and_gives_memory_back() -> None:
    errors, megabytes = left(0.2)
    assert errors == 0
    assert megabytes < 50
