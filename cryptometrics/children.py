"""Commands of ours as processes that end with us: each in a session of its own, ended by its pid."""

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
"""How long one may take to finish what it has in hand; then it is killed."""
KILLED_S = 10.0
ASKED = {0, 128 + signal.SIGTERM, -signal.SIGTERM}
"""Exit codes of one that was asked to end, in whichever moment of its life."""


@dataclass(eq=False)
class _Child:
    name: str
    process: subprocess.Popen[bytes]
    said: Path
    """Its standard output."""
    log: Path
    """Its standard error."""
    asked: bool = False
    """Whether it was still there to be asked to end."""

    def failed(self) -> bool:
        """Whether it has ended otherwise than it should."""
        code = self.process.poll()
        return code is not None and code not in (ASKED if self.asked else {0})

    def account(self) -> str:
        """Say how it has ended, with its last words and where the rest is."""
        code = self.process.poll()
        how = f"exit code {code}" if code is None or code >= 0 else f"signal {-code}"
        return f"{self.name} ended ({how}): {self.last_words()} (log: {self.log})"

    def last_words(self) -> str:
        """Return the last line of its log that says something."""
        lines = self.log.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


class Children:
    """Starts commands and ends them, the first one first; a context manager.

    Their output goes to files, which stay when one of them has failed.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cryptometrics-run-"))
        """Where their logs are."""
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
        """Start `cryptometrics` with these arguments; a signal from the terminal reaches us alone."""
        said, log = self.folder / f"{name}.out", self.folder / f"{name}.log"
        with said.open("wb") as stdout, log.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "cryptometrics", "--log-format", "json", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self._children.append(_Child(name, process, said, log))

    def check(self) -> None:
        """Raise CryptometricsError, with the exit code and the last words, where one has ended by itself."""
        for child in self._children:
            code = child.process.poll()
            if code is not None:
                self._failed = True
                error = CryptometricsError(child.account())
                error.exit_code = code if code in {2, 3} else 1
                raise error

    def end(self) -> list[str]:
        """Ask each to finish and wait for it, one after the other; return the last line that each printed.

        How they have ended is for `check_ends` to say.
        """
        for child in self._children:
            if child.process.poll() is None:
                child.asked = True
                child.process.terminate()
                try:
                    child.process.wait(END_S)
                except subprocess.TimeoutExpired:
                    child.process.kill()
                    child.process.wait(KILLED_S)
            self._failed |= child.failed()
        said = (
            child.said.read_text(errors="replace").strip() for child in self._children if child.said.exists()
        )
        return [text.split("\n")[-1] for text in said if text]

    def check_ends(self) -> None:
        """Raise CryptometricsError where one has failed at its end or was killed; its log stays."""
        if failed := [child.account() for child in self._children if child.failed()]:
            raise CryptometricsError("; ".join(failed))
