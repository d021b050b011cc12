"""What lost connections leave behind does not add up in a command that runs for days."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc
import click
from cryptometrics import cli
from cryptometrics.cli.signals import stopping

class Error:
    def __init__(self):
        self.itself = self

def alive():
    return sum(type(each) is Error for each in gc.get_objects())

def leave(number):
    for _ in range(number):
        Error()

@click.command()
def command():
    leave(20_000)
    click.echo(alive())
    with stopping():
        leave(20_000)
        click.echo(alive() - 20_000)

cli.cryptometrics = command
cli.main([])
"""


def test_garbage_is_found_often_in_a_long_run_and_rarely_before() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=True
    )
    at_start, in_long_run = map(int, done.stdout.split())
    assert at_start == 20_000
    assert in_long_run <= 5_000
