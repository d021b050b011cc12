"""Plant secrets in every setting, provoke every failure, and search all output for them."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import traceback
from typing import TYPE_CHECKING

import click
import psutil
import pytest

from cryptometrics import cli as command_line
from cryptometrics import config
from cryptometrics.cli.commands import COMMANDS as ALL_COMMANDS
from cryptometrics.config import Secret, Settings
from cryptometrics.config.fields import variable_of
from cryptometrics.errors import ServiceUnavailableError
from cryptometrics.local import jars, maven
from tests.conftest import free_port
from tests.database import rows, scalar
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.acceptance.conftest import Server
    from tests.conftest import Cli

MARK = "S3CR3T"
"""In each secret; what a password may hold besides: blanks, quotes, percent signs, letters of no ASCII."""
SECRETS = {
    "DATABASE_URL": f"postgresql://u:{MARK}%40%20url@127.0.0.1:PORT/d?sslpassword={MARK}",
    "DB_PASSWORD": f"{MARK} db '\\%ü",
    "KAFKA_SASL_PASSWORD": f"{MARK} sasl '\\%ü",
    "KAFKA_SSL_KEY_PASSWORD": f"{MARK} key '\\%ü",
    "CRYPTOMETRICS_WEBHOOK_URL": f"http://u:{MARK}@127.0.0.1:1/{MARK}",
    "CRYPTOMETRICS_WEB_TOKEN": f"{MARK} token of the page, long enough",
}
OTHERS = {
    "KAFKA_CONF_SASL_OAUTHBEARER_CLIENT_SECRET": f"{MARK} oauth",
    "KAFKA_CONF_SSL_KEYSTORE_PASSWORD": f"{MARK} keystore",
    "CRYPTOMETRICS_MAVEN_URL": f"https://u:{MARK}@127.0.0.1:1/maven",
}


def test_every_secret_setting_is_planted_and_typed() -> None:
    """A new setting that holds a secret must have the type that does not print, and must be listed here."""
    fields = dataclasses.fields(Settings)
    typed = {variable_of(field) for field in fields if "Secret" in str(field.type)}
    assert typed == set(SECRETS)
    named = {
        variable_of(field)
        for field in fields
        if any(word in field.name for word in ("password", "url", "token"))
        and not field.name.endswith("_file")
    }
    assert named == typed


def test_objects_do_not_show_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in SECRETS.items():
        (tmp_path / name).write_text(value)
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
    settings = config.load()
    for name in SECRETS:
        secret = getattr(settings, name.removeprefix("CRYPTOMETRICS_").lower())
        assert isinstance(secret, Secret)
        assert MARK in secret.reveal()
    values = dataclasses.asdict(settings)
    shown = [repr(settings), str(settings), str(values), json.dumps(values, default=str)]
    shown += [repr(dataclasses.replace(settings)), f"{settings!r:>9}"]
    assert MARK not in "".join(shown)


# Every command, every failure


FAILURES: dict[str, dict[str, str]] = {
    "nothing answers": SECRETS | OTHERS,
    "parts, nothing answers": SECRETS | {"DATABASE_URL": "", "DB_HOST": "127.0.0.1", "DB_PORT": "PORT"},
    "a login over TLS": SECRETS | {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "PLAIN"},
    "a setting of Kafka that is none": SECRETS | {"KAFKA_CONF_NO_SUCH_SETTING": MARK},
    "a key that is none": SECRETS | {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_KEY_LOCATION": __file__},
    "a torn url": SECRETS | {"DATABASE_URL": f"postgresql://u:{MARK}@{MARK}@127.0.0.1/d"},
    "a url that is none": SECRETS | {"DATABASE_URL": f"{MARK} {MARK}"},
    "a url of another scheme": SECRETS | {"DATABASE_URL": f"mysql://u:{MARK}@h/d"},
    "a secret where a number belongs": {"DB_PORT": MARK},
    "a secret where a choice belongs": {"DB_SSLMODE": MARK},
    "a secret where a mechanism belongs": {"KAFKA_SASL_MECHANISM": MARK},
    "a secret where a time belongs": {"CRYPTOMETRICS_WAIT": MARK},
    "both": SECRETS | {"DB_PASSWORD_FILE": "/nowhere"},
    "debugging": SECRETS | OTHERS | {"KAFKA_CONF_DEBUG": "all"},
}
COMMANDS = [
    *(["init-db"], ["init-db", "--check"], ["init-db", "--print-grants"], ["simulate", "--count", "1"]),
    *(["process"], ["process", "--workers", "2"], ["session"], ["plot"], ["rejects", "list"], ["status"]),
    *(["rejects", "requeue"], ["verify", "--topic"], ["prune", "--keep", "1d"], ["process", "--batch", "x"]),
]


@pytest.mark.parametrize("failure", FAILURES)
def test_no_failure_shows_them(
    failure: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    port = str(free_port())
    defaults = {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}", "CRYPTOMETRICS_WAIT": "0.1"}
    for name, value in (defaults | FAILURES[failure]).items():
        monkeypatch.setenv(name, value.replace("PORT", port))
    monkeypatch.setenv("CRYPTOMETRICS_HOME", str(tmp_path / "home"))
    if failure == "a secret where a time belongs":
        monkeypatch.setenv("CRYPTOMETRICS_WAIT", MARK)
    for command in COMMANDS:
        config.load.cache_clear()
        try:
            code = command_line._run(["--verbose", "--log-format", "json", *command])
        except Exception as error:  # a bug, whose traceback people would see  # noqa: BLE001
            pytest.fail(f"{command}: {type(error).__name__}")
        out, err = capfd.readouterr()
        assert MARK not in out + err, command
        assert code in ((1, 2) if command == ["status"] else (0, 2, 3)), (command, err[-500:])


def test_no_help_shows_them(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    for name, value in (SECRETS | OTHERS).items():
        monkeypatch.setenv(name, value)

    def visit(group: click.Command, path: list[str]) -> None:
        command_line._run([*path, "--help"])
        if isinstance(group, click.Group):
            context = click.Context(group)
            for name in group.list_commands(context):
                found = group.get_command(context, name)
                assert found is not None
                visit(found, [*path, name])

    visit(command_line.cryptometrics, [])
    out, err = capfd.readouterr()
    assert out.count("Usage: ") > len(ALL_COMMANDS)
    assert MARK not in out + err


def test_a_refused_login_does_not_show_it(
    tcp_postgres: Server, cli_with: Callable[[dict[str, str]], Cli], tmp_path: Path
) -> None:
    configuration = {
        "DB_HOST": tcp_postgres.host,
        "DB_PORT": str(tcp_postgres.port),
        "DB_USER": tcp_postgres.user,
        "DB_NAME": "postgres",
        "DB_PASSWORD": SECRETS["DB_PASSWORD"],
        "CRYPTOMETRICS_HOME": str(tmp_path / "home"),
    }
    done = cli_with(configuration)("--verbose", "session", code=2)
    assert "password authentication failed" in done.stderr
    assert MARK not in done.stdout + done.stderr


def test_a_download_that_fails_does_not_show_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CRYPTOMETRICS_MAVEN_URL", OTHERS["CRYPTOMETRICS_MAVEN_URL"])
    monkeypatch.setenv("HOME", str(tmp_path))  # whose ~/.m2 may hold the jars already
    monkeypatch.setattr(maven, "RETRY_FOR", 0.1)
    shown: list[str] = [repr(maven.repository())]
    with pytest.raises(ServiceUnavailableError) as caught:
        jars.ensure(tmp_path / "jars", shown.append)
    shown += traceback.format_exception(caught.value)
    login = base64.b64encode(f"u:{MARK}".encode()).decode()
    assert not [line for line in shown if MARK in line or login in line]


# While all works


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")  # noqa: PTH112
def test_no_process_shows_them(cli: Cli, settings: Settings) -> None:
    """Neither the arguments and titles of the workers nor what the database tells of its sessions."""
    cli("init-db", "--partitions", "2")
    cli("simulate", "--rate", "0", "--count", "100")
    url = settings.postgres()
    with_password = url.replace("postgresql://cryptometrics@", f"postgresql://cryptometrics:{MARK}@")
    if with_password == url:
        with_password = f"{url} password={MARK}"
    environment = SECRETS | {"DATABASE_URL": with_password}
    running = cli.start("process", "--workers", "2", env=environment)
    try:
        stored = "SELECT coalesce(sum(metrics), 0) FROM consumer_offsets"
        wait_until(lambda: scalar(settings, stored) == 100, "all is stored", running=running)
        shown = rows(settings, "SELECT a::text FROM pg_stat_activity a")
        family = [psutil.Process(running.pid)]
        family += family[0].children(recursive=True)
        assert len(family) >= 3
        for process in family:
            shown += [(" ".join(process.cmdline()),), (process.name(),)]
    finally:
        running.terminate()
        out, err = running.communicate(timeout=30)
    assert MARK not in f"{shown}{out}{err}"
