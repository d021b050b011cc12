"""Show progress on stderr: one live line on a terminal, a plain line every few seconds elsewhere.

A part of `run` writes it into its state file instead, from which `run` shows it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from rich.live import Live

PLAIN_EVERY = 5.0
"""Seconds between plain lines."""
LIVE_EVERY = 0.1
"""Seconds between redraws of the live line."""
STATE_EVERY = 0.5
"""Seconds between updates of the state file."""


def report_state(text: str) -> None:
    """Write what this command does into its state file, if it has one."""
    if (path := _state_file()) is None:
        return
    with contextlib.suppress(OSError):  # the parent and its folder may be gone
        with open(f"{path}.new", "w", encoding="utf-8") as file:  # noqa: PTH123  (a path of click's)
            file.write(text)
        os.replace(f"{path}.new", path)  # noqa: PTH105


def _state_file() -> str | None:
    context = click.get_current_context(silent=True)
    return context.find_root().params.get("state_file") if context is not None else None


class Progress:
    """Shows the state of long work; a context manager. Call `show` as often as you like."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._has_state_file = _state_file() is not None
        at_once = self._has_state_file or sys.stderr.isatty()
        self._next = time.monotonic() + (0 if at_once else PLAIN_EVERY)

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.live import Live

            from cryptometrics.cli.output import console

            self._live = Live(console=console(stderr=True), auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def due(self) -> bool:
        """Return whether the next `show` would print; a hot loop can skip formatting otherwise."""
        return time.monotonic() >= self._next

    def show(self, text: str) -> None:
        """Show the text unless the last one is too recent."""
        if not self.due():
            return
        if self._live is not None:
            from rich.text import Text

            self._next = time.monotonic() + LIVE_EVERY
            self._live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)
        elif self._has_state_file:
            self._next = time.monotonic() + STATE_EVERY
            report_state(text)
        else:
            self._next = time.monotonic() + PLAIN_EVERY
            click.echo(text, err=True)
