"""A server that refuses a connection, in whatever language: said at once where a retry cannot help."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from psycopg import conninfo

from cryptometrics.config import Settings
from cryptometrics.errors import CryptometricsError, ServiceUnavailableError, UserError
from cryptometrics.store.connection import connect
from tests.acceptance import language_server, pgbouncer
from tests.acceptance.language_server import HOST, METHODS
from tests.acceptance.test_errors import error_of
from tests.conftest import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.acceptance.language_server import LanguageServer
    from tests.conftest import Cli

WRONG = "hunter2-wrong"
AT_ONCE_S = 10.0
"""Within this time a refusal must be reported that a retry cannot change; CRYPTOMETRICS_WAIT is 30."""
LIMIT_S = 30.0
FAILED = {"C": "failed", "de_DE.UTF-8": "fehlgeschlagen"}
"""A word of each language's message of a wrong password."""


@pytest.fixture(scope="module", params=FAILED)
def server(request: pytest.FixtureRequest, open_folder: Path) -> Iterator[LanguageServer]:
    """Return a server that speaks a language."""
    with language_server.running(open_folder, request.param) as running:
        yield running


def refusal(uri: str, wait: float = 30.0) -> tuple[CryptometricsError, float]:
    """Return the error of a connection, and the seconds until it came."""
    begun = time.monotonic()
    with pytest.raises(CryptometricsError) as caught:
        connect(Settings.of({"database_url": uri, "CRYPTOMETRICS_WAIT": wait}))
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value, time.monotonic() - begun


@pytest.mark.parametrize("user", METHODS)
def test_a_wrong_password(server: LanguageServer, user: str) -> None:
    connect(Settings.of({"database_url": server.uri(user)})).close()
    error, seconds = refusal(server.uri(user, password=WRONG))
    assert isinstance(error, UserError)
    assert FAILED[server.language] in str(error)
    assert seconds < AT_ONCE_S


@pytest.mark.parametrize(
    ("user", "options"),
    [
        ("nobody", {}),
        ("barred", {}),
        ("scram", {"dbname": "nowhere"}),
        ("scram", {"dbname": "private"}),
        ("scram", {"options": "-c no_such_setting=1"}),
        ("scram", {"options": "-c DateStyle=yesterday"}),
        ("scram", {"sslmode": "require"}),
        ("scram", {"sslmode": "nonsense"}),
        ("scram", {"password": ""}),
    ],
    ids=str,
)
def test_a_retry_cannot_help(server: LanguageServer, user: str, options: dict[str, str]) -> None:
    error, seconds = refusal(server.uri(user, **options))
    assert isinstance(error, UserError)
    assert seconds < AT_ONCE_S


@pytest.mark.parametrize(("user", "database"), [("full", "postgres"), ("scram", "closed")])
def test_a_retry_can_help(server: LanguageServer, user: str, database: str) -> None:
    error, _ = refusal(server.uri(user, dbname=database), wait=0.5)
    assert isinstance(error, ServiceUnavailableError)
    assert f"/{database} for 0.5 s: " in str(error)
    assert (user if user == "full" else database) in str(error).rpartition(": ")[2]


def test_an_unknown_database_behind_a_pooler(settings: Settings, open_folder: Path) -> None:
    """PgBouncer has one code for every refusal before a login, and some pass: its own words explain it."""
    with pgbouncer.running(open_folder, settings.postgres(), "session") as uri:
        error, _ = refusal(conninfo.make_conninfo(uri, dbname="nowhere"), wait=0.5)
    assert isinstance(error, ServiceUnavailableError)
    assert "did not answer" not in str(error)
    assert str(error).endswith("/nowhere for 0.5 s: no such database: nowhere")


def test_a_command_says_it_in_one_line(
    server: LanguageServer, cli_with: Callable[[dict[str, str]], Cli]
) -> None:
    cli = cli_with({"DATABASE_URL": server.uri("scram", password=WRONG)})
    assert FAILED[server.language] in error_of(cli("session", code=2, timeout=AT_ONCE_S + LIMIT_S))


def test_each_wait_is_logged_in_a_whole_sentence(cli_with: Callable[[dict[str, str]], Cli]) -> None:
    cli = cli_with({"DATABASE_URL": "host=db.invalid user=u dbname=d", "CRYPTOMETRICS_WAIT": "0.5"})
    done = cli("session", code=3)
    error_of(done)
    events = [json.loads(line) for line in done.stderr.splitlines()[:-1]]
    assert {event["error"] for event in events} == {"the host name db.invalid is not known"}


# Nobody answers, or somebody else


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """Return a port that accepts connections and never answers."""
    with socket.create_server((HOST, 0)) as listener:
        yield listener


def uri_of(listener: socket.socket, **options: str) -> str:
    return conninfo.make_conninfo(
        host=HOST, port=listener.getsockname()[1], user="u", dbname="d", connect_timeout="2", **options
    )


def test_nobody_answers(silent: socket.socket) -> None:
    error, _ = refusal(uri_of(silent), wait=0.1)
    assert isinstance(error, ServiceUnavailableError)
    assert "did not answer for 0.1 s (it accepts connections, but does not answer)" in str(error)


def test_nobody_listens() -> None:
    error, _ = refusal(f"host={HOST} port={free_port()} user=u dbname=d", wait=0.1)
    assert isinstance(error, ServiceUnavailableError)
    assert "did not answer for 0.1 s (Connection refused): check DB_HOST" in str(error)


def test_an_unknown_host() -> None:
    error, _ = refusal("host=db.invalid user=u dbname=d", wait=0.1)
    assert isinstance(error, ServiceUnavailableError)
    assert "did not answer for 0.1 s (the host name db.invalid is not known)" in str(error)


def test_each_attempt_is_reported_in_a_whole_sentence() -> None:
    reports: list[str] = []
    uri = f"host={HOST} port={free_port()} user=u dbname=d"
    with pytest.raises(ServiceUnavailableError):
        connect(
            Settings.of({"database_url": uri}),
            timeout=0.3,
            notice=lambda error, _: reports.append(str(error)),
        )
    assert set(reports) == {"Connection refused"}


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"N" * 100]
)
def test_another_service_answers(silent: socket.socket, answer: bytes) -> None:
    def serve() -> None:
        while True:
            try:
                connection, _ = silent.accept()
            except OSError:
                return
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    error, seconds = refusal(uri_of(silent, sslmode="disable"))
    silent.shutdown(socket.SHUT_RDWR)
    assert isinstance(error, UserError)
    assert "is not PostgreSQL" in str(error)
    assert seconds < AT_ONCE_S


@pytest.mark.parametrize("mode", ["disable", "prefer", "require", "verify-full"])
def test_whatever_a_server_sends_ends_in_one_line(silent: socket.socket, mode: str) -> None:
    """The answers of a server are input from outside, too."""
    answers = [
        b"",
        b"S",
        b"E",
        b"R\0\0\0\x04",
        b"R\0\0\0\x08\0\0\0\x0a",
        b"E\0\0\0\x05\0",
        b"R\xff\xff\xff\xff",
        b"Z\0\0\0\x05I",
    ]
    answers += [b"R\0\0\0\x08\0\0\0\x0b", b"R\0\0\0\x0d\0\0\0\x0br=,s=!", b"K\0\0\0\x04" * 1000]
    turn = iter(range(10_000))

    def serve() -> None:
        while True:
            try:
                connection, _ = silent.accept()
            except OSError:
                return
            with connection:
                connection.recv(1000)
                connection.sendall(answers[next(turn) % len(answers)])

    threading.Thread(target=serve, daemon=True).start()
    for _ in answers:
        refusal(uri_of(silent, sslmode=mode, password="x"), wait=0.01)
    silent.shutdown(socket.SHUT_RDWR)
