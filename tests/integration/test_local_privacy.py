"""The local services are private: other users of the machine get no connection and no file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cryptometrics.config.settings import _default_home
from cryptometrics.errors import UserError
from cryptometrics.local.postgres import PostgresServer
from cryptometrics.local.services import Services

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")

# Run as nobody, by the system's Python (the tests' may lie where nobody may not go): connects as libpq does.
CONNECT = """
import socket, sys
connection = socket.socket(socket.AF_UNIX)
try:
    connection.connect(sys.argv[1])
except OSError as error:
    print(type(error).__name__)
else:
    print("connected")
"""
READ = """
import os, sys
for path in sys.argv[1:]:
    try:
        os.listdir(path) if os.path.isdir(path) else open(path).close()
    except OSError as error:
        print(type(error).__name__)
    else:
        print("read", path)
"""


def as_nobody(script: str, *arguments: str | Path) -> list[str]:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
    done = subprocess.run(
        [python, "-I", "-c", script, *map(str, arguments)],
        user="nobody",
        group="nogroup",
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """Return an empty folder that only we may enter, as /root is."""
    folder = Path(tempfile.mkdtemp(prefix="cryptometrics-closed-"))
    yield folder
    shutil.rmtree(folder)


@needs_root
def test_another_user_does_not_reach_postgresql(services: Services) -> None:
    socket_file = services.home / "postgres" / "data" / ".s.PGSQL.5432"
    assert socket_file.is_socket()
    assert as_nobody(CONNECT, socket_file) == ["PermissionError"]


@needs_root
def test_another_user_does_not_reach_a_socket_in_the_common_folder(open_folder: Path) -> None:
    """Where the home's path is too long for a socket's address, the socket lies in a folder of /tmp."""
    postgres = PostgresServer(open_folder / ("x" * 90) / "postgres")
    postgres._folder.parent.mkdir(mode=0o711)
    try:
        postgres.up(lambda _text: None)
        assert postgres._sockets.parent == Path(tempfile.gettempdir())
        assert as_nobody(CONNECT, postgres._sockets / ".s.PGSQL.5432") == ["PermissionError"]
    finally:
        postgres.down()
        postgres.purge()


@needs_root
def test_another_user_reads_no_data_and_no_log(services: Services) -> None:
    private = [
        *(services.home / name for name in ("kafka", "kafka/data", "kafka/server.log", "kafka/console.log")),
        *(services.home / name for name in ("postgres", "postgres/data", "postgres/console.log")),
    ]
    assert all(path.exists() for path in private)
    assert as_nobody(READ, *private) == ["PermissionError"] * len(private)


def test_roots_state_is_outside_of_its_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert _default_home() == Path("/var/lib/cryptometrics")


@needs_root
def test_a_folder_that_is_there_is_never_opened(closed_folder: Path) -> None:
    """PostgreSQL's own user cannot enter it: that is said, and no folder's mode is changed."""
    inside = closed_folder / "home"
    inside.mkdir(mode=0o700)
    with pytest.raises(UserError, match=rf"may not enter {closed_folder}"):
        PostgresServer(inside / "postgres").up(lambda _text: None)
    with Services(inside)._alone():
        pass
    for folder in (closed_folder, inside):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_home_that_is_made_is_ours(open_folder: Path) -> None:
    services = Services(open_folder / "made")
    with services._alone():
        mode = services.home.stat().st_mode & 0o777
    assert mode == (0o711 if os.geteuid() == 0 else 0o700)
    shutil.rmtree(services.home)
