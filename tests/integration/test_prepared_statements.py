"""Several statements in one message: their order, their failures, and a session that ends meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from cryptometrics.store.prepared_statements import RoundTrip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.config import Settings

ADD = "INSERT INTO noted SELECT * FROM unnest(%(numbers)s::int[], %(words)s::text[])"


@pytest.fixture
def session(empty_database_settings: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(empty_database_settings.postgres(), autocommit=True) as connection:
        connection.execute("CREATE TABLE noted (number int PRIMARY KEY, word text)")
        yield connection


def add(session: psycopg.Connection, *numbers: int, word: str = "word") -> int:
    trip = RoundTrip(session)
    trip.execute("BEGIN")
    trip.execute(ADD, {"numbers": "{" + ",".join(map(str, numbers)) + "}", "words": f'{{"{word}"}}'})
    trip.execute("UPDATE noted SET word = %s WHERE word IS NULL", ["none"])
    trip.execute("COMMIT")
    trip.execute("SELECT FROM noted WHERE number > %s AND 7 %% 2 = 1", [0])
    return trip.send()


def stored(session: psycopg.Connection) -> list[tuple[int, str]]:
    return session.execute("SELECT number, word FROM noted ORDER BY number").fetchall()


def test_statements_run_in_order_and_again(session: psycopg.Connection) -> None:
    assert add(session, 1, 2) == 2
    assert add(session, 3, 4, 5) == 5
    assert [number for number, _ in stored(session)] == [1, 2, 3, 4, 5]
    assert [word for _, word in stored(session)] == ["word", "none", "word", "none", "none"]


def test_the_first_failure_is_raised_and_the_session_goes_on_after_a_rollback(
    session: psycopg.Connection,
) -> None:
    add(session, 1)
    for _ in range(3):
        with pytest.raises(psycopg.errors.UniqueViolation) as caught:
            add(session, 2, 1)
        assert caught.value.diag.constraint_name == "noted_pkey"
        session.rollback()
    assert add(session, 2) == 2
    assert stored(session) == [(1, "word"), (2, "word")]


def test_a_message_may_be_larger_than_the_buffers_of_the_socket(session: psycopg.Connection) -> None:
    word = "w" * 20_000_000
    assert add(session, 1, word=word) == 1
    assert stored(session) == [(1, word)]


def test_a_session_that_ends_is_an_operational_error(session: psycopg.Connection) -> None:
    add(session, 1)
    trip = RoundTrip(session)
    trip.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(psycopg.OperationalError):
        trip.send()
    assert session.closed
