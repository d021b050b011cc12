"""A PostgreSQL server on a loopback port, of any version that this machine has."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
from psycopg import conninfo, sql

from cryptometrics.local import postgres
from cryptometrics.local.daemon import as_user
from tests.conftest import free_port
from tests.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST = "127.0.0.1"
USER = "cryptometrics"


def installed() -> dict[int, Path | None]:
    """Return the programs' folder of each major version: the distribution's, and None for the wheel's."""
    found: dict[int, Path | None] = {}
    for path in Path("/usr/lib/postgresql").glob("*/bin/postgres"):
        if re.fullmatch(r"\d+", path.parents[1].name):
            found[int(path.parents[1].name)] = path.parent
    return found | {int(postgres.version().partition(".")[0]): None}


class PostgresProcess:
    """A server with its data in `folder`, where everybody is trusted; `programs`: None for the wheel's."""

    def __init__(self, folder: Path, programs: Path | None = None) -> None:
        self._user = postgres._server_user()
        self._folder = folder
        self._data = folder / "data"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(mode=0o711)
        if self._user is not None:
            shutil.chown(folder, self._user, self._user)
        self._programs = programs or postgres._binaries(folder, self._user)

    def uri(self, database: str = "postgres") -> str:
        return conninfo.make_conninfo(host=HOST, port=self._port, user=USER, dbname=database)

    @property
    def place(self) -> str:
        """Host and port, as they stand in a URI."""
        return f"{HOST}:{self._port}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def create(self) -> None:
        """Make an empty cluster."""
        self._run("initdb", f"--username={USER}", "--auth=trust", "--encoding=UTF8", "--no-locale")

    def copy(self, primary: PostgresProcess) -> None:
        """Become a standby of another server: with its data of now, in place of what was here."""
        shutil.rmtree(self._data, ignore_errors=True)
        self._run("pg_basebackup", f"--dbname={primary.uri()}", "--checkpoint=fast", "--no-sync")
        (self._data / "standby.signal").touch()
        if self._user is not None:
            shutil.chown(self._data / "standby.signal", self._user, self._user)

    def start(self, settings: Mapping[str, str] | None = None) -> None:
        """Start it, and wait until it accepts clients."""
        arguments = [part for item in (settings or {}).items() for part in ("-c", "=".join(item))]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._programs / "postgres"),
                    *("-D", str(self._data), "-p", str(self._port), "-k", str(self._data)),
                    *("-c", f"listen_addresses={HOST}", *arguments),
                ],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **as_user(self._user),
            )
        wait_until(self._answers, self._last_words, running=self._process)

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Execute a statement as the administrator, in a session of its own."""
        with psycopg.connect(self.uri(), autocommit=True, connect_timeout=5) as connection:
            found = connection.execute(statement.encode(), values or None)
            return [] if found.description is None else found.fetchall()

    def set(self, name: str, value: str) -> None:
        """Change a setting of the running server."""
        self.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), value).as_string())
        self.execute("SELECT pg_reload_conf()")

    def kill(self) -> None:
        """`kill -9` of all its processes, as when its machine fails."""
        assert self._process is not None
        postmaster = psutil.Process(self._process.pid)
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            process.send_signal(signal.SIGKILL)
        self._process.wait(LIMIT_S)
        psutil.wait_procs(processes, LIMIT_S)

    def stop(self) -> None:
        """Stop it and end its sessions."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)  # its fast shutdown
        self._process.wait(LIMIT_S)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, "-D", self._data, *arguments],
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * LIMIT_S,
            **as_user(self._user),
        )
        assert done.returncode == 0, done.stderr

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.uri(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _last_words(self) -> str:
        return f"{self.place} answers\n" + (self._folder / "log").read_text(errors="replace")[-2_000:]
