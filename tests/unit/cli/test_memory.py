"""What lost connections and backlogs leave behind does not add up in a command that runs for days."""

from __future__ import annotations

import ctypes
import subprocess
import sys

PROGRAM = """
import gc, time
import click
import psutil
from cryptometrics import cli
from cryptometrics.cli import memory
from cryptometrics.cli.signals import stopping

memory.TIDY_EVERY_S = 0.2

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
        click.echo(f"{errors()} {megabytes() - before}")

cli.cryptometrics = command
cli.main([])
"""


def test_a_long_run_collects_garbage_and_gives_memory_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=True
    )
    errors, megabytes = done.stdout.split()
    assert int(errors) == 0
    # Another C library than glibc cannot be asked for the memory.
    assert float(megabytes) < 50 or not hasattr(ctypes.CDLL(None), "malloc_trim")
