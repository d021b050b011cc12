"""Completion of pairs, groups and venues in the shell, from what is stored.

A shell waits for it while a person types. So it takes a second at most, whatever the database does, and says
nothing: without an answer there are no suggestions.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

    from cryptometrics.store.stored_names import Named

LIMIT_S = 1.0


def pairs(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[str]:
    """Return the stored pairs that begin with a text; of several with commas, complete the last."""
    before, comma, last = incomplete.rpartition(",")
    wanted = last.upper().replace("/", "-")
    return [before + comma + pair for pair in _stored("pair") if pair.startswith(wanted)]


def groups(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[str]:
    """Return the consumer groups with stored ticks that begin with a text."""
    return [name for name in _stored("group") if name.startswith(incomplete)]


def venues(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[str]:
    """Return the venues with stored ticks that begin with a text."""
    return [name for name in _stored("venue") if name.startswith(incomplete)]


def _stored(what: Named) -> list[str]:
    """Return stored names; nothing if they cannot be had within the limit."""
    found: list[str] = []

    def read() -> None:
        with contextlib.suppress(
            Exception
        ):  # not configured, not running, no schema: there is nothing to say
            found.extend(_read(what))

    # A thread, because looking up a host's name cannot be interrupted.
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(LIMIT_S)
    return [*found]


def _read(what: Named) -> list[str]:
    from cryptometrics import config
    from cryptometrics.store.connection import connect_once
    from cryptometrics.store.connection_options import checked
    from cryptometrics.store.stored_names import stored_names

    with connect_once(checked(config.load().postgres())) as connection:
        return stored_names(connection, what, limit_ms=int(1000 * LIMIT_S))
