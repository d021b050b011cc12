"""A PostgreSQL over TCP that speaks another language, with a user for each way to log in."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psycopg
import pytest
from psycopg import conninfo

from cryptometrics.local import postgres
from cryptometrics.local.daemon import as_user
from cryptometrics.retry import retrying
from tests.acceptance import encrypted_postgres
from tests.conftest import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST, PASSWORD = "127.0.0.1", "hunter2-ü"
LIMIT_S = 30.0
METHODS = {"scram": "scram-sha-256", "digest": "md5", "clear": "password"}
"""A user of each method of authentication."""


class LanguageServer(NamedTuple):
    """How the server is reached."""

    port: int
    language: str

    def uri(self, user: str, **options: str) -> str:
        """Return the connection string of a user, with other options."""
        parts = {"host": HOST, "port": str(self.port), "user": user, "password": PASSWORD}
        return conninfo.make_conninfo(**parts | {"dbname": "postgres"} | options)


@contextmanager
def running(parent: Path, language: str) -> Iterator[LanguageServer]:
    """Run a server; skip the test where no server has messages in this language."""
    folder = parent / f"language-{uuid.uuid4().hex[:8]}"
    folder.mkdir(mode=0o711)
    user = postgres._server_user()
    environment = {"PATH": os.environ["PATH"]}
    if language == "C":
        programs = postgres._binaries(parent / "language-postgres", user)
    else:
        programs = _translated(language)
        environment["LOCPATH"] = str(_locale(folder, language))
    (folder / "password").write_text(PASSWORD)
    if user is not None:
        for path in (folder, folder / "password"):
            shutil.chown(path, user, user)
    data, server = folder / "data", LanguageServer(free_port(), language)
    subprocess.run(
        [
            programs / "initdb",
            *("-D", data, "--username", "admin", "--encoding=UTF8", "--locale=C", "--no-sync"),
            *("--auth=scram-sha-256", f"--pwfile={folder / 'password'}"),
        ],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        timeout=2 * LIMIT_S,
        **as_user(user),
    )
    rules = [f"host all {name} {HOST}/32 {method}" for name, method in METHODS.items()]
    rules += [f"host all barred {HOST}/32 reject", f"host all all {HOST}/32 scram-sha-256"]
    (data / "pg_hba.conf").write_text("\n".join(rules) + "\n")
    settings = {"listen_addresses": HOST, "port": server.port, "unix_socket_directories": "", "fsync": "off"}
    command = [str(programs / "postgres"), "-D", str(data), f"--lc_messages={language}"]
    command += [f"--{name}={value}" for name, value in settings.items()]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, **as_user(user)
        )
    try:
        _create_users(server)
        yield server
    finally:
        process.send_signal(signal.SIGINT)  # its fast shutdown
        process.wait(LIMIT_S)


def _translated(language: str) -> Path:
    """Return the programs of a server with translations."""
    programs = encrypted_postgres.binaries()
    short = language.partition("_")[0]
    if programs is None or not list(Path(f"/usr/share/locale/{short}/LC_MESSAGES").glob("postgres-*.mo")):
        pytest.skip(f"needs a PostgreSQL with messages in the language {short}, as your distribution's has")
    return programs


def _locale(folder: Path, language: str) -> Path:
    """Create a locale in a folder."""
    locales = folder / "locales"
    locales.mkdir(mode=0o755)
    name, _, charset = language.partition(".")
    command = ["localedef", "-i", name, "-f", charset, str(locales / language)]
    if not shutil.which(command[0]) or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip(f"needs the sources of the locale {name} (Debian's package locales)")
    return locales


def _create_users(server: LanguageServer) -> None:
    connect = retrying(psycopg.OperationalError, timeout=LIMIT_S)
    with connect(psycopg.connect, server.uri("admin"), autocommit=True) as admin:
        for name, method in METHODS.items():
            encryption = "md5" if method == "md5" else "scram-sha-256"
            admin.execute(f"SET password_encryption = '{encryption}'".encode())
            admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'".encode())
        admin.execute(f"CREATE ROLE full LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT 0".encode())
        admin.execute("CREATE DATABASE closed ALLOW_CONNECTIONS false")
        admin.execute("CREATE DATABASE private")
        admin.execute("REVOKE CONNECT ON DATABASE private FROM public")
