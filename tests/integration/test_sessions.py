"""Database sessions have our settings, and what somebody has chosen for the connection stays."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import psycopg
import pytest
from confluent_kafka import Producer
from psycopg import conninfo, sql

from cryptometrics.errors import ServiceUnavailableError, UserError
from cryptometrics.kafka import client
from cryptometrics.kafka.topic import create_topic
from cryptometrics.notify import outbox
from cryptometrics.pipeline.options import WorkerOptions
from cryptometrics.pipeline.start_worker import run_worker
from cryptometrics.store.connection import connect
from cryptometrics.store.connection_options import CONNECT_TIMEOUT_S
from cryptometrics.store.database_errors import explaining
from cryptometrics.store.migrate import migrate
from cryptometrics.store.session_settings import FORMATS, LIMITS
from tests.conftest import settings_for
from tests.database import rows
from tests.waiting import deadline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptometrics.config import Settings
    from cryptometrics.local.services import Services

ODD = {
    "client_encoding": "LATIN1",
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "America/New_York",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "quote_all_identifiers": "on",
    "default_transaction_isolation": "serializable",
    "statement_timeout": "7s",
    "lock_timeout": "7s",
    "idle_in_transaction_session_timeout": "7s",
    "idle_session_timeout": "7s",
    "transaction_timeout": "7s",
    "jit": "on",
}
"""Other values than ours, in PostgreSQL's own spelling."""


def with_options(settings: Settings, **options: str) -> Settings:
    """Return the settings with other options of the connection."""
    uri = conninfo.make_conninfo(settings.postgres(), **options)
    return type(settings).of(
        {"database_url": uri, "kafka_topic": settings.kafka_topic, "CRYPTOMETRICS_WAIT": 5}
    )


def current(connection: psycopg.Connection) -> dict[str, str]:
    """Return the values of the settings in a session."""
    return {name: connection.execute(f"SHOW {name}".encode()).fetchone()[0] for name in ODD}  # type: ignore[index]


@pytest.mark.parametrize("owner", ["DATABASE", "ROLE"])
def test_defaults_of_a_database_or_a_role_do_not_count(empty_database_settings: Settings, owner: str) -> None:
    name = empty_database_settings.kafka_topic
    uri = empty_database_settings.postgres()
    settings = with_options(empty_database_settings, user=name)
    with psycopg.connect(uri, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN".encode())
        try:
            for setting, value in ODD.items():
                admin.execute(f"ALTER {owner} {name} SET {setting} = '{value}'".encode())
            with psycopg.connect(settings.postgres()) as plain:
                assert current(plain) == ODD
            with connect(settings) as connection:
                assert current(connection) == FORMATS | LIMITS
        finally:
            admin.execute(f"DROP ROLE {name}".encode())


def test_settings_outlast_a_rollback(settings: Settings) -> None:
    with connect(with_options(settings, options="-c TimeZone=Asia/Tokyo"), autocommit=False) as connection:
        connection.rollback()
        assert current(connection)["TimeZone"] == "UTC"


def test_limits_of_the_connection_stay_and_formats_do_not(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "PGOPTIONS", " ".join(f"-c {name}={value}" for name, value in ODD.items() if " " not in value)
    )
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    monkeypatch.setenv("PGDATESTYLE", "SQL, DMY")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with connect(settings) as connection:
        assert current(connection) == FORMATS | {name: ODD[name] for name in LIMITS}


def test_a_limit_that_ends_a_statement_is_said_in_one_line(settings: Settings) -> None:
    limited = with_options(settings, options="-c statement_timeout=500")
    with connect(limited) as connection, pytest.raises(ServiceUnavailableError) as caught, explaining():
        connection.execute("SELECT pg_sleep(10)")
    assert (
        str(caught.value) == "PostgreSQL cancelled a statement: canceling statement due to statement timeout"
    )


@pytest.mark.parametrize("way", ["PGOPTIONS", "URL", "service", "PGSERVICE"])
def test_options_that_somebody_has_set_count(
    empty_database_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    """Tables appear in the schema that the options name, wherever the options come from."""
    settings, options = empty_database_settings, "-c search_path=risk"
    with psycopg.connect(settings.postgres()) as connection:
        connection.execute("CREATE SCHEMA risk")
    if way == "PGOPTIONS":
        monkeypatch.setenv("PGOPTIONS", options)
    elif way == "URL":
        settings = with_options(settings, options=options)
    else:
        (tmp_path / "services").write_text(f"[risk]\noptions={options}\n")
        monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
        if way == "service":
            settings = with_options(settings, service="risk")
        else:
            monkeypatch.setenv("PGSERVICE", "risk")
    with connect(settings) as connection:
        migrate(connection)
    monkeypatch.delenv("PGOPTIONS", raising=False)
    monkeypatch.delenv("PGSERVICE", raising=False)
    found = rows(
        empty_database_settings, "SELECT schemaname FROM pg_tables WHERE tablename = 'crypto_metrics'"
    )
    assert found == [("risk",)]


@pytest.mark.parametrize(
    ("variable", "option", "value"),
    [
        ("PGSSLMODE", "sslmode", "allow"),
        ("PGAPPNAME", "application_name", "risk desk"),
        ("PGCONNECT_TIMEOUT", "connect_timeout", "17"),
        ("", "connect_timeout", str(CONNECT_TIMEOUT_S)),
        ("", "fallback_application_name", "cryptometrics"),
    ],
)
def test_a_variable_of_libpq_alone_reaches_the_connection(
    services: Services, monkeypatch: pytest.MonkeyPatch, variable: str, option: str, value: str
) -> None:
    if variable:
        monkeypatch.setenv(variable, value)
    with connect(settings_for(services, "postgres", "none")) as connection:
        assert connection.info.get_parameters()[option] == value


def test_the_search_path_stays_as_it_resolved(settings: Settings) -> None:
    with connect(settings) as connection, psycopg.connect(settings.postgres(), autocommit=True) as other:
        user = other.info.user
        other.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(user)))
        assert other.execute("SELECT current_schema").fetchone() == (user,)
        assert connection.execute("SELECT current_schema").fetchone() == ("public",)


# Encodings that do not hold every character

ANY_ENCODING = "TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'"
"""A locale that goes with every encoding."""


@pytest.fixture
def latin(services: Services) -> Iterator[Settings]:
    """Return the settings of a database in LATIN1, with a topic."""
    name = f"latin_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(services.postgres_uri, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' {ANY_ENCODING}".encode())
        settings = settings_for(services, name, name)
        create_topic(settings, 1)
        with connect(settings) as connection:
            migrate(connection)
        yield settings
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def process(settings: Settings, group: str, session: str | None = None) -> None:
    run_worker(settings, WorkerOptions(group, session, until_caught_up=True), stop=deadline())


def test_details_are_stored_in_a_form_that_fits(latin: Settings) -> None:
    producer = Producer(client.client_conf(latin))
    tick = {
        "type": "quote",
        "product_id": "BTC-USD",
        "best_bid": "1",
        "best_ask": "2",
        "time": "2026-01-01T00:00:00Z",
    }
    for kind in ("x" * 100, "値段", "größe"):
        value = json.dumps(tick | {"type": kind}, ensure_ascii=False)
        producer.produce(latin.kafka_topic, value.encode(), b"BTC-USD")
    assert producer.flush(30) == 0
    process(latin, "größe")
    details = rows(latin, "SELECT reason, detail, consumer_group FROM rejected_ticks ORDER BY kafka_offset")
    shown = ["x" * 77 + r"\u2026", r"\u5024\u6bb5", r"gr\xf6\xdfe"]
    assert details == [("unknown_type", f'type is "{each}", not ticker or quote', "größe") for each in shown]


@pytest.mark.parametrize(("group", "session"), [("группа", None), ("g", "сессия")])
def test_names_that_do_not_fit_are_refused(latin: Settings, group: str, session: str | None) -> None:
    with pytest.raises(UserError, match="its encoding is LATIN1"):
        process(latin, group, session)


def test_answers_of_a_webhook_are_stored_in_a_form_that_fits(latin: Settings) -> None:
    with connect(latin) as connection:
        connection.execute(
            "WITH fired AS ("
            "INSERT INTO alerts "
            "(consumer_group, rule, kind, pair, severity, level, message, started_at, fired_at) "
            "VALUES ('g', 'r', 'spread_bps', 'BTC-USD', 'warning', 1, 'm', now(), now()) RETURNING id) "
            "INSERT INTO alert_notifications (consumer_group, alert_id, status) "
            "SELECT 'g', id, 'firing' FROM fired"
        )
        (notification,) = outbox.pending(connection, "g", "webhook", 1)
        outbox.failed(connection, notification, "answered 500 …", 0.0)
        found = connection.execute("SELECT last_error FROM alert_notifications").fetchone()
    assert found == (r"answered 500 \u2026",)
