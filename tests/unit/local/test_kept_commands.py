"""Kept commands belong to their data folder: its services, and nothing of the user's settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cryptometrics.local.kept_commands import KeptCommands
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_command_uses_the_services_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/other")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "elsewhere:9092")
    monkeypatch.setenv("CRYPTOMETRICS_WAIT", "1")
    (tmp_path / ".env").write_text("KAFKA_TOPIC=other\n")
    monkeypatch.chdir(tmp_path)
    commands = KeptCommands(tmp_path / "home")
    command = commands.start("status", ["status", "--json"])
    wait_until(lambda: command.process() is None, "the command has ended")
    shown = json.loads(command.console.read_text())
    assert [shown[service]["local"] for service in ("kafka", "postgres")] == [True, True]
    assert commands.running() == []
    assert commands.stop() == []
    again = KeptCommands(tmp_path / "home").start("again", ["--version"])
    assert again.folder.name == "01-again"
    wait_until(lambda: again.process() is None, "the command has ended")
    commands.purge()
    assert not (tmp_path / "home" / "commands").exists()
