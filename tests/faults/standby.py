"""A primary of PostgreSQL and its streaming standby, which change roles with each failover."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Self

from tests.postgres_server import USER, PostgresProcess
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

STANDBY = "standby"
"""The standby's name in its session of the primary."""


class Pair:
    """Two servers behind one connection string; entered with a primary alone."""

    def __init__(self, folder: Path, name: str) -> None:
        self.primary = PostgresProcess(folder / f"{name}-1")
        self.standby = PostgresProcess(folder / f"{name}-2")
        places = f"{self.primary.place},{self.standby.place}"
        self.uri = f"postgresql://{USER}@{places}/postgres?target_session_attrs=read-write"
        """In this order, whoever is the primary."""

    def __enter__(self) -> Self:
        self.primary.create()
        self.primary.start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self.primary, self.standby):
            if server.running:
                server.kill()

    def attach(self, *, synchronous: bool) -> None:
        """Make the server that is not the primary a standby, which streams.

        synchronous: every commit waits until the standby has it on disk.
        """
        self.standby.copy(self.primary)
        self.standby.start({"primary_conninfo": f"{self.primary.uri()} application_name={STANDBY}"})
        wait_until(lambda: self._state() == ("streaming", "async"), "the standby streams")
        if synchronous:
            self.primary.set("synchronous_standby_names", STANDBY)
            wait_until(lambda: self._state() == ("streaming", "sync"), "the standby is synchronous")

    def _state(self) -> tuple[str, str] | None:
        found = self.primary.execute("SELECT state, sync_state FROM pg_stat_replication")
        return tuple(found[0]) if found else None

    def hold_back(self) -> None:
        """Suspend the process that sends changes to the standby, which then falls behind."""
        ((sender,),) = self.primary.execute("SELECT pid FROM pg_stat_replication")
        os.kill(sender, signal.SIGSTOP)

    def promote(self) -> None:
        """Promote the standby; the server that was the primary is the next standby, once it is attached."""
        self.standby.execute("SELECT pg_promote()")
        self.primary, self.standby = self.standby, self.primary
