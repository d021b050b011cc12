"""Kafka and PostgreSQL that are killed, stopped, full, read-only, or locked."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from tests.faults.arena import cut_workers
from tests.waiting import LIMIT_S, deadline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.arena import Arena

RATE = 2_000
FULL_RATE = 20_000
"""Ticks a second that no worker here keeps up with while it catches up."""
MAX_MEMORY = 300 * 1024 * 1024
"""Bytes that a worker may take, whatever the backlog."""


@pytest.mark.parametrize(
    ("fault", "ended", "how"),
    [
        ("kill -9 of the broker", ["kafka"], signal.SIGKILL),
        ("kill -9 of the postmaster", ["postgres"], signal.SIGKILL),
        ("immediate stop of PostgreSQL", ["postgres"], signal.SIGQUIT),
        ("kill -9 of both services", ["postgres", "kafka"], signal.SIGKILL),
    ],
)
def test_services_are_killed(arena: Arena, fault: str, ended: list[str], how: signal.Signals) -> None:
    times = arena.times(1, 5)
    arena.load.start(RATE)
    arena.worker()
    arena.wait_for_progress()
    for _ in range(times):
        for service in ended:
            arena.end_service(service, how)
        arena.services.up()
        arena.all_partitions_move()
    arena.finish(f"{fault}, restarted", times, note="until each partition moves again")


def test_the_broker_is_killed_while_partitions_change_hands(arena: Arena) -> None:
    """The moment in which a worker has to ask Kafka what a partition holds."""
    times = arena.times(1, 5)
    arena.load.start(RATE)
    arena.worker()
    arena.wait_for_progress()
    for _ in range(times):
        other = arena.worker()
        arena.wait_for_event(other, "partitions_assigned")
        arena.end_service("kafka", signal.SIGKILL)
        # The first worker gets the partitions back only through the broker, so it has to open them after it.
        other.kill()
        arena.services.up()
        arena.all_partitions_move()
    arena.finish("kill -9 of the broker in mid-rebalance", times, note="until each partition moves again")


def test_postgres_is_away_under_full_load_and_memory_stays_flat(arena: Arena) -> None:
    seconds = arena.times(10, 300)
    worker = arena.worker()
    arena.load.start(RATE)
    arena.wait_for_progress()
    arena.load.end()
    arena.end_service("postgres", signal.SIGINT)
    arena.load.start(FULL_RATE)
    most, is_over = 0, deadline(seconds)
    while not is_over():
        arena.check_processes()
        most = max(most, worker.resident())
        assert most < MAX_MEMORY, f"{most / 2**20:.0f} MB while PostgreSQL is away"
        time.sleep(0.2)  # how often the memory is measured
    arena.services.up()
    arena.recovers()
    arena.load.end()

    def caught_up() -> bool:
        nonlocal most
        most = max(most, worker.resident())
        return arena.caught_up()

    arena.wait_for("caught up", caught_up, 10 * LIMIT_S)
    assert most < MAX_MEMORY, f"{most / 2**20:.0f} MB"
    assert len(worker.events("partitions_assigned")) == 1, "the worker has left the group"
    arena.finish(
        "PostgreSQL away under load",
        1,
        note=f"for {seconds} s; the worker's memory at most {most / 2**20:.0f} MB",
    )


@pytest.fixture
def admin(arena: Arena) -> Iterator[psycopg.Connection]:
    """Return a session of the administrator, in the test's database."""
    with psycopg.connect(arena.settings.postgres(), autocommit=True) as connection:
        yield connection


def test_the_database_is_read_only_for_a_while(arena: Arena, admin: psycopg.Connection) -> None:
    times = arena.times(1, 5)
    database = sql.Identifier(arena.settings.kafka_topic)
    arena.load.start(RATE)
    worker = arena.worker()
    arena.wait_for_progress()
    for _ in range(times):
        admin.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(database))
        cut_workers(admin)
        arena.wait_for_event(worker, "starting_over", len(worker.events("starting_over")) + 3)
        admin.execute("SET default_transaction_read_only = off")
        admin.execute(sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(database))
        arena.recovers()
    arena.finish("database read-only for a while", times)


def test_the_disk_is_full_for_a_while(arena: Arena, admin: psycopg.Connection, tmp_path: Path) -> None:
    """A table space of a few megabytes, until a day's table does not fit any more."""
    place = arena.services.home / "small-disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0777", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        place.rmdir()
        pytest.skip("mounting a small disk is not allowed here")
    space = sql.Identifier(f"small_{arena.settings.kafka_topic}")
    try:
        os.chown(place, *_owner(arena.services.home / "postgres" / "data"))
        admin.execute(sql.SQL("CREATE TABLESPACE {} LOCATION {}").format(space, sql.Literal(str(place))))
        found = admin.execute("SELECT 'crypto_metrics_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')")
        today = sql.Identifier(str(found.fetchall()[0][0]))
        admin.execute("SELECT crypto_metrics_add_day((now() AT TIME ZONE 'UTC')::date)")
        admin.execute(sql.SQL("ALTER TABLE {} SET TABLESPACE {}").format(today, space))
        arena.load.start(RATE * 2)
        worker = arena.worker()
        arena.wait_for(
            "the disk is full", lambda: any("space" in e["reason"] for e in worker.events("starting_over"))
        )
        arena.wait_for_event(worker, "starting_over", 3)
        subprocess.run(["mount", "-o", "remount,size=500m", place], check=True)
        arena.recovers()
        arena.finish("disk full for a while", 1)
    finally:
        with contextlib.ExitStack() as last:
            last.callback(lambda: subprocess.run(["umount", "--lazy", place], check=True))
            for worker in arena.workers:
                worker.kill()
            admin.execute(sql.SQL("ALTER TABLE {} SET TABLESPACE pg_default").format(today))
            admin.execute(sql.SQL("DROP TABLESPACE {}").format(space))


def _owner(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid


def test_another_session_holds_locks(arena: Arena, admin: psycopg.Connection) -> None:
    """The rows of the offsets, then the whole table: longer than the workers' limit for a lock."""
    times = arena.times(1, 5)
    arena.load.start(RATE)
    worker = arena.worker()
    arena.wait_for_progress()
    statements = ("SELECT * FROM consumer_offsets FOR UPDATE", "LOCK TABLE consumer_offsets")
    for number in range(times):
        seen = len(worker.events("starting_over"))
        with psycopg.connect(arena.settings.postgres()) as other:
            other.execute(statements[number % 2])
            arena.wait_for_event(worker, "starting_over", seen)
            if arena.full:
                time.sleep(5)  # the fault lasts while the worker retries its claim
        arena.recovers()
    arena.finish("another session holds the offsets' locks", times, note="longer than lock_timeout, 10 s")


def test_a_statement_takes_longer_than_its_limit(arena: Arena, admin: psycopg.Connection) -> None:
    """A trigger that sleeps simulates a slow table; the limit of 60 s is shortened here."""
    times = arena.times(1, 5)
    arena.load.start(RATE)
    worker = arena.worker()
    arena.wait_for_progress()
    admin.execute(
        "CREATE FUNCTION crawl() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(600); RETURN NULL; END $$"
    )
    for _ in range(times):
        seen = len(worker.events("starting_over"))
        admin.execute(
            "CREATE TRIGGER crawl AFTER INSERT ON crypto_metrics FOR EACH STATEMENT EXECUTE FUNCTION crawl()"
        )
        if arena.full:
            limit = 120.0
        else:  # what the time-out would do, sooner
            limit = 60.0
            arena.wait_for(
                "a COPY crawls",
                lambda: admin.execute(
                    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' "
                    "AND datname = current_database()"
                ).fetchall(),
            )
        arena.wait_for_event(worker, "starting_over", seen, limit)
        # The next attempt crawls, too, and its lock is in the way of taking the trigger away.
        with psycopg.connect(arena.settings.postgres(), autocommit=True) as other:
            other.execute("SET lock_timeout = '100ms'")
            arena.wait_for("the trigger is gone", functools.partial(_drop_trigger, other))
        arena.recovers()
    arena.finish("statement time-out in COPY", times)


def _drop_trigger(connection: psycopg.Connection) -> bool:
    """Drop the trigger, after cancelling the sessions that sleep in it."""
    connection.execute(
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' "
        "AND datname = current_database()"
    )
    try:
        connection.execute("DROP TRIGGER IF EXISTS crawl ON crypto_metrics")
    except psycopg.errors.LockNotAvailable:
        return False
    return True
