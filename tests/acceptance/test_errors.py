"""User errors and unavailable services: one line with the cause and the remedy, and an exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptometrics.config import Settings
    from tests.acceptance.conftest import Server
    from tests.conftest import Cli

SECRET = "hunter2"


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line of the error; what else stands on stderr are log events and progress."""
    assert done.stdout == "" or done.args[3] == "init-db"
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stdout + done.stderr
    *events, last = done.stderr.splitlines()
    for event in events:
        assert json.loads(event)["event"] == "service_unavailable"
    assert last.startswith("error: ")
    return last


@pytest.fixture
def tcp_cli(
    tcp_postgres: Server, services: object, settings: Settings, cli_with: Callable[[dict[str, str]], Cli]
) -> Cli:
    """Return a runner whose PostgreSQL is the one with a password."""
    return cli_with(
        {
            "DB_HOST": tcp_postgres.host,
            "DB_PORT": str(tcp_postgres.port),
            "DB_USER": tcp_postgres.user,
            "DB_PASSWORD": tcp_postgres.password,
            "DB_NAME": "postgres",
            "KAFKA_BOOTSTRAP_SERVERS": str(settings.kafka()["bootstrap.servers"]),
            "KAFKA_TOPIC": settings.kafka_topic,
            "CRYPTOMETRICS_HOME": str(settings.home),
        }
    )


# Services that are down


@pytest.mark.parametrize(
    "command",
    [["init-db"], ["simulate", "--count", "1"], ["process", "--until-caught-up"]],
    ids=lambda c: c[0],
)
def test_kafka_is_down(cli: Cli, command: list[str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    down = {"KAFKA_BOOTSTRAP_SERVERS": address, "CRYPTOMETRICS_WAIT": "1"}
    error = error_of(cli(*command, code=3, env=down))
    assert f"Kafka at {address} did not answer for 1 s" in error
    assert "KAFKA_BOOTSTRAP_SERVERS" in error


@pytest.mark.parametrize("command", [["process", "--until-caught-up"], ["plot"]], ids=lambda c: c[0])
def test_postgresql_is_down(tcp_cli: Cli, command: list[str]) -> None:
    port = str(free_port())
    error = error_of(tcp_cli(*command, code=3, env={"DB_PORT": port, "CRYPTOMETRICS_WAIT": "1"}))
    assert f"PostgreSQL at 127.0.0.1:{port}/postgres did not answer for 1 s" in error
    assert "DB_HOST and DB_PORT" in error


def test_a_socket_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    url = {"DATABASE_URL": f"postgresql://u:{SECRET}@/d?host={tmp_path}", "CRYPTOMETRICS_WAIT": "1"}
    assert f"PostgreSQL at {tmp_path}:5432/d did not answer" in error_of(cli("init-db", code=3, env=url))


@pytest.mark.parametrize("command", [["process"], ["plot"]], ids=lambda c: c[0])
def test_nothing_is_configured_and_nothing_runs(
    cli_with: Callable[[dict[str, str]], Cli], tmp_path: Path, command: list[str]
) -> None:
    error = error_of(cli_with({"CRYPTOMETRICS_HOME": str(tmp_path / "home")})(*command, code=2))
    assert "start it with `cryptometrics up`" in error


# A PostgreSQL that refuses


@pytest.mark.parametrize("command", [["process"], ["plot"]], ids=lambda c: c[0])
def test_a_wrong_password(tcp_cli: Cli, command: list[str]) -> None:
    wrong = {"DB_PASSWORD": f"{SECRET} wrong"}
    assert 'password authentication failed for user "ana"' in error_of(tcp_cli(*command, code=2, env=wrong))


def test_no_password(tcp_cli: Cli) -> None:
    assert "no password supplied" in error_of(tcp_cli("init-db", code=2, env={"DB_PASSWORD": ""}))


def test_an_unknown_user(tcp_cli: Cli) -> None:
    error = error_of(tcp_cli("init-db", code=2, env={"DB_USER": "nobody"}))
    assert 'password authentication failed for user "nobody"' in error


def test_an_unknown_database(tcp_cli: Cli) -> None:
    error = error_of(tcp_cli("init-db", code=2, env={"DB_NAME": "nowhere"}))
    assert 'database "nowhere" does not exist' in error


def test_an_invalid_database_url_is_not_repeated(cli: Cli) -> None:
    url = {"DATABASE_URL": f"postgresql://u:{SECRET}%zz@127.0.0.1/d"}
    assert error_of(cli("session", code=2, env=url)).startswith("error: DATABASE_URL is not valid: ")


def test_a_user_without_rights(tcp_cli: Cli, tcp_postgres: Server, settings: Settings) -> None:
    database = settings.kafka_topic
    with tcp_postgres.connect("postgres") as admin:
        admin.execute(f"CREATE DATABASE {database}".encode())
        admin.execute(f"CREATE USER {database} PASSWORD '{SECRET}'".encode())
    configuration = {"DB_NAME": database, "DB_USER": database, "DB_PASSWORD": SECRET}
    assert "permission denied" in error_of(tcp_cli("init-db", code=2, env=configuration))


# What has to be made first


@pytest.mark.parametrize("command", [["simulate"], ["process"]], ids=lambda c: c[0])
def test_there_is_no_topic(cli: Cli, settings: Settings, command: list[str]) -> None:
    error = error_of(cli(*command, code=2))
    assert f"there is no topic {settings.kafka_topic}" in error
    assert "`cryptometrics init-db`" in error


@pytest.mark.parametrize(
    "command", [["process", "--until-caught-up"], ["session"], ["plot"]], ids=lambda c: c[0]
)
def test_the_schema_is_not_made(
    empty_database_settings: Settings, cli_for: Callable[[Settings], Cli], command: list[str]
) -> None:
    from cryptometrics.kafka.topic import create_topic

    create_topic(empty_database_settings, 1)
    error = error_of(cli_for(empty_database_settings)(*command, code=2))
    assert "the schema is missing or outdated" in error
    assert "`cryptometrics init-db`" in error


# The configuration


@pytest.mark.parametrize("command", [["process"], ["status"]], ids=lambda c: c[0])
def test_an_env_file_that_is_no_text(cli: Cli, command: list[str]) -> None:
    (cli.cwd / ".env").write_bytes(b"DB_PASSWORD=" + SECRET.encode() + b"\xff\n")
    (cli.cwd / ".env").chmod(0o600)
    assert error_of(cli(*command, code=2)) == f"error: cannot read {cli.cwd / '.env'}: it is not UTF-8 text"


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_an_env_file_that_may_not_be_read(cli: Cli) -> None:
    (cli.cwd / ".env").write_text("DB_NAME=x\n")
    (cli.cwd / ".env").chmod(0)
    assert error_of(cli("init-db", code=2)) == f"error: cannot read {cli.cwd / '.env'}: Permission denied"


@pytest.mark.parametrize(
    ("name", "value"), [("DB_PORT", SECRET), ("CRYPTOMETRICS_WAIT", "soon"), ("KAFKA_TOPIC", "two words")]
)
def test_a_variable_that_is_not_valid(cli: Cli, name: str, value: str) -> None:
    assert error_of(cli("init-db", code=2, env={name: value})).startswith(f"error: {name} is not valid: ")


@pytest.mark.parametrize("command", [["process"], ["process", "--workers", "2"]], ids=["one", "two"])
def test_a_kafka_setting_that_a_consumer_does_not_take(cli: Cli, command: list[str]) -> None:
    cli("init-db")
    done = cli(*command, code=2, env={"KAFKA_CONF_MESSAGE_MAX_BYTES": "10485760"})
    assert "Traceback" not in done.stderr
    assert "the Kafka settings are not valid" in done.stderr
    assert "fetch.max.bytes" in done.stderr


def test_a_file_where_the_folder_of_the_slots_belongs(cli: Cli, tmp_path: Path) -> None:
    cli("init-db")
    (tmp_path / f"cryptometrics-slots-{os.getuid()}").write_text("")
    error = error_of(cli("process", code=2, env={"TMPDIR": str(tmp_path)}))
    assert "set TMPDIR to a writable one" in error


def test_a_kafka_setting_that_does_not_exist(cli: Cli) -> None:
    error = error_of(cli("init-db", code=2, env={"KAFKA_CONF_NO_SUCH_THING": "1"}))
    assert "the Kafka settings are not valid" in error
    assert "no.such.thing" in error


# Options


@pytest.mark.parametrize(
    "arguments",
    [
        ["process", "--group", ""],
        ["process", "--group", "a\nb"],
        ["process", "--session", "x" * 101],
        ["process", "--batch", "0"],
        ["process", "--no-such-option"],
        ["no-such-command"],
    ],
    ids=repr,
)
def test_an_option_that_is_not_valid(cli: Cli, arguments: list[str]) -> None:
    error = error_of(cli(*arguments, code=2))
    assert "--help`)" in error


def test_a_name_that_is_no_text(cli: Cli) -> None:
    done = subprocess.run(
        [sys.executable.encode(), b"-m", b"cryptometrics", b"process", b"--group", b"\xff"],
        cwd=cli.cwd,
        env=cli.environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(b"error: ")
    assert done.stderr.count(b"\n") == 1


def test_an_unknown_pair_and_a_place_that_cannot_be_written(cli: Cli) -> None:
    cli("init-db", "--partitions", "1")
    cli("simulate", "--rate", "0", "--count", "20", "--pair", "BTC-USD")
    cli("process", "--until-caught-up")
    unknown = cli("plot", "--pair", "NO-USD", code=2).stderr.splitlines()[-1]
    assert unknown.startswith("error: ")
    assert "NO-USD" in unknown
    assert "BTC-USD" in unknown
    (cli.cwd / "file").touch()
    unwritable = cli("plot", "--pair", "BTC-USD", "--out", "file/chart.png", code=2).stderr
    assert "Traceback" not in unwritable
    assert re.fullmatch(r"error: .*file.*", unwritable.splitlines()[-1])
