"""Show progress on stderr: one live line on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

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


class Progress:
    """Shows the state of long work; a context manager. Call `show` as often as you like."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._next = time.monotonic() + (0 if sys.stderr.isatty() else PLAIN_EVERY)
        self._text = ""

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
        else:
            self._next = time.monotonic() + PLAIN_EVERY
            click.echo(text, err=True)
