"""Both services together: started, stopped and described as one, each home apart from every other.

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
from cryptometrics.errors import CryptometricsError, UserError
from cryptometrics.local import jars as kafka_jars
from cryptometrics.local.kafka import FAVOURITE_PORT, Kafka
from cryptometrics.local.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from cryptometrics.local.daemon import Status

ADDRESS_NAMES = {"kafka": "bootstrap_servers", "postgres": "uri"}
"""What each service's address is called where programs read it: in endpoints.json and in `status --json`."""
LOCK_TIMEOUT = 600.0
"""Seconds to wait for another command at the same home: it may be downloading."""


class Service(Protocol):
    """What both services can do."""

    @property
    def address(self) -> str:
        """How clients reach it."""

    def up(self, progress: Callable[[str], None]) -> None:
        """Start it where it does not run, and return when it takes clients."""

    def down(self) -> bool:
        """Stop it; return whether it ran."""

    def status(self) -> Status:
        """Describe it."""

    def purge(self) -> None:
        """Delete its data."""


def _silent(_text: str) -> None:
    pass


class Services:
    """Kafka and PostgreSQL with their state under one folder; as a context manager it stops them at its end.

    home: where the state is; made where it is missing.
    jars: where Kafka's jars are; by default in the home. Several homes can share them.
    kafka_port: the port to take where it is free and no other was used before.
    """

    def __init__(self, home: Path, jars: Path | None = None, *, kafka_port: int = FAVOURITE_PORT) -> None:
        self.home = home.absolute()
        self._kafka = Kafka(self.home / "kafka", jars or kafka_jars.folder(self.home), kafka_port)
        self._postgres = Postgres(self.home / "postgres")
        self._each: dict[str, Service] = {"kafka": self._kafka, "postgres": self._postgres}
        self._endpoints = self.home / "endpoints.json"

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
        """Return when both services take clients; those that already run are left alone.

        Returns the name and the process id of each that was started here, for `down`.
        All or nothing: when one fails, or on Ctrl-C, what was begun here is stopped again. Raises UserError
        or ServiceUnavailableError; the notes of the latter are the last lines of the logs.
        """
        with self._alone():
            before = self._pids()
            begun = [service for name, service in self._each.items() if name not in before]
            try:
                with ThreadPoolExecutor(1) as pool:
                    # Beside Kafka, which takes longer and so is the one to show.
                    postgres = pool.submit(self._postgres.up, _silent)
                    self._kafka.up(progress)
                    postgres.result()
            except BaseException:
                for service in begun:
                    service.down()
                raise
            finally:
                self._write_endpoints()
            # One that ran, but ended just then, was started here, too.
            return {name: pid for name, pid in self._pids().items() if before.get(name) != pid}

    def down(self, started: Mapping[str, int] | None = None) -> list[str]:
        """Stop both and return the names of those that ran; the data stays.

        started: what `up` has returned; only these are stopped, and none that was started again since.
        """
        if not self.home.is_dir():
            return []
        with self._alone():
            if started is None:
                return self._stop(self._each)
            now = self._pids()
            return self._stop([name for name, pid in started.items() if now.get(name) == pid])

    def purge(self) -> list[str]:
        """Stop both and delete their data; what was downloaded stays. Return the names of those that ran."""
        if not self.home.is_dir():
            return []
        with self._alone():
            stopped = self._stop(self._each)
            for service in self._each.values():
                service.purge()
            return stopped

    def status(self) -> dict[str, Status]:
        """Describe each service by its name."""
        return {name: service.status() for name, service in self._each.items()}

    @contextlib.contextmanager
    def reserved(self, what: str) -> Iterator[None]:
        """Let one `what` at a time use this home within the block; raise UserError where another one does.

        The lock ends with the process, however that ends; commands that do not reserve are not kept out.
        """
        lock = filelock.FileLock(self.home / f".{what}.lock")
        with self._usable():
            self._make_home()
            try:
                lock.acquire(blocking=False)
            except filelock.Timeout:
                raise UserError(
                    f"another {what} is running in {self.home}: "
                    "wait for its end, or set CRYPTOMETRICS_HOME to another folder"
                ) from None
        try:
            yield
        finally:
            lock.release()

    def _pids(self) -> dict[str, int]:
        """Return the process id of each service that runs."""
        return {name: status.pid for name, status in self.status().items() if status.pid is not None}

    def _stop(self, names: Collection[str]) -> list[str]:
        # First of all, so that nobody is sent to one that ends.
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
        """Let one command at a time change what runs here."""
        with self._usable():
            self._make_home()
            try:
                with filelock.FileLock(self.home / ".lock", timeout=LOCK_TIMEOUT):
                    yield
            except filelock.Timeout:
                raise CryptometricsError(
                    f"another command has been at work in {self.home} for too long"
                ) from None

    @contextlib.contextmanager
    def _usable(self) -> Iterator[None]:
        """Say in one line what the disk does not allow."""
        try:
            yield
        except OSError as error:
            raise UserError(
                f"cannot use {error.filename or self.home}: {error.strerror or error}: "
                "make room there, or set CRYPTOMETRICS_HOME to another folder"
            ) from None

    def _make_home(self) -> None:
        # A folder that is there already stays as it is: it is somebody's.
        if not self.home.is_dir():
            self.home.mkdir(parents=True, exist_ok=True)
            # Nobody else's business; but as root, PostgreSQL's own user must get through to its folder.
            self.home.chmod(0o711 if os.geteuid() == 0 else 0o700)
