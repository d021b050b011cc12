"""A pseudo-terminal for commands that draw a screen."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

from tests.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from tests.conftest import Cli


class Terminal:
    """A pseudo-terminal in which a command runs; what it draws is kept."""

    def __init__(
        self,
        cli: Cli,
        *arguments: str,
        size: tuple[int, int],
        env: dict[str, str] | None = None,
        stdin: int | None = None,
        stderr: IO[str] | None = None,
    ) -> None:
        self._master, slave = pty.openpty()
        self._set_size(size)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cryptometrics", *arguments],
            cwd=cli.cwd,
            env=cli.environment | {"TERM": "xterm-256color"} | (env or {}),
            stdin=slave if stdin is None else stdin,
            stdout=slave,
            stderr=slave if stderr is None else stderr,
            start_new_session=True,
        )
        os.close(slave)
        self.drawn = ""

    def resize(self, size: tuple[int, int]) -> None:
        self._set_size(size)
        self.process.send_signal(signal.SIGWINCH)  # the system does so for a controlling terminal

    def _set_size(self, size: tuple[int, int]) -> None:
        lines, columns = size
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def until(self, condition: Callable[[str], bool], what: str) -> None:
        def drawn() -> bool:
            if select.select([self._master], [], [], 0.2)[0]:
                try:
                    self.drawn += os.read(self._master, 65536).decode(errors="replace")
                except OSError:  # Linux raises this when the other side has closed the terminal
                    assert condition(self.drawn), f"it ended before {what}\n{self.drawn[-3000:]}"
            return condition(self.drawn)

        wait_until(drawn, lambda: f"{what}\n{self.drawn[-3000:]}", poll=0)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT_S)
        os.close(self._master)
