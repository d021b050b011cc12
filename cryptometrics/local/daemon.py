"""A server process that outlives the command that started it, and is found again by the next one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from cryptometrics import files
from cryptometrics.errors import ServiceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

POLL_EVERY = 0.05
"""Seconds between looks at a process that starts."""
REAP_TIMEOUT = 5.0
TAIL_LINES = 15
"""How much of the logs is shown when a start fails."""


@dataclass(frozen=True)
class Status:
    """What is known of one service."""

    running: bool
    address: str | None
    """How clients reach it; None while it is not running."""
    version: str
    pid: int | None
    uptime_seconds: float | None
    bytes_on_disk: int
    log: str


class Daemon:
    """One server process: started in its own session, recorded by pid and start time, stopped by a signal."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.console = folder / "console.log"
        self.logs = [self.console]
        """Where the last words of a failed start are looked for."""
        self._record = folder / "process.json"
        self._child: subprocess.Popen[bytes] | None = None

    def process(self) -> psutil.Process | None:
        """Return the running process, or None: another one that got the same pid is not it."""
        if self._child is not None:
            self._child.poll()  # one that ended stays a zombie until its parent, us, asks
        try:
            record = json.loads(self._record.read_text())
            process = psutil.Process(record["pid"])
            if _birth(process) != record["birth"]:
                return None
            if process.status() == psutil.STATUS_ZOMBIE:
                self._reap()
                return None
        except (OSError, ValueError, KeyError, TypeError, psutil.Error):
            return None
        return process

    def start(self, command: Sequence[str], *, cwd: Path, user: str | None = None) -> None:
        """Start the server; Ctrl-C and the end of this command do not reach it."""
        with self.console.open("wb") as console:
            self._child = subprocess.Popen(
                command,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                **as_user(user),
            )
        record = {"pid": self._child.pid, "birth": _birth(psutil.Process(self._child.pid))}
        files.write(self._record, json.dumps(record).encode())

    def joins(self, ready: Callable[[], bool], timeout: float) -> bool:
        """Whether one runs already; wait until it is ready, and return False when it ends instead."""
        if self.process() is None:
            return False
        try:
            self.wait_until(ready, timeout)
        except ServiceUnavailableError:
            if self.process() is not None:
                raise
            return False
        return True

    def wait_until(self, ready: Callable[[], bool], timeout: float) -> None:
        """Wait until the server is ready; raise ServiceUnavailableError when it ends or takes too long."""
        deadline = time.monotonic() + timeout
        while not ready():
            if self.process() is None:
                raise self.failure("ended while it started")
            if time.monotonic() > deadline:
                raise self.failure(f"was not ready after {timeout:.0f} s")
            time.sleep(POLL_EVERY)

    def stop(self, how: signal.Signals, timeout: float) -> bool:
        """End the process: asked first, forced after `timeout` seconds. Return whether there was one."""
        process = self.process()
        if process is not None:
            for message in (how, signal.SIGKILL):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(message)
                if self._has_ended(timeout):
                    break
        self._record.unlink(missing_ok=True)
        return process is not None

    def _has_ended(self, timeout: float) -> bool:
        # Not psutil's wait: to that a zombie is alive, and the first process of a container may reap none.
        deadline = time.monotonic() + timeout
        while self.process() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_EVERY)
        return True

    def _reap(self) -> None:
        """Wait for the last threads of a child that is a zombie; only then are its files and ports free."""
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(REAP_TIMEOUT)

    def failure(self, what: str) -> ServiceUnavailableError:
        """Return the error that says what happened; its notes are the last lines of the logs."""
        error = ServiceUnavailableError(f"{self.name} {what}: see {self.logs[-1]}")
        for log in self.logs:
            if tail := _tail(log):
                error.add_note(f"--- {log}\n{tail}")
        return error

    def status(self, address: str, version: str) -> Status:
        """Describe the process, and how much its folder takes on disk."""
        process = self.process()
        return Status(
            running=process is not None,
            address=address if process else None,
            version=version,
            pid=process.pid if process else None,
            uptime_seconds=round(max(0.0, time.time() - process.create_time()), 1) if process else None,
            bytes_on_disk=_bytes_on_disk(self.folder),
            log=str(self.logs[-1]),
        )


def as_user(user: str | None) -> dict[str, Any]:
    """Return the subprocess options that run a command as `user` and nothing more (None: as who we are)."""
    return {} if user is None else {"user": user, "group": user, "extra_groups": []}


def _birth(process: psutil.Process) -> float:
    """Return what tells this process from a later one of the same pid.

    On Linux that is its start in clock ticks since boot: psutil's time of day moves when the clock is set.
    """
    if not Path("/proc/self/stat").exists():
        return float(process.create_time())
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text()
    except OSError:
        raise psutil.NoSuchProcess(process.pid) from None
    return int(stat.rpartition(")")[2].split()[19])


def _bytes_on_disk(folder: Path) -> int:
    """Return the space that a folder takes; files come and go meanwhile, and Kafka's indexes are sparse."""
    total = 0
    for place, _folders, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(place, name).lstat().st_blocks * 512
    return total


def _tail(log: Path) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-TAIL_LINES:])
    except OSError:
        return ""
