"""Real servers with TLS and passwords: one for each valid or invalid certificate.

The PostgreSQL wheel is built without TLS, so these come from the distribution.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from cryptometrics.local import postgres
from cryptometrics.local.daemon import as_user
from cryptometrics.retry import retrying
from tests.acceptance.certificates import Authority
from tests.conftest import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
ADMIN, PASSWORD = "ana", "hunter2-postgres"
LIMIT_S = 30.0
SERVERS = ("good", "expired", "misnamed", "plain")
"""What each server's certificate is; `plain` has none and speaks no TLS."""


@dataclass(frozen=True)
class Servers:
    """How the servers are reached."""

    ports: dict[str, int]
    authority: Path
    foreign_authority: Path

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(
            host=HOST,
            port=self.ports["good"],
            user=ADMIN,
            password=PASSWORD,
            dbname=database,
            sslmode="verify-full",
            sslrootcert=str(self.authority),
            autocommit=True,
        )


def binaries() -> Path | None:
    """Return the folder of the newest PostgreSQL server of the distribution, None where there is none."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    return max(found, key=lambda path: [int(n) for n in re.findall(r"\d+", path.parent.name)], default=None)


@contextlib.contextmanager
def servers(folder: Path, programs: Path) -> Iterator[Servers]:
    """Run the servers in an empty folder; each asks everyone for a password, over TLS only if it has it."""
    ours, theirs = Authority(folder, "ours"), Authority(folder, "theirs")
    certificates = {
        "good": ours.certificate("good", HOST),
        "expired": ours.certificate("expired", HOST, expired=True),
        "misnamed": ours.certificate("misnamed", "db.example"),
    }
    user = postgres._server_user()
    (folder / "password").write_text(PASSWORD + "\n")
    if user is not None:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, user, user)
    subprocess.run(
        [
            programs / "initdb",
            *("-D", folder / "first", "--username", ADMIN, "--encoding=UTF8", "--no-locale", "--no-sync"),
            *("--auth=scram-sha-256", f"--pwfile={folder / 'password'}"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=2 * LIMIT_S,
        **as_user(user),
    )
    ports = {name: free_port() for name in SERVERS}
    running: list[subprocess.Popen[bytes]] = []
    try:
        for name, port in ports.items():
            settings = {"listen_addresses": HOST, "unix_socket_directories": "", "fsync": "off"}
            kind = "host"
            if name in certificates:
                certificate, key = certificates[name]
                settings |= {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(key)}
                kind = "hostssl"
            subprocess.run(["cp", "-a", folder / "first", folder / name], check=True, timeout=LIMIT_S)
            (folder / name / "pg_hba.conf").write_text(f"{kind} all all {HOST}/32 scram-sha-256\n")
            command = [str(part) for part in (programs / "postgres", "-D", folder / name, "-p", port)]
            for setting, value in settings.items():
                command += ["-c", f"{setting}={value}"]
            with (folder / f"{name}.log").open("wb") as log:
                running.append(subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **as_user(user)))
        made = Servers(ports, ours.file, theirs.file)
        retrying(psycopg.OperationalError, timeout=LIMIT_S)(lambda: made.connect().close())
        yield made
    finally:
        for process in running:
            process.send_signal(signal.SIGINT)  # its fast shutdown
        for process in running:
            process.wait(LIMIT_S)
