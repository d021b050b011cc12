"""Run commands of this package as child processes, and end them with their parent."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cryptometrics.errors import CryptometricsError

if TYPE_CHECKING:
    from collections.abc import Sequence

END_S = 60.0
"""How long a child may take to finish its work after SIGTERM before it is killed."""
KILLED_S = 10.0
STOPPED = {0, 128 + signal.SIGTERM, -signal.SIGTERM}
"""Exit codes of a child that was told to stop, at any moment of its life."""


@dataclass(eq=False)
class _Child:
    name: str
    process: subprocess.Popen[bytes]
    output: Path
    """Its standard output."""
    log: Path
    """Its standard error."""
    stopped: bool = False
    """Whether it was still running when it was told to stop."""

    def failed(self) -> bool:
        """Return whether it ended with an exit code that means failure."""
        code = self.process.poll()
        return code is not None and code not in (STOPPED if self.stopped else {0})

    def describe(self) -> str:
        """Describe how it ended, with the last line of its log and the log's path."""
        code = self.process.poll()
        how = f"exit code {code}" if code is None or code >= 0 else f"signal {-code}"
        return f"{self.name} ended ({how}): {self.last_words()} (log: {self.log})"

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
        output, log = self.folder / f"{name}.out", self.folder / f"{name}.log"
        with output.open("wb") as stdout, log.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "cryptometrics", "--log-format", "json", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self._children.append(_Child(name, process, output, log))

    def check(self) -> None:
        """Raise CryptometricsError, with the child's exit code, if one has ended by itself."""
        for child in self._children:
            code = child.process.poll()
            if code is not None:
                self._failed = True
                error = CryptometricsError(child.describe())
                error.exit_code = code if code in {2, 3} else 1
                raise error

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
        outputs = (
            child.output.read_text(errors="replace").strip()
            for child in self._children
            if child.output.exists()
        )
        return [text.split("\n")[-1] for text in outputs if text]

    def check_ends(self) -> None:
        """Raise CryptometricsError if one failed at its end or was killed; its log stays."""
        if failed := [child.describe() for child in self._children if child.failed()]:
            raise CryptometricsError("; ".join(failed))
