"""The list of commands: complete, readable in 80 columns, and quick."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from cryptometrics.cli import cryptometrics
from cryptometrics.cli.commands import COMMANDS


def test_each_command_has_its_whole_line_in_80_columns() -> None:
    printed = CliRunner().invoke(cryptometrics, ["--help"], terminal_width=80).output.splitlines()
    for name, (_, line) in COMMANDS.items():
        assert [each for each in printed if each.split() == [name, *line.split()]], name


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_can_be_loaded_under_its_name(name: str) -> None:
    asked = CliRunner().invoke(cryptometrics, [name, "--help"])
    assert asked.exit_code == 0
    assert f"Usage: cryptometrics {name} " in asked.output


LIST_COMMANDS = """
import sys
from cryptometrics import cli
try:
    cli.main(["--help"])
finally:
    print(*sys.modules)
"""


def test_the_list_imports_no_command() -> None:
    run = subprocess.run([sys.executable, "-c", LIST_COMMANDS], capture_output=True, text=True, check=True)
    loaded = {name for name in run.stdout.split() if name.startswith("cryptometrics.cli.")}
    assert loaded == {
        f"cryptometrics.cli.{name}" for name in ("commands", "memory", "process_end", "signals")
    }
