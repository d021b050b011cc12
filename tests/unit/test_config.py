"""The configuration: where it comes from, what it refuses, and that its secrets do not show."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import conninfo_to_dict

from cryptometrics import config
from cryptometrics.cli.process import process
from cryptometrics.config import Secret
from cryptometrics.config.latency import DEFAULT_LATENCY, DEFAULT_LATENCY_S, parse_latency
from cryptometrics.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hunter2 '\\ ünï"  # what a password may be: a blank, a quote, a backslash, no ASCII


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRYPTOMETRICS_HOME", str(tmp_path / "home"))
    return tmp_path


def test_the_original_names_give_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DB_NAME": "risk",
        "DB_USER": "ana",
        "DB_PASSWORD": SECRET,
        "DB_HOST": "db.example",
        "DB_PORT": "6543",
    }.items():
        monkeypatch.setenv(name, value)
    settings = config.load()
    assert not settings.uses_local_postgres
    assert conninfo_to_dict(settings.postgres()) == {
        "host": "db.example",
        "port": "6543",
        "dbname": "risk",
        "user": "ana",
        "password": SECRET,
    }


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"DB_NAME": "risk"}, {"host": "localhost", "dbname": "risk"}),
        ({"DB_NAME": "risk", "PGHOST": "db.example"}, {"dbname": "risk"}),
        ({"DB_USER": "ana", "PGHOSTADDR": "10.0.0.1"}, {"user": "ana"}),
        ({"DB_USER": "ana", "PGSERVICE": "risk"}, {"user": "ana"}),
        (
            {"DB_HOST": "h", "DB_SSLMODE": "require", "PGHOST": "other", "PGSSLMODE": "disable"},
            {"host": "h", "sslmode": "require"},
        ),
    ],
)
def test_libpq_adds_what_is_not_set(
    variables: dict[str, str], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert conninfo_to_dict(config.load().postgres()) == expected


def test_the_environment_goes_before_the_file_and_the_file_before_defaults(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text(
        "DB_NAME=of_file\nDB_HOST=of_file\nKAFKA_TOPIC=of_file\nSOMETHING_ELSE=1\n"
        "KAFKA_CONF_SOCKET_TIMEOUT_MS=1\nKAFKA_CONF_CLIENT_ID=of_file\n"
    )
    monkeypatch.setenv("DB_NAME", "of_environment")
    monkeypatch.setenv("KAFKA_CONF_SOCKET_TIMEOUT_MS", "2")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "k:1")
    settings = config.load()
    assert (settings.db_name, settings.db_host, settings.db_port) == ("of_environment", "of_file", None)
    assert settings.kafka_topic == "of_file"
    assert settings.kafka() == {"bootstrap.servers": "k:1", "socket.timeout.ms": "2", "client.id": "of_file"}


def test_an_empty_variable_is_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DB_HOST", "DB_PORT", "DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "KAFKA_TOPIC"):
        monkeypatch.setenv(name, "")
    settings = config.load()
    assert settings.kafka_topic == "crypto_prices"
    assert settings.uses_local_kafka
    assert settings.uses_local_postgres


def test_a_variable_may_be_written_in_small_letters_and_capitals_come_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("db_name", "small")
    monkeypatch.setenv("db_host", "small")
    monkeypatch.setenv("DB_HOST", "capitals")
    settings = config.load()
    assert (settings.db_name, settings.db_host) == ("small", "capitals")


def test_a_url_goes_before_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@h/d")
    monkeypatch.setenv("DB_HOST", "elsewhere")
    assert config.load().postgres() == "postgresql://u@h/d"


def test_kafkas_login_reaches_librdkafka_under_its_names(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "KAFKA_BOOTSTRAP_SERVERS": "k:9093",
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_SASL_USERNAME": "ana",
        "KAFKA_SASL_PASSWORD": SECRET,
        "KAFKA_SSL_CA_LOCATION": "/etc/ca.pem",
    }.items():
        monkeypatch.setenv(name, value)
    assert config.load().kafka() == {
        "bootstrap.servers": "k:9093",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "ana",
        "sasl.password": SECRET,
        "ssl.ca.location": "/etc/ca.pem",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_PORT", "http"),
        ("DB_PORT", "0"),
        ("DB_PORT", "65536"),
        ("DB_SSLMODE", "maybe"),
        ("KAFKA_TOPIC", "no spaces"),
        ("KAFKA_TOPIC", "x" * 250),
        ("KAFKA_SECURITY_PROTOCOL", "TLS"),
        ("KAFKA_SASL_MECHANISM", "MD5"),
        ("CRYPTOMETRICS_WAIT", "soon"),
        ("CRYPTOMETRICS_WAIT", "-1"),
        ("CRYPTOMETRICS_WAIT", "0"),
        ("CRYPTOMETRICS_WAIT", "inf"),
        ("CRYPTOMETRICS_WAIT", "nan"),
        ("CRYPTOMETRICS_LATENCY", "soon"),
        ("CRYPTOMETRICS_LATENCY", "1ms"),
        ("CRYPTOMETRICS_LATENCY", "25"),
    ],
)
@pytest.mark.parametrize("where", ["environment", "file"])
def test_a_value_that_is_not_valid_names_its_variable(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, where: str
) -> None:
    if where == "file":
        (folder / ".env").write_text(f"{name}={value}\n")
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=rf"^{name} is not valid: \S[^\n]+$") as caught:
        config.load()
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("value", "seconds"), [("0", 0), ("0ms", 0), ("5ms", 0.005), ("25ms", 0.025), ("0.1", 0.1), ("1s", 1)]
)
def test_the_budget_of_a_tick_is_a_duration(
    folder: Path, monkeypatch: pytest.MonkeyPatch, value: str, seconds: float
) -> None:
    assert config.load().latency == DEFAULT_LATENCY_S
    config.load.cache_clear()
    monkeypatch.setenv("CRYPTOMETRICS_LATENCY", value)
    assert config.load().latency == seconds


def test_the_help_of_process_names_the_default_budget() -> None:
    (option,) = (each for each in process.params if each.name == "latency")
    assert f"else {DEFAULT_LATENCY}." in option.to_info_dict()["help"]
    assert parse_latency(DEFAULT_LATENCY) == DEFAULT_LATENCY_S


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DB_PASSWORD", "KAFKA_SASL_PASSWORD", "KAFKA_SSL_KEY_PASSWORD"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@h/d")
    settings = config.load()
    values = asdict(settings)
    for shown in (repr(settings), str(settings), json.dumps(values, default=str), f"{values}"):
        assert "hunter2" not in shown


def test_secrets_are_equal_if_their_texts_are() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_a_byte_order_mark_belongs_to_no_name_and_no_secret(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text(
        "KAFKA_CONF_CLIENT_ID=a\nKAFKA_BOOTSTRAP_SERVERS=k:1\n", encoding="utf-8-sig"
    )
    assert config.load().kafka()["client.id"] == "a"
    config.load.cache_clear()
    (folder / ".env").write_text("KAFKA_TOPIC=quotes\n", encoding="utf-8-sig")
    assert config.load().kafka_topic == "quotes"
    config.load.cache_clear()
    (folder / "secret").write_text(SECRET + "\n", encoding="utf-8-sig")
    monkeypatch.setenv("DB_PASSWORD_FILE", str(folder / "secret"))
    password = config.load().db_password
    assert password is not None
    assert password.reveal() == SECRET


def test_a_file_that_is_no_text_is_named(folder: Path) -> None:
    (folder / ".env").write_bytes(b"DB_NAME=\xff\xfe\n")
    with pytest.raises(UserError, match=r"^cannot read /\S+/\.env: it is not UTF-8 text$"):
        config.load()


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_file_that_may_not_be_read_is_named(folder: Path) -> None:
    (folder / ".env").write_text("DB_NAME=x\n")
    (folder / ".env").chmod(0)
    with pytest.raises(UserError, match=r"^cannot read /\S+/\.env: Permission denied$"):
        config.load()


def test_a_folder_of_that_name_is_somebodys_virtual_environment(folder: Path) -> None:
    (folder / ".env").mkdir()
    assert config.load().kafka_topic == "crypto_prices"


def test_the_local_services_are_found_where_they_say(folder: Path) -> None:
    home = folder / "home"
    home.mkdir()
    (home / "endpoints.json").write_text(
        json.dumps({"kafka": {"bootstrap_servers": "127.0.0.1:1"}, "postgres": {"uri": "postgresql:///x"}})
    )
    settings = config.load()
    assert settings.endpoints_file == home / "endpoints.json"
    assert settings.kafka() == {"bootstrap.servers": "127.0.0.1:1"}
    assert settings.postgres() == "postgresql:///x"


def test_a_local_service_that_was_found_stays_known_and_is_found_again_elsewhere(folder: Path) -> None:
    file = folder / "home" / "endpoints.json"
    file.parent.mkdir()

    def started(port: int) -> None:
        file.write_text(
            json.dumps(
                {"kafka": {"bootstrap_servers": f"h:{port}"}, "postgres": {"uri": f"postgresql:///{port}"}}
            )
        )

    settings = config.load()
    started(1)
    assert (settings.kafka_address, settings.running_kafka) == ("h:1", "h:1")
    assert settings.postgres() == "postgresql:///1"
    file.unlink()  # `down`
    assert (settings.kafka_address, settings.running_kafka) == ("h:1", None)
    assert settings.postgres() == "postgresql:///1"
    started(2)  # `up`, while another process has the port
    assert (settings.kafka_address, settings.running_kafka) == ("h:2", "h:2")
    assert settings.postgres() == "postgresql:///2"


def test_a_configured_kafka_is_where_it_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "k:1")
    assert config.load().running_kafka == "k:1"


@pytest.mark.parametrize("content", [None, "", "{", "[]", "null", "{}", '{"kafka": 1, "postgres": null}'])
def test_without_local_services_it_says_what_to_do(folder: Path, content: str | None) -> None:
    if content is not None:
        (folder / "home").mkdir()
        (folder / "home" / "endpoints.json").write_text(content)
    settings = config.load()
    for ask, name, variable in (
        (settings.kafka, "Kafka", "KAFKA_BOOTSTRAP_SERVERS"),
        (settings.postgres, "PostgreSQL", "DATABASE_URL"),
    ):
        with pytest.raises(UserError, match=rf"^no {name} .*`cryptometrics up`, or set {variable}"):
            ask()


def test_only_one_of_the_two_may_be_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "k:1")
    settings = config.load()
    assert (settings.uses_local_kafka, settings.uses_local_postgres) == (False, True)


@pytest.mark.parametrize("secret", ["a${HOME}b", "$HOME", "pa$$word", "${DB_USER}", "50%$(id)`id`"])
def test_a_secret_in_the_file_is_taken_literally(
    folder: Path, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    (folder / ".env").write_text(
        f"DB_USER=ana\nDB_PASSWORD={secret}\nKAFKA_SASL_PASSWORD='{secret}'\n"
        f'KAFKA_CONF_SASL_OAUTHBEARER_CONFIG="{secret}"\nKAFKA_BOOTSTRAP_SERVERS=k:1\n'
    )
    settings = config.load()
    assert conninfo_to_dict(settings.postgres())["password"] == secret
    assert settings.kafka()["sasl.password"] == secret
    assert settings.kafka()["sasl.oauthbearer.config"] == secret


def test_a_byte_order_mark_does_not_hide_the_first_setting(folder: Path) -> None:
    (folder / ".env").write_bytes(b"\xef\xbb\xbfDB_NAME=risk\n")
    assert config.load().db_name == "risk"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("DB_HOTS", "DB_HOST"),
        ("DB_PASS", "DB_PASSWORD"),
        ("DB_PWD", "DB_PASSWORD"),
        ("DB_USERNAME", "DB_USER"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("KAFKA_BOOTSTRAP_SERVER", "KAFKA_BOOTSTRAP_SERVERS"),
        ("KAFKA_TOPICS", "KAFKA_TOPIC"),
        ("KAFKA_USERNAME", "KAFKA_SASL_USERNAME"),
        ("CRYPTOMETRICS_WIAT", "CRYPTOMETRICS_WAIT"),
        ("CRYPTOMETRICS_COLOUR", None),
    ],
)
@pytest.mark.parametrize("where", ["environment", "file"])
def test_a_name_that_looks_like_one_of_ours_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, near: str | None, where: str
) -> None:
    if where == "file":
        (folder / ".env").write_text(f"{name}=x\n")
    else:
        monkeypatch.setenv(name, "x")
    [found] = config.unknown_variables(lambda _name: False)
    assert (found.name, found.where) == (name, "environment" if where == "environment" else f"{folder}/.env")
    assert found.advice == (f"did you mean {near}?" if near else "remove it: nothing reads it")


def test_names_of_other_software_and_of_options_are_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = (
        "KAFKA_OPTS",
        "KAFKA_HOME",
        "KAFKA_HEAP_OPTS",
        "DB_CONNECTION",
        "DB_DATABASE",
        "KAFKA_LISTENERS",
    )
    for name in (*others, "KAFKA_CONF_LINGER_MS", "CRYPTOMETRICS_PROCESS_GROUP", "CRYPTOMETRICS_MAVEN_URL"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("DB_HOTS", "")  # an empty variable is no value
    (folder / ".env").write_text("KAFKA_CONF_LINGER_MS=1\nDB_NAME=x\nCRYPTOMETRICS_GROUP=g\nSOMETHING=1\n")
    assert list(config.unknown_variables(lambda name: name == "CRYPTOMETRICS_PROCESS_GROUP")) == []


@pytest.mark.parametrize("name", ["CRYPTOMETRICS_PROCESS_GROUP", "CRYPTOMETRICS_MAVEN_URL"])
def test_what_only_the_environment_can_set_is_named_in_the_file(folder: Path, name: str) -> None:
    (folder / ".env").write_text(f"{name}=x\n")
    [found] = config.unknown_variables(lambda name: name == "CRYPTOMETRICS_PROCESS_GROUP")
    assert (found.name, "in the environment" in found.advice) == (name, True)
