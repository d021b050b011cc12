"""Run commands of this package as child processes, show what they do, and end them with their parent.

A child writes its state, one line, into the file that `--state-file` names; its parent reads it.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cryptometrics.errors import CryptometricsError, ServiceUnavailableError, UserError
from cryptometrics.times import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

END_S = 60.0
"""How long a child may take to finish its work after SIGTERM before it is killed."""
KILLED_S = 10.0
OLD_S = 10.0
"""Age from which a state is shown with its age."""
NOT_BEGUN = {128 + signal.SIGTERM, -signal.SIGTERM}
"""Exit codes of a child that was told to stop before its work began; later it ends with 0."""
PASSED_ON = {UserError.exit_code, ServiceUnavailableError.exit_code}
"""Exit codes of a child that become those of its parent."""


@dataclass(eq=False)
class _Child:
    name: str
    process: subprocess.Popen[bytes]
    output: Path
    """Its standard output."""
    log: Path
    """Its standard error."""
    state_file: Path
    stopped: bool = False
    """Whether it was still running when it was told to stop."""

    def state(self) -> str:
        """Return what it does, in one line; empty until it has reported."""
        try:
            text, written = self.state_file.read_text("utf-8", "replace"), self.state_file.stat().st_mtime
        except FileNotFoundError:
            return ""
        age = time.time() - written
        return text if age < OLD_S else f"{text} ({format_duration(timedelta(seconds=age))} ago)"

    def began(self) -> bool:
        """Return whether it was not stopped before its work began."""
        return not (self.stopped and self.process.poll() in NOT_BEGUN)

    def failed(self) -> bool:
        """Return whether it ended with a failure, or was stopped while it waited for a service."""
        return bool(self.process.poll()) if self.began() else bool(self.state())

    def error(self) -> CryptometricsError:
        """Return how it failed, with the last line of its log and the log's path."""
        code = self.process.poll()
        if not self.began():
            return ServiceUnavailableError(f"{self.name} did not begin: {self.state()} (log: {self.log})")
        how = f"exit code {code}" if code is None or code >= 0 else f"signal {-code}"
        error = CryptometricsError(f"{self.name} ended ({how}): {self.last_words()} (log: {self.log})")
        error.exit_code = code if code in PASSED_ON else error.exit_code
        return error

    def result(self) -> str:
        """Return the last line that it printed."""
        if not self.began():
            return f"{self.name}: stopped before it began"
        return self.output.read_text(errors="replace").strip().split("\n")[-1]

    def last_words(self) -> str:
        """Return the last line of its log that is not empty."""
        lines = self.log.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "the log is empty")


class Children:
    """Start commands, and end them in the order of their start; a context manager.

    Their output goes to files, which are kept if one of them fails.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cryptometrics-run-"))
        """Folder with their output and logs."""
        self._children: list[_Child] = []
        self._failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.end()
        finally:
            for child in self._children:
                if child.process.poll() is None:
                    child.process.kill()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        child.process.wait(KILLED_S)
            if not self._failed:
                shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, name: str, arguments: Sequence[str]) -> None:
        """Start `cryptometrics` with these arguments; signals from the terminal do not reach it."""
        output, log, state = (self.folder / f"{name}.{suffix}" for suffix in ("out", "log", "state"))
        command = [sys.executable, "-m", "cryptometrics", "--log-format", "json", "--state-file", str(state)]
        with output.open("wb") as stdout, log.open("wb") as stderr:
            process = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self._children.append(_Child(name, process, output, log, state))

    def states(self) -> list[tuple[str, str]]:
        """Return each child's name and what it does."""
        return [(child.name, child.state() or "starting") for child in self._children]

    def check(self) -> None:
        """Raise CryptometricsError, with the child's exit code, if one has ended by itself."""
        for child in self._children:
            if child.process.poll() is not None:
                self._failed = True
                raise child.error()

    def end(self) -> list[str]:
        """Stop the children one after the other and return the last line that each printed.

        `check_ends` reports how they ended.
        """
        for child in self._children:
            if child.process.poll() is None:
                child.stopped = True
                child.process.terminate()
                try:
                    child.process.wait(END_S)
                except subprocess.TimeoutExpired:
                    child.process.kill()
                    child.process.wait(KILLED_S)
            self._failed |= child.failed()
        return [result for child in self._children if (result := child.result())]

    def check_ends(self) -> None:
        """Raise CryptometricsError if one failed at its end or was killed; its log stays.

        If several failed in different ways, the exit code is that of any failure.
        """
        if failed := [child.error() for child in self._children if child.failed()]:
            codes = {error.exit_code for error in failed}
            together = CryptometricsError("; ".join(map(str, failed)))
            together.exit_code = codes.pop() if len(codes) == 1 else together.exit_code
            raise together
