"""PgBouncer in front of a database, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import conninfo

from cryptometrics.local import postgres
from cryptometrics.local.daemon import as_user
from cryptometrics.retry import retrying
from tests.conftest import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "127.0.0.1"
LIMIT_S = 30.0


@contextmanager
def running(parent: Path, uri: str, mode: str) -> Iterator[str]:
    """Run PgBouncer in a mode of its pool; yield the connection string that leads through it."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("needs PgBouncer, such as Debian's package pgbouncer")
    folder = parent / f"pgbouncer-{uuid.uuid4().hex[:8]}"
    folder.mkdir(mode=0o711)
    server, port = conninfo.conninfo_to_dict(uri), free_port()
    (folder / "users").write_text(f'"{server["user"]}" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"""
        [databases]
        {server["dbname"]} = host={server["host"]} port={server["port"]}
        [pgbouncer]
        listen_addr = {HOST}
        listen_port = {port}
        unix_socket_dir =
        auth_type = trust
        auth_file = {folder / "users"}
        pool_mode = {mode}
        """
    )
    user = postgres._server_user()  # PgBouncer does not run as root
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "pgbouncer.ini"], cwd=folder, stdout=log, stderr=log, **as_user(user)
        )
    pooled = conninfo.make_conninfo(
        host=HOST, port=port, user=server["user"], dbname=server["dbname"], connect_timeout=5
    )
    try:
        retrying(psycopg.OperationalError, timeout=LIMIT_S)(psycopg.connect, pooled).close()
        yield pooled
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(LIMIT_S)
