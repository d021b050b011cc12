"""Fixtures for all tests: a real Kafka and a real PostgreSQL, started once per run.

The services run in a folder of their own on free ports, so a user's own services are never touched. Only the
downloaded jars are shared with those.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import conninfo, sql

from cryptometrics import config
from cryptometrics.local import jars
from cryptometrics.local.services import Services
from cryptometrics.store.connection import connect
from cryptometrics.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

OURS = ("CRYPTOMETRICS_", "DB_", "KAFKA_", "DATABASE_URL", "PG")
"""Prefixes of the environment variables that configure the package."""
SCREEN = ("COLUMNS", "LINES")
"""Variables that state the size of a terminal."""
COMMAND_TIMEOUT = 60.0
"""Seconds that one command may take in a test, unless the test says otherwise."""


def clean_environment() -> dict[str, str]:
    """Return this process's environment without the package's configuration and a terminal's size."""
    return {name: value for name, value in os.environ.items() if not name.startswith((*OURS, *SCREEN))}


@pytest.fixture(autouse=True)
def _unconfigured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide the configuration and the terminal's size of the user who runs the tests."""
    for name in [name for name in os.environ if name.startswith(OURS) or name in SCREEN]:
        monkeypatch.delenv(name)
    config.load.cache_clear()
    yield
    config.load.cache_clear()


@pytest.fixture(scope="session")
def shared_jars() -> Path:
    """Return the folder of Kafka's jars in the user's own home: downloaded once a machine, not once a run."""
    place = jars.folder(config.load().home)
    jars.ensure(place, lambda _text: None)
    return place


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """Return an empty folder that PostgreSQL's own user may enter; pytest's folders are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="cryptometrics-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def services(open_folder: Path, shared_jars: Path) -> Iterator[Services]:
    """Return the running services of this test run."""
    with Services(open_folder / "run", shared_jars, kafka_port=0) as running:
        running.up()
        yield running


def settings_for(services: Services, database: str, topic: str) -> config.Settings:
    """Return the settings of a database and a topic of the running services."""
    return config.Settings.of(
        {
            "database_url": conninfo.make_conninfo(services.postgres_uri, dbname=database),
            "kafka_bootstrap_servers": services.bootstrap_servers,
            "kafka_topic": topic,
            "CRYPTOMETRICS_HOME": services.home,
        }
    )


@pytest.fixture
def empty_database_settings(services: Services) -> Iterator[config.Settings]:
    """Return the settings of a new, empty database and of a topic that does not exist yet."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    database = sql.Identifier(name)
    with psycopg.connect(services.postgres_uri, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(database))
    yield settings_for(services, name, name)
    with psycopg.connect(services.postgres_uri, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))


@pytest.fixture
def settings(empty_database_settings: config.Settings) -> config.Settings:
    """Return the settings of a new database with the schema, and of a topic that does not exist yet."""
    with psycopg.connect(empty_database_settings.postgres()) as connection:
        migrate(connection)
    return empty_database_settings


@pytest.fixture
def connection(settings: config.Settings) -> Iterator[psycopg.Connection]:
    """Return a connection, as the commands make it, to the test's database."""
    with connect(settings) as connection:
        yield connection


def environment_of(settings: config.Settings) -> dict[str, str]:
    """Return the variables that give a command these settings."""
    return {
        "DATABASE_URL": settings.postgres(),
        "KAFKA_BOOTSTRAP_SERVERS": str(settings.kafka()["bootstrap.servers"]),
        "KAFKA_TOPIC": settings.kafka_topic,
        "CRYPTOMETRICS_HOME": str(settings.home),
    }


@pytest.fixture
def home(open_folder: Path, shared_jars: Path) -> Iterator[Path]:
    """Return a home of its own with the jars in place; what runs there at the end of the test is stopped."""
    home = open_folder / uuid.uuid4().hex[:8]  # short: the path of a socket is limited
    home.mkdir()
    jars.folder(home).symlink_to(shared_jars, target_is_directory=True)
    yield home
    for place in (home / "demo", home):
        Services(place).purge()
    shutil.rmtree(home)


@pytest.fixture
def local(home: Path, cli_with: Callable[[dict[str, str]], Cli]) -> Cli:
    """Return a runner of commands that knows no services but those of its home."""
    return cli_with({"CRYPTOMETRICS_HOME": str(home)})


def free_port() -> int:
    """Return a port that nothing listens on at the moment."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


_EACH = """
import contextlib, io, json, os, sys
from cryptometrics import config
from cryptometrics.cli import main
environments, commands = json.loads(sys.argv[1])
found = []
for environment in environments:
    os.environ.update(environment)
    config.load.cache_clear()
    printed = {}
    for arguments in commands:
        output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        with contextlib.redirect_stdout(output):
            try:
                main(arguments)
            except SystemExit as end:
                code = end.code
        output.flush()
        printed[arguments[0]] = code, output.buffer.getvalue().decode()
        if code:
            break
    found.append(printed)
print(json.dumps(found))
"""
"""Runs commands in turn, in each environment, up to one that fails; prints exit codes and outputs."""


class Cli:
    """Runs `cryptometrics` as a person does: a process of its own, in a folder of its own."""

    def __init__(self, cwd: Path, environment: dict[str, str]) -> None:
        self.cwd = cwd
        self.environment = environment
        self._background: list[subprocess.Popen[str]] = []

    def __call__(
        self,
        *arguments: str | Path,
        code: int | None = 0,
        timeout: float = COMMAND_TIMEOUT,
        input: str | None = None,  # noqa: A002  (subprocess's name for it)
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, which must be with exit code `code`; None lets any pass."""
        done = subprocess.run(
            [sys.executable, "-m", "cryptometrics", *map(str, arguments)],
            cwd=self.cwd,
            env=self.environment | (env or {}),
            input=input or "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert code is None or done.returncode == code, (
            f"exit code {done.returncode}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
        )
        return done

    def all(self, *commands: list[str], timeout: float = 2 * COMMAND_TIMEOUT) -> dict[str, str]:
        """Run commands in turn in one process, which saves their start; return what each printed by name."""
        [printed], errors = self.each([{}], commands, timeout=timeout)
        failed = {name: code for name, (code, _) in printed.items() if code}
        assert not failed, f"exit codes {failed}\n--- stderr\n{errors}"
        return {name: text for name, (_, text) in printed.items()}

    def each(
        self, environments: Sequence[dict[str, str]], commands: Sequence[list[str]], *, timeout: float
    ) -> tuple[list[dict[str, tuple[int, str]]], str]:
        """Run commands in each environment, all in one process.

        Returns for each environment the exit code and the output of the commands by name, up to the first
        that failed; and what all of them wrote on stderr.
        """
        done = subprocess.run(
            [sys.executable, "-c", _EACH, json.dumps([environments, commands])],
            cwd=self.cwd,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.stdout, f"not all commands ran\n--- stderr\n{done.stderr}"
        return json.loads(done.stdout), done.stderr

    def start(
        self, *arguments: str | Path, env: dict[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Start a command in the background: pipes for its output, ended with the test at the latest."""
        process = subprocess.Popen(
            [sys.executable, "-m", "cryptometrics", *map(str, arguments)],
            cwd=self.cwd,
            env=self.environment | (env or {}),
            stdin=subprocess.DEVNULL,
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
        )
        self._background.append(process)
        return process

    def end(self) -> None:
        """End what still runs."""
        for process in self._background:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def cli_with(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], Cli]]:
    """Return a maker of runners whose configuration is what it is given and nothing else."""
    runners: list[Cli] = []

    def make(configuration: dict[str, str]) -> Cli:
        runners.append(Cli(tmp_path, clean_environment() | configuration))
        return runners[-1]

    yield make
    for runner in runners:
        runner.end()


@pytest.fixture
def cli_for(cli_with: Callable[[dict[str, str]], Cli]) -> Callable[[config.Settings], Cli]:
    """Return a maker of runners for settings of the test's choice."""
    return lambda settings: cli_with(environment_of(settings))


@pytest.fixture
def cli(settings: config.Settings, cli_for: Callable[[config.Settings], Cli]) -> Cli:
    """Return a runner of commands against the test's own database and topic."""
    return cli_for(settings)
