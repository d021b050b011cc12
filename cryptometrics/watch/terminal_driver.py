"""Connect Textual to the terminal on stdout, and leave the process as it was."""

from __future__ import annotations

import contextlib
import signal
import sys
from typing import TYPE_CHECKING, Any

from textual.drivers.linux_driver import LinuxDriver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from textual.app import App

_SIGNALS = (signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH, signal.SIGTTIN, signal.SIGTTOU)
"""The signals whose handlers Textual sets and keeps."""


class TerminalDriver(LinuxDriver):
    """Draws on stdout, and reads keys from stdin or, where that is no terminal, from the terminal of stdout.

    Textual's own driver draws on stderr: with `2> watch.log` the screen would go into the log.
    """

    def __init__(self, app: App[Any], *, debug: bool, mouse: bool, size: tuple[int, int] | None) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        stdout = sys.__stdout__
        assert stdout is not None  # noqa: S101  (it is a terminal)
        self._file = _Output(stdout)  # type: ignore[assignment]
        if not self.input_tty:
            self.fileno = stdout.fileno()
            self.input_tty = True


class _Output:
    """Writes to a stream that may vanish: when the terminal is closed, only the end is left to do."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()


@contextlib.contextmanager
def signals_restored() -> Iterator[None]:
    """Restore the handlers that Textual sets: later, Ctrl-Z must not draw on a screen that is gone."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
