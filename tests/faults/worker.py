"""A worker, or another command, as a process of its own."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from pathlib import Path


class CommandProcess:
    """A running command of `cryptometrics`, its words in a file."""

    def __init__(self, place: Path, environment: dict[str, str], arguments: tuple[str, ...]) -> None:
        self.log = place
        with place.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cryptometrics", *arguments],
                cwd=place.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.doomed = False
        """Whether its end is what the test wants."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def ended(self) -> bool:
        return self.process.poll() is not None

    def kill(self) -> None:
        """`kill -9`."""
        self.doomed = True
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self, limit: float = 60.0) -> int:
        """Send SIGTERM, as a person or a service manager does; return the exit code."""
        self.doomed = True
        self.process.terminate()
        return self.process.wait(limit)

    def wait(self, limit: float) -> int:
        self.doomed = True
        return self.process.wait(limit)

    def words(self) -> str:
        return self.log.read_text(errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return its log events of this name."""
        found = []
        for line in self.words().splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and event.get("event") == name:
                    found.append(event)
        return found

    def resident(self) -> int:
        """Return its memory in bytes."""
        return int(psutil.Process(self.pid).memory_info().rss)


class WorkerProcess(CommandProcess):
    """A `cryptometrics process`."""

    def __init__(
        self, place: Path, group: str, environment: dict[str, str], arguments: tuple[str, ...]
    ) -> None:
        super().__init__(place, environment, ("process", "--group", group, *arguments))

    def stop_at_any_time(self) -> None:
        """Send SIGTERM and check the exit code: 0, or 143 if it comes before the worker has begun.

        Until Python has set its signal handlers, the signal itself ends the process, without a word.
        """
        has_partitions = bool(self.events("partitions_assigned"))
        code, words = self.stop(), self.words()
        is_early = code == 128 + signal.SIGTERM or (code == -signal.SIGTERM and not words)
        assert code == 0 or (is_early and not has_partitions), f"exit code {code}\n{words}"
