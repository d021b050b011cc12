"""Start, stop and describe both services together; every data folder has its own pair.

with Services(home) as services:
    services.up()
    services.postgres_uri, services.bootstrap_servers
"""

from __future__ import annotations

import contextlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, Self

import filelock

from cryptometrics import files
from cryptometrics.config.endpoints import ADDRESS_NAMES, file_in
from cryptometrics.errors import CryptometricsError, UserError
from cryptometrics.local import jars as kafka_jars
from cryptometrics.local.kafka import DEFAULT_PORT, KafkaServer
from cryptometrics.local.kept_commands import KeptCommands
from cryptometrics.local.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from cryptometrics.local.daemon import ServiceStatus

LOCK_TIMEOUT = 600.0
"""Seconds to wait for another command with the same data folder: it may be downloading."""


class LocalService(Protocol):
    """What both services have in common."""

    @property
    def address(self) -> str:
        """Address for clients."""

    def up(self, progress: Callable[[str], None]) -> None:
        """Start it unless it is running; return when it accepts clients."""

    def down(self) -> bool:
        """Stop it; return whether it ran."""

    def status(self) -> ServiceStatus:
        """Return its state."""

    def purge(self) -> None:
        """Delete its data."""


def _silent(_text: str) -> None:
    pass


class Services:
    """Kafka and PostgreSQL with their state in one folder; as a context manager, it stops them at the end.

    home: the data folder; created if missing.
    jars: folder with Kafka's jars, by default in `home`; several data folders can share it.
    kafka_port: the preferred port of the first start.
    """

    def __init__(self, home: Path, jars: Path | None = None, *, kafka_port: int = DEFAULT_PORT) -> None:
        self.home = home.absolute()
        self._kafka = KafkaServer(self.home / "kafka", jars or kafka_jars.folder(self.home), kafka_port)
        self._postgres = PostgresServer(self.home / "postgres")
        self._each: dict[str, LocalService] = {"kafka": self._kafka, "postgres": self._postgres}
        self._endpoints = file_in(self.home)
        self.commands = KeptCommands(self.home)
        """Commands that use these services and are stopped with them."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def bootstrap_servers(self) -> str:
        """Kafka's address."""
        return self._kafka.address

    @property
    def postgres_uri(self) -> str:
        """PostgreSQL's connection URI."""
        return self._postgres.address

    def up(self, progress: Callable[[str], None] = _silent) -> dict[str, int]:
        """Start the services that are not running; return when both accept clients.

        Returns the name and process id of each one started here, for `down`. All or nothing: if one fails,
        or on Ctrl-C, the ones started here are stopped again. Raises UserError or ServiceUnavailableError;
        the notes of the latter are the last lines of the logs.
        """
        with self._alone():
            before = self._pids()
            begun = [service for name, service in self._each.items() if name not in before]
            try:
                with ThreadPoolExecutor(1) as pool:
                    # Concurrently; Kafka takes longer, so the progress line shows Kafka.
                    postgres = pool.submit(self._postgres.up, _silent)
                    self._kafka.up(progress)
                    postgres.result()
            except BaseException:
                for service in begun:
                    service.down()
                raise
            finally:
                self._write_endpoints()
            # A service that ran at first but ended meanwhile was started here, too.
            return {name: pid for name, pid in self._pids().items() if before.get(name) != pid}

    def down(self, started: Mapping[str, int] | None = None) -> list[str]:
        """Stop both, keep their data, and return the names of what ran: the kept commands first.

        started: the result of `up`; only these processes are stopped, not ones started since.
        """
        if not self.home.is_dir():
            return []
        with self._alone():
            if started is None:
                return [*self.commands.stop(), *self._stop(self._each)]
            now = self._pids()
            return self._stop([name for name, pid in started.items() if now.get(name) == pid])

    def purge(self) -> list[str]:
        """Stop both and delete their data, but keep downloads; return the names of what ran."""
        if not self.home.is_dir():
            return []
        with self._alone():
            stopped = [*self.commands.stop(), *self._stop(self._each)]
            self.commands.purge()
            for service in self._each.values():
                service.purge()
            return stopped

    def status(self) -> dict[str, ServiceStatus]:
        """Return the state of each service by its name."""
        return {name: service.status() for name, service in self._each.items()}

    @contextlib.contextmanager
    def reserved(self, what: str) -> Iterator[None]:
        """Let only one `what` at a time use this data folder; raise UserError if another one does.

        The lock ends with the process, however it ends. It does not affect commands that do not reserve.
        """
        lock = filelock.FileLock(self.home / f".{what}.lock")
        with self._usable():
            self._make_home()
            try:
                lock.acquire(blocking=False)
            except filelock.Timeout:
                raise UserError(
                    f"another {what} is running in {self.home}: "
                    "wait until it ends, or set CRYPTOMETRICS_HOME to another folder"
                ) from None
        try:
            yield
        finally:
            lock.release()

    def _pids(self) -> dict[str, int]:
        """Return the process id of each running service."""
        return {name: status.pid for name, status in self.status().items() if status.pid is not None}

    def _stop(self, names: Collection[str]) -> list[str]:
        # First, so that no command connects to a service that is ending.
        self._write_endpoints(leave_out=names)
        return [name for name in names if self._each[name].down()]

    def _write_endpoints(self, leave_out: Collection[str] = ()) -> None:
        running = {
            name: status for name, status in self.status().items() if status.running and name not in leave_out
        }
        endpoints = {name: {ADDRESS_NAMES[name]: status.address} for name, status in running.items()}
        if endpoints:
            files.write(self._endpoints, (json.dumps(endpoints, indent=2) + "\n").encode())
        else:
            self._endpoints.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one command at a time start and stop services here."""
        with self._usable():
            self._make_home()
            try:
                with filelock.FileLock(self.home / ".lock", timeout=LOCK_TIMEOUT):
                    yield
            except filelock.Timeout:
                raise CryptometricsError(
                    f"another command has been using {self.home} for {LOCK_TIMEOUT:.0f} s: wait until it ends"
                ) from None

    @contextlib.contextmanager
    def _usable(self) -> Iterator[None]:
        """Raise UserError if the disk refuses something."""
        try:
            yield
        except OSError as error:
            raise UserError(
                f"cannot use {error.filename or self.home}: {error.strerror or error}: "
                "free some space, or set CRYPTOMETRICS_HOME to another folder"
            ) from None

    def _make_home(self) -> None:
        # The rights of an existing folder stay unchanged: the user chose them.
        if not self.home.is_dir():
            self.home.mkdir(parents=True, exist_ok=True)
            # Private; but as root, PostgreSQL's own user must be able to pass through.
            self.home.chmod(0o711 if os.geteuid() == 0 else 0o700)
