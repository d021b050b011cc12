"""Reading COPYs in blocks: whole rows in order, also with two sessions, their errors, and an early end."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from cryptometrics.store.copied_parts import copied_parts
from cryptometrics.store.copied_rows import copied_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.local.services import Services

ROWS = 50_000


@pytest.fixture(scope="module")
def server(services: Services) -> Iterator[psycopg.Connection]:
    with psycopg.connect(services.postgres_uri, autocommit=True) as connection:
        yield connection


def copy_of(query: str) -> sql.Composed:
    return sql.SQL("COPY ({}) TO STDOUT").format(sql.SQL(query))


@pytest.mark.parametrize("size", [1, 4096, 1 << 30])
def test_blocks_are_whole_rows_in_order(server: psycopg.Connection, size: int) -> None:
    statement = copy_of(rf"SELECT n, E'two\nlines' FROM generate_series(1, {ROWS}) AS n")
    blocks = list(copied_rows(server, statement, size))
    expected = [b"%d\ttwo\\nlines\n" % n for n in range(1, ROWS + 1)]
    assert b"".join(block.data for block in blocks) == b"".join(expected)
    assert [block.data.count(b"\n") for block in blocks] == [block.rows for block in blocks]
    assert all(size <= len(block.data) < size + 32 for block in blocks[:-1])
    assert len(blocks) == {1: ROWS, 1 << 30: 1}.get(size, len(blocks))


def test_no_rows_are_no_block(server: psycopg.Connection) -> None:
    assert list(copied_rows(server, copy_of("SELECT 1 WHERE false"))) == []


def test_an_error_in_the_middle_is_raised_after_the_rows_before_it(server: psycopg.Connection) -> None:
    statement = copy_of(f"SELECT 1 / ({ROWS} - n) FROM generate_series(1, {2 * ROWS}) AS n")
    counts: list[int] = []
    with pytest.raises(psycopg.errors.DivisionByZero):
        counts.extend(block.rows for block in copied_rows(server, statement, 64))
    assert 0 < sum(counts) < ROWS
    assert server.execute("SELECT 1").fetchone() == (1,)


def test_a_reader_that_has_enough_cancels_the_rest(server: psycopg.Connection) -> None:
    endless = copy_of("SELECT generate_series(1, 1000000000)")
    with contextlib.closing(copied_rows(server, endless)) as blocks:
        assert next(blocks).rows > ROWS // 10
    assert server.execute("SELECT 1").fetchone() == (1,)


@pytest.fixture
def two(services: Services) -> Iterator[list[psycopg.Connection]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(psycopg.connect(services.postgres_uri, autocommit=True)) for _ in range(2)]


def part(number: int, rows: int = 1000) -> sql.Composed:
    return copy_of(f"SELECT {number}, n FROM generate_series(1, {rows}) AS n")


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 20])
@pytest.mark.parametrize("sessions", [1, 2])
def test_parts_come_in_order_whoever_reads_them(
    two: list[psycopg.Connection], count: int, sessions: int
) -> None:
    # Every third is slow, so that the other session is far ahead.
    sizes = [20_000 if number % 3 == 0 else 10 for number in range(count)]
    parts = [part(number, rows) for number, rows in enumerate(sizes)]
    found = list(copied_parts(two[:sessions], parts, 4096))
    expected = [b"%d\t%d\n" % (number, n) for number, rows in enumerate(sizes) for n in range(1, rows + 1)]
    assert b"".join(block.data for _, block in found) == b"".join(expected)
    assert [number for number, _ in found] == sorted(number for number, _ in found)
    assert {int(block.data.split(b"\t")[0]) for number, block in found if number == 2} <= {2}


def test_the_first_parts_may_be_looked_up_over_a_session(two: list[psycopg.Connection]) -> None:
    def parts() -> Iterator[sql.Composed]:
        for (number,) in two[0].execute("SELECT generate_series(1, 9)").fetchall():
            yield part(number, 1)

    found = b"".join(block.data for _, block in copied_parts(two, parts()))
    assert found == b"".join(b"%d\t1\n" % number for number in range(1, 10))


def test_an_error_of_a_part_comes_after_the_parts_before_it(two: list[psycopg.Connection]) -> None:
    parts = [part(0), part(1), copy_of("SELECT 1 / 0"), part(3)]
    numbers: list[int] = []
    with pytest.raises(psycopg.errors.DivisionByZero):
        numbers.extend(number for number, _ in copied_parts(two, parts))
    assert numbers == [0, 1]
    assert [session.execute("SELECT 1").fetchone() for session in two] == [(1,), (1,)]


def test_an_early_end_frees_both_sessions(two: list[psycopg.Connection]) -> None:
    endless = copy_of("SELECT generate_series(1, 1000000000)")
    waiting = copy_of("SELECT pg_sleep(60)")
    for parts in ([endless, endless], [endless, waiting], [part(0), waiting, part(2)]):
        with contextlib.closing(copied_parts(two, parts)) as blocks:
            assert next(blocks)[0] == 0
        assert [session.execute("SELECT 1").fetchone() for session in two] == [(1,), (1,)]
