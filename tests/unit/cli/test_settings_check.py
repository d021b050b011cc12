"""The warnings about settings, as a command logs them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import clean_environment

if TYPE_CHECKING:
    from pathlib import Path


def warnings(folder: Path, variables: dict[str, str], *arguments: str) -> list[Any]:
    done = subprocess.run(
        [sys.executable, "-m", "cryptometrics", *(arguments or ("alerts", "example"))],
        cwd=folder,
        env=clean_environment() | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_mistyped_variable_is_named_once(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DB_HOTS=db.example\n")
    (tmp_path / ".env").chmod(0o600)
    found = warnings(tmp_path, {"KAFKA_BOOTSTRAP_SERVER": "k:1"})
    assert [(each["event"], each["name"]) for each in found] == [
        ("unknown_setting", "KAFKA_BOOTSTRAP_SERVER"),
        ("unknown_setting", "DB_HOTS"),
    ]
    assert found[1]["where"] == str(tmp_path / ".env")
    assert "DB_HOST" in found[1]["advice"]


@pytest.mark.parametrize(
    "name",
    [
        "CRYPTOMETRICS_LOG_FORMAT",
        "CRYPTOMETRICS_ALERTS_LIST_GROUP",
        "CRYPTOMETRICS_PROCESS_UNTIL_CAUGHT_UP",
        "CRYPTOMETRICS_INIT_DB_PARTITIONS",
    ],
)
def test_options_are_known(tmp_path: Path, name: str) -> None:
    assert warnings(tmp_path, {name: "json" if name.endswith("FORMAT") else "1"}) == []


def test_a_mistyped_option_of_the_command_is_named(tmp_path: Path) -> None:
    [found] = warnings(tmp_path, {"CRYPTOMETRICS_ALERTS_LIST_GRUOP": "g"})
    assert found["name"] == "CRYPTOMETRICS_ALERTS_LIST_GRUOP"


def test_help_and_supervised_workers_do_not_warn(tmp_path: Path) -> None:
    for arguments in (["session", "--help"], ["process", "--reporting", "--help"]):
        assert warnings(tmp_path, {"DB_HOTS": "x"}, *arguments) == []
