"""A PostgreSQL server that is reached over TCP with a password."""

from __future__ import annotations

import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import psycopg
import pytest

from cryptometrics.local import postgres
from cryptometrics.local.daemon import as_user
from cryptometrics.retry import retrying
from tests.conftest import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT_S = 30.0
"""Seconds that the server may take to start or to stop."""


class Server(NamedTuple):
    """How the server is reached."""

    host: str
    port: int
    user: str
    password: str

    def connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=database,
            autocommit=True,
        )


@pytest.fixture(scope="session")
def tcp_postgres(open_folder: Path) -> Iterator[Server]:
    """Return a second server, which asks everyone for a password."""
    folder = open_folder / "tcp"
    folder.mkdir(mode=0o700)
    user = postgres._server_user()
    binaries = postgres._binaries(open_folder / "tcp-postgres", user)
    server = Server("127.0.0.1", free_port(), "ana", "hunter2 @:/%20#'ü")
    password_file = folder / "password"
    password_file.write_text(server.password + "\n")
    if user is not None:
        for path in (folder, password_file):
            shutil.chown(path, user, user)
    subprocess.run(
        [
            binaries / "initdb",
            *("-D", folder / "data", "--username", server.user, "--encoding=UTF8", "--no-locale"),
            *("--auth=scram-sha-256", f"--pwfile={password_file}"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=2 * LIMIT_S,
        **as_user(user),
    )
    settings = {"listen_addresses": server.host, "unix_socket_directories": "", "fsync": "off"}
    command = [str(part) for part in (binaries / "postgres", "-D", folder / "data", "-p", server.port)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **as_user(user))
    try:
        retrying(psycopg.OperationalError, timeout=LIMIT_S)(lambda: server.connect("postgres").close())
        yield server
    finally:
        process.send_signal(signal.SIGINT)  # its fast shutdown
        process.wait(LIMIT_S)
