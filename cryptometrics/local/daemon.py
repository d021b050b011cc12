"""A server process that outlives the command that started it; later commands find it again."""

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
    from collections.abc import Callable, Mapping, Sequence

POLL_EVERY = 0.05
"""Seconds between checks of a process that starts or stops."""
REAP_TIMEOUT = 5.0
TAIL_LINES = 15
"""Lines of each log shown when a start fails."""


@dataclass(frozen=True)
class ServiceStatus:
    """The state of one local service."""

    running: bool
    address: str | None
    """Address for clients; None while it is stopped."""
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
        """Logs to show when a start fails."""
        self._record = folder / "process.json"
        self._child: subprocess.Popen[bytes] | None = None

    def process(self) -> psutil.Process | None:
        """Return the running process, or None; a later process with the same pid does not count."""
        if self._child is not None:
            self._child.poll()  # reap it if it has ended
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

    def start(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start the server in its own session, so that Ctrl-C and the end of this command do not stop it.

        environment: by default that of this process.
        """
        with self.console.open("wb") as console:
            self._child = subprocess.Popen(
                command,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                **as_user(user),
            )
        record = {"pid": self._child.pid, "birth": _birth(psutil.Process(self._child.pid))}
        files.write(self._record, json.dumps(record).encode())

    def joins(self, ready: Callable[[], bool], timeout: float) -> bool:
        """Return whether one is already running and wait until it is ready; False if it ends instead."""
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
        """Wait until the server is ready; raise ServiceUnavailableError if it ends or takes too long."""
        deadline = time.monotonic() + timeout
        while not ready():
            if self.process() is None:
                raise self.failure("ended during its start")
            if time.monotonic() > deadline:
                raise self.failure(f"was not ready after {timeout:.0f} s")
            time.sleep(POLL_EVERY)

    def stop(self, how: signal.Signals, timeout: float) -> bool:
        """Stop the process with signal `how`, then SIGKILL after `timeout` seconds; return whether it ran."""
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
        # psutil's wait counts a zombie as alive, and the init process of a container may never reap it.
        deadline = time.monotonic() + timeout
        while self.process() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_EVERY)
        return True

    def _reap(self) -> None:
        """Wait until a zombie child has ended completely; only then are its files and ports free."""
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(REAP_TIMEOUT)

    def failure(self, what: str) -> ServiceUnavailableError:
        """Return an error whose notes are the last lines of the logs."""
        error = ServiceUnavailableError(f"{self.name} {what}: see {self.logs[-1]}")
        for log in self.logs:
            if tail := _tail(log):
                error.add_note(f"--- {log}\n{tail}")
        return error

    def status(self, address: str, version: str) -> ServiceStatus:
        """Return the state of the process and the size of its folder on disk."""
        process = self.process()
        return ServiceStatus(
            running=process is not None,
            address=address if process else None,
            version=version,
            pid=process.pid if process else None,
            uptime_seconds=round(max(0.0, time.time() - process.create_time()), 1) if process else None,
            bytes_on_disk=_bytes_on_disk(self.folder),
            log=str(self.logs[-1]),
        )


def as_user(user: str | None) -> dict[str, Any]:
    """Return subprocess options that run a command as `user`; None keeps the current user."""
    return {} if user is None else {"user": user, "group": user, "extra_groups": []}


def _birth(process: psutil.Process) -> float:
    """Return the start time that distinguishes a process from a later one with the same pid.

    On Linux it is in clock ticks since boot: psutil's time of day changes when the clock is set.
    """
    if not Path("/proc/self/stat").exists():
        return float(process.create_time())
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text()
    except OSError:
        raise psutil.NoSuchProcess(process.pid) from None
    return int(stat.rpartition(")")[2].split()[19])


def _bytes_on_disk(folder: Path) -> int:
    """Return the disk space of a folder; files may come and go meanwhile, and Kafka's indexes are sparse."""
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
