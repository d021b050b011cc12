"""Commands of this package that outlive the one that started them, such as those of `demo --keep`.

They use the services of one data folder, whatever the settings of the user name, and `down` stops them.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.config.env_file import KAFKA_CONF, OURS, SHARED
from cryptometrics.local.daemon import Daemon

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

STOP_S = 30.0
"""How long a command may take to finish its work after SIGTERM before it is killed."""


class CommandState(NamedTuple):
    """A kept command, and whether it runs."""

    name: str
    running: bool
    home: Path
    """The data folder whose services it uses."""
    log: Path


class KeptCommands:
    """The kept commands of one data folder, in the order of their start."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folder = home / "commands"

    def start(self, name: str, arguments: Sequence[str]) -> Daemon:
        """Start `cryptometrics` with these arguments, and return its process; `name` is unique here."""
        folder = self._folder / f"{len(self._daemons()):02}-{name}"
        folder.mkdir(parents=True)
        daemon = Daemon(name, folder)
        # A working folder without the user's .env; of the environment, only what is not for another service.
        theirs = (OURS, KAFKA_CONF, *SHARED)
        environment = {key: value for key, value in os.environ.items() if not key.startswith(theirs)}
        daemon.start(
            [sys.executable, "-m", "cryptometrics", *arguments],
            cwd=folder,
            environment=environment | {f"{OURS}HOME": str(self._home)},
        )
        return daemon

    def states(self) -> list[CommandState]:
        """Return the state of each."""
        return [
            CommandState(daemon.name, daemon.process() is not None, self._home, daemon.console)
            for daemon in self._daemons()
        ]

    def running(self) -> list[str]:
        """Return the names of those that run."""
        return [state.name for state in self.states() if state.running]

    def stop(self) -> list[str]:
        """Stop them in the order of their start, and return the names of those that ran."""
        return [daemon.name for daemon in self._daemons() if daemon.stop(signal.SIGTERM, STOP_S)]

    def purge(self) -> None:
        """Delete their logs."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _daemons(self) -> list[Daemon]:
        folders = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        return [Daemon(folder.name.partition("-")[2], folder) for folder in folders]
