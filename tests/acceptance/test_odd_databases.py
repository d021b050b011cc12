"""Databases and roles with settings of their own: the commands give the results of a plain database."""

from __future__ import annotations

import csv
import io
import json
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from psycopg import conninfo, sql

from cryptometrics.cli import _run
from cryptometrics.config import Settings
from cryptometrics.kafka import client
from cryptometrics.kafka.publisher import publish
from cryptometrics.kafka.topic import create_topic
from tests.acceptance import language_server, pgbouncer
from tests.acceptance.test_errors import error_of
from tests.conftest import Cli, clean_environment, environment_of, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from cryptometrics.kafka.publisher import Message
    from cryptometrics.local.services import Services

GROUP, SESSION = "größe", r"süd\1 'x' NULL"
PAIR = "BTC-USD"
BEGIN = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
TICKS = 40


def _tick(number: int, **changed: str) -> bytes:
    bid = 100 + number * 7 % 11
    fields = {
        "type": "ticker",
        "product_id": PAIR,
        "best_bid": f"{bid}.10",
        "best_ask": f"{bid}.{20 + number}",
        "time": (BEGIN + number * timedelta(seconds=0.250001)).isoformat(),
        "trade_id": number,
    }
    return json.dumps(fields | changed, ensure_ascii=False).encode()


REJECTED: list[Message] = [
    (PAIR.encode(), _tick(0, type="x" * 100)),  # its detail is shortened with …
    (PAIR.encode(), _tick(1, type="値段")),
    (b"BTC-\xff", rb'{"type": "\\"}' + b"\xff\x00\x27"),
    (None, None),
]


@dataclass(frozen=True)
class Odd:
    """What is odd about a database, and about the role that uses it."""

    database: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    role: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    encoding: str = "UTF8"
    own_schema: bool = False
    """Whether the role has a schema of its name."""


CASES = {
    "LATIN1": Odd(encoding="LATIN1"),
    "SQL_ASCII": Odd(encoding="SQL_ASCII"),
    "client in LATIN1": Odd({"client_encoding": "LATIN1"}),
    "formats": Odd(
        {
            "DateStyle": "German, DMY",
            "IntervalStyle": "sql_standard",
            "TimeZone": "America/New_York",
            "bytea_output": "escape",
            "extra_float_digits": "-15",
        }
    ),
    "strings": Odd(
        {"standard_conforming_strings": "off", "backslash_quote": "off", "escape_string_warning": "off"},
        {"array_nulls": "off", "quote_all_identifiers": "on", "transform_null_equals": "on"},
    ),
    "limits": Odd(
        {"idle_session_timeout": "100ms", "idle_in_transaction_session_timeout": "1ms"},
        {
            "statement_timeout": "100ms",
            "lock_timeout": "1ms",
            "default_transaction_isolation": "serializable",
        },
    ),
    "schemas": Odd(
        {"search_path": ("nowhere",)}, {"search_path": ("nowhere", "$user", "public")}, own_schema=True
    ),
}
"""Settings that mask each other are in different cases."""
ALONE = {
    name: value
    for case in CASES.values()
    for settings in (case.database, case.role)
    for name, value in settings.items()
}
"""The same settings, each in a database of its own: one may hide what another one breaks."""
ALONE_S = 300.0
"""How long all of these may take on a busy machine."""


@dataclass(frozen=True)
class Place:
    """A database of its own with a topic."""

    cli: Cli
    settings: Settings

    def run(self) -> Seen:
        """Run the commands in turn; return what `session` and `export` print."""
        _fill_topic(self.settings)
        printed = self.cli.all(
            *SHORT,
            ["plot", "--group", GROUP, "--pair", PAIR],
            ["verify", "--topic"],
            ["rejects", "requeue", "--all"],
        )
        assert _end_of_topic(self.settings, TICKS + len(REJECTED)) == REJECTED
        return _seen(printed["export"], printed["session"])


SHORT = [
    ["init-db"],
    ["process", "--group", GROUP, "--session", SESSION, "--until-caught-up"],
    ["session", "--group", GROUP, "--json"],
    ["export", "--group", GROUP],
]
Seen = tuple[list[dict[str, str]], list[dict[str, Any]]]


def _seen(export: str, session: str) -> Seen:
    """Return what commands printed, without what differs from run to run."""
    rows = list(csv.DictReader(io.StringIO(export)))
    for row in rows:
        del row["recorded_at"]
    return rows, json.loads(session)


def _fill_topic(settings: Settings) -> None:
    """Create the topic, and publish the ticks and what is rejected."""
    create_topic(settings, 1)
    publish(client.make_producer(settings), settings.kafka_topic, [[*_ticks(), *REJECTED]])


def _ticks() -> Iterator[Message]:
    return ((PAIR.encode(), _tick(number)) for number in range(TICKS))


def _end_of_topic(settings: Settings, first: int) -> list[Message]:
    """Return the messages from an offset to the end."""
    consumer = Consumer(client.client_conf(settings, **{"group.id": "reader", "enable.partition.eof": True}))
    consumer.assign([TopicPartition(settings.kafka_topic, 0, first)])
    found: list[Message] = []
    while (message := consumer.poll(30)) is not None and message.error() is None:
        found.append((message.key(), message.value()))
    consumer.close()
    return found


class Databases:
    """Creates roles, and databases of theirs, on the server of `admin_uri`."""

    def __init__(self, admin_uri: str, services: Services, cli_with: Callable[[dict[str, str]], Cli]) -> None:
        self._admin_uri, self._services, self._cli_with = admin_uri, services, cli_with

    @contextmanager
    def made(self, odd: Odd, topic: str | None = None) -> Iterator[Place]:
        """Create a database as odd as that; topic: by default one of its own."""
        name = f"odd_{uuid.uuid4().hex[:12]}"
        own = sql.Identifier(name)
        with psycopg.connect(self._admin_uri, autocommit=True) as admin:
            password = conninfo.conninfo_to_dict(self._admin_uri).get("password")
            admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(own, password))
            admin.execute(
                sql.SQL("CREATE DATABASE {0} OWNER {0} ENCODING {1} TEMPLATE template0 LOCALE 'C'").format(
                    own, odd.encoding
                )
            )
            try:
                _set(admin, sql.SQL("DATABASE {}").format(own), odd.database)
                _set(admin, sql.SQL("ROLE {}").format(own), odd.role)
                uri = conninfo.make_conninfo(self._admin_uri, dbname=name, user=name)
                if odd.own_schema:
                    with psycopg.connect(uri, autocommit=True) as owner:
                        owner.execute(sql.SQL("CREATE SCHEMA {}").format(own))
                yield self.place(uri, topic or name)
            finally:
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(own))
                admin.execute(sql.SQL("DROP ROLE {}").format(own))

    def place(self, uri: str, topic: str) -> Place:
        """Return the database that this connection string leads to, with a topic."""
        settings = Settings.of(
            {
                "database_url": uri,
                "kafka_bootstrap_servers": self._services.bootstrap_servers,
                "kafka_topic": topic,
                "CRYPTOMETRICS_HOME": self._services.home,
            }
        )
        return Place(self._cli_with(environment_of(settings)), settings)


def _set(
    admin: psycopg.Connection, owner: sql.Composed, settings: Mapping[str, str | tuple[str, ...]]
) -> None:
    for name, value in settings.items():
        values = (
            sql.Literal(value) if isinstance(value, str) else sql.SQL(", ").join(map(sql.Identifier, value))
        )
        admin.execute(sql.SQL("ALTER {} SET {} = {}").format(owner, sql.Identifier(name), values))


@pytest.fixture
def databases(services: Services, cli_with: Callable[[dict[str, str]], Cli]) -> Databases:
    return Databases(services.postgres_uri, services, cli_with)


@pytest.fixture(scope="module")
def plain(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Return what the commands show of a database without any settings."""

    def cli_with(configuration: dict[str, str]) -> Cli:
        return Cli(tmp_path_factory.mktemp("plain"), clean_environment() | configuration)

    with Databases(services.postgres_uri, services, cli_with).made(Odd()) as place:
        seen = place.run()
    rows, sessions = seen
    assert len(rows) == TICKS
    assert rows[0]["quoted_at"] == BEGIN.strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    assert [(each["consumer_group"], each["session"], each["ticks"]) for each in sessions] == [
        (GROUP, SESSION, TICKS)
    ]
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_results_do_not_depend_on_settings(case: str, databases: Databases, plain: Seen) -> None:
    with databases.made(CASES[case]) as place:
        assert place.run() == plain


@pytest.fixture(scope="module")
def alone(services: Services, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen | str]:
    """Return what the short run shows by the setting that its database has, or why it failed.

    All databases read one topic, and all commands run in one process: that takes a third of the time.
    """
    cli = Cli(tmp_path_factory.mktemp("alone"), clean_environment())
    databases = Databases(services.postgres_uri, services, lambda _: cli)
    topic = f"odd_{uuid.uuid4().hex[:12]}"
    _fill_topic(settings_for(services, "postgres", topic))
    with ExitStack() as stack:
        places = [stack.enter_context(databases.made(Odd({name: ALONE[name]}), topic)) for name in ALONE]
        for name, place in zip(ALONE, places, strict=True):
            _require_set(place.settings, name)
        environments = [environment_of(place.settings) for place in places]
        each, errors = cli.each(environments, SHORT, timeout=ALONE_S)
    shown: dict[str, Seen | str] = {}
    for name, printed in zip(ALONE, each, strict=True):
        failed = [(command, code) for command, (code, _) in printed.items() if code]
        shown[name] = f"{failed}: {errors}" if failed else _seen(printed["export"][1], printed["session"][1])
    return shown


def _require_set(settings: Settings, name: str) -> None:
    """Check that sessions of a database begin with a setting of the database."""
    with psycopg.connect(settings.postgres(), autocommit=True) as connection:
        row = connection.execute("SELECT source FROM pg_settings WHERE name = %s", [name]).fetchone()
    assert row == ("database",), f"{name}: {row}"


@pytest.mark.slow
@pytest.mark.timeout(2 * ALONE_S)
@pytest.mark.parametrize("setting", ALONE)
def test_results_do_not_depend_on_one_setting_alone(
    setting: str, alone: dict[str, Seen | str], plain: Seen
) -> None:
    assert alone[setting] == plain


@pytest.mark.slow
def test_results_do_not_depend_on_the_language(
    open_folder: Path, services: Services, cli_with: Callable[[dict[str, str]], Cli], plain: Seen
) -> None:
    with language_server.running(open_folder, "de_DE.UTF-8") as server:
        databases = Databases(server.uri("admin"), services, cli_with)
        with databases.made(Odd()) as place:
            assert place.run() == plain


def test_a_database_that_is_read_only(databases: Databases) -> None:
    with databases.made(Odd()) as place:
        place.cli("init-db")
        name = sql.Identifier(place.settings.kafka_topic)
        with psycopg.connect(place.settings.postgres(), autocommit=True) as owner:
            owner.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
        short = {"CRYPTOMETRICS_WAIT": "0.5"}
        assert "PostgreSQL cannot write now" in error_of(place.cli("process", code=3, env=short))
        assert "no ticks are stored yet" in error_of(place.cli("session", code=2))
        place.cli("init-db", "--check")


def test_a_search_path_without_a_schema_is_one_line(databases: Databases) -> None:
    with databases.made(Odd({"search_path": ("nowhere",)})) as place:
        error = error_of(place.cli("init-db", code=2))
        assert "no schema of the search path (nowhere) exists" in error


# Poolers


@pytest.mark.slow
def test_results_do_not_depend_on_a_pooler_in_session_mode(
    databases: Databases, open_folder: Path, plain: Seen
) -> None:
    odd = Odd({"TimeZone": "America/New_York", "DateStyle": "German, DMY"})
    with (
        databases.made(odd) as direct,
        pgbouncer.running(open_folder, direct.settings.postgres(), "session") as uri,
    ):
        place = databases.place(uri, direct.settings.kafka_topic)
        assert place.run() == plain
        begun = datetime.now(UTC)
        shown = place.cli("watch", "--once").stdout
        assert shown[:3] in {f"{moment:%H:}" for moment in (begun, datetime.now(UTC))}, "not the time in UTC"


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_without_lasting_sessions_is_refused(
    mode: str, databases: Databases, open_folder: Path
) -> None:
    with (
        databases.made(Odd({"lock_timeout": "77s"})) as direct,
        pgbouncer.running(open_folder, direct.settings.postgres(), mode) as uri,
    ):
        place = databases.place(uri, direct.settings.kafka_topic)
        for command in (["init-db"], ["process"], ["session"]):
            assert "is behind a pooler in transaction mode" in error_of(place.cli(*command, code=2))
        with psycopg.connect(uri, autocommit=True) as client:
            left = client.execute("SHOW lock_timeout").fetchone()
        assert left == ("77s",), "the next client finds our settings in its session"


NEED_THE_DATABASE = [
    *(
        "alerts list",
        "alerts silences",
        "export",
        "gaps",
        "groups list",
        "init-db",
        "plot",
        "portfolio treasury",
    ),
    *("positions show", "process", "prune --keep 1d", "rejects list", "rejects requeue --all", "risk"),
    *("risk --follow", "risk correlation", "session", "verify", "watch --once"),
]


def test_each_command_that_needs_the_database_refuses_such_a_pooler(
    databases: Databases,
    open_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        databases.made(Odd()) as direct,
        pgbouncer.running(open_folder, direct.settings.postgres(), "transaction") as uri,
    ):
        place = databases.place(uri, direct.settings.kafka_topic)
        create_topic(place.settings, 1)
        for name, value in environment_of(place.settings).items():
            monkeypatch.setenv(name, value)
        capfd.readouterr()
        for command in NEED_THE_DATABASE:  # in this process, which saves their starts
            code = _run(command.split())
            error = capfd.readouterr().err.splitlines()[-1]
            assert (code, error[:7]) == (2, "error: "), (command, error)
            assert "is behind a pooler in transaction mode" in error, command
