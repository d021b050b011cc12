"""Migrations: concurrent, repeated, and beside an existing table; and the partitions by day."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import psycopg
import pytest
from psycopg import conninfo

from cryptometrics.errors import UserError
from cryptometrics.store import migrate as module
from cryptometrics.store.migrate import migrate, pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptometrics.config import Settings
    from tests.conftest import Cli

ORIGINAL = """
CREATE TABLE crypto_metrics (
    id SERIAL PRIMARY KEY,
    pair VARCHAR(10),
    bid NUMERIC, ask NUMERIC, mid_price NUMERIC, spread NUMERIC,
    highest_bid NUMERIC, lowest_ask NUMERIC, max_spread NUMERIC,
    timestamp TIMESTAMP
)
"""
ORIGINAL_QUERY = """
SELECT id, pair, bid, ask, mid_price, spread, highest_bid, lowest_ask, max_spread, timestamp
FROM {}
"""
INSERT = """
INSERT INTO crypto_metrics (pair, bid, ask, mid_price, spread, highest_bid, lowest_ask, max_spread, timestamp,
                            consumer_group, session, kind, kafka_partition, kafka_offset)
VALUES ('BTC-USD', 1, 2, 1.5, 1, 1, 2, 1, %s, 'g', 's', 'quote', 0, 0)
RETURNING tableoid::regclass::text
"""


@pytest.fixture
def uri(empty_database_settings: Settings) -> str:
    return empty_database_settings.postgres()


@pytest.fixture
def connection(uri: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(uri, autocommit=True) as opened:
        yield opened


def together(count: int, work: Callable[[], object]) -> list[object]:
    """Do the same in threads that start at the same moment; return what each returned or raised."""
    barrier = threading.Barrier(count)
    results: list[object] = []

    def one() -> None:
        barrier.wait(30)
        try:
            results.append(work())
        except Exception as error:  # noqa: BLE001  (shown by the caller's assertion)
            results.append(error)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == count
    return results


def objects(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    return connection.execute(
        "SELECT c.relname, c.relkind, c.oid FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace "
        "UNION ALL SELECT proname, 'f', oid FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
        "ORDER BY 1"
    ).fetchall()


def days(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits "
        "WHERE inhparent = 'crypto_metrics'::regclass ORDER BY 1"
    )
    return [row[0] for row in rows]


def test_a_second_time_changes_nothing(connection: psycopg.Connection) -> None:
    everything = pending(connection)
    assert everything == sorted(everything)
    assert everything[0] == "0001_metrics"
    assert migrate(connection) == everything
    before = objects(connection)
    assert migrate(connection) == []
    assert pending(connection) == []
    assert objects(connection) == before
    applied = connection.execute("SELECT name FROM schema_migrations ORDER BY applied_at, name")
    assert [name for (name,) in applied] == everything


def test_at_the_same_moment_one_does_it_and_the_others_find_it_done(uri: str) -> None:
    def work() -> list[str]:
        with psycopg.connect(uri, autocommit=True) as own:
            return migrate(own)

    results = together(4, work)
    assert sorted(map(bool, results)) == [False, False, False, True], results


def test_the_command_may_be_run_twice_at_once(
    cli_for: Callable[[Settings], Cli], empty_database_settings: Settings
) -> None:
    cli = cli_for(empty_database_settings)
    assert cli("init-db", "--check", code=1).stdout.startswith("behind: 0001_metrics")
    both = [cli.start("init-db", "--partitions", "2") for _ in range(2)]
    outputs = []
    for process in both:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        outputs.append(output)
    assert sum("applied 0001_metrics" in output for output in outputs) == 1
    assert sum("made with 2 partitions" in output for output in outputs) == 1
    again = cli("init-db", "--partitions", "7")
    assert again.stdout.splitlines() == [
        "schema: up to date",
        f"topic {empty_database_settings.kafka_topic}: there already, with 2 partitions",
    ]
    assert cli("init-db", "--check").stdout == "the schema is up to date\n"


def test_a_migration_that_fails_leaves_nothing(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = module._migrations() | {"9999_wrong": "CREATE TABLE half (); SELECT 1 / 0"}
    with monkeypatch.context() as patch:
        patch.setattr(module, "_migrations", lambda: files)
        with pytest.raises(psycopg.errors.DivisionByZero):
            migrate(connection)
    assert objects(connection) == []
    assert migrate(connection)


def test_a_later_migration_is_applied_alone(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(connection)
    files = module._migrations() | {"9999_later": "CREATE TABLE later ()"}
    monkeypatch.setattr(module, "_migrations", lambda: files)
    assert pending(connection) == ["9999_later"]
    assert migrate(connection) == ["9999_later"]
    assert pending(connection) == []


def test_a_table_of_the_original_shape_is_kept_under_another_name(connection: psycopg.Connection) -> None:
    connection.execute(ORIGINAL)
    for n in (1, 2):
        connection.execute(
            "INSERT INTO crypto_metrics (pair, bid, ask, mid_price, spread, highest_bid, lowest_ask, "
            "max_spread, timestamp) VALUES ('BTC-USD', %s, 3, 2.5, 1, 2, 3, 1, '2024-05-01 12:00')",
            [n],
        )
    query = ORIGINAL_QUERY.format("crypto_metrics").encode()
    rows = connection.execute(query).fetchall()
    migrate(connection)
    assert connection.execute(ORIGINAL_QUERY.format("crypto_metrics_original").encode()).fetchall() == rows
    assert connection.execute(query).fetchall() == []
    connection.execute(INSERT, [datetime(2024, 5, 1, 12, tzinfo=UTC)])
    [row] = connection.execute(query).fetchall()
    assert row[1:9] == ("BTC-USD", *map(Decimal, ("1", "2", "1.5", "1", "1", "2", "1")))
    # The old one goes on with its own numbers, should somebody still write to it.
    connection.execute("INSERT INTO crypto_metrics_original (pair) VALUES ('X')")
    last = connection.execute("SELECT max(id) FROM crypto_metrics_original").fetchone()
    assert last == (3,)
    assert migrate(connection) == []


# Beside what others have in the same database

WHAT_IS_MADE = """
SELECT c.relname::text FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace
  -- PostgreSQL chooses names that are free for keys, sequences of identities and indexes of partitions.
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = c.oid)
  AND NOT (c.relkind = 'S' AND EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'i'))
  AND NOT (c.relkind = 'i' AND c.relispartition)
UNION ALL
SELECT proname || '(' || oidvectortypes(proargtypes) || ')' FROM pg_proc
WHERE pronamespace = 'public'::regnamespace
"""


def test_what_each_migration_makes_is_listed(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in no list is neither guarded against a name taken before nor given to the roles."""
    files = module._migrations()
    before = {"schema_migrations"}
    for number, name in enumerate(files, 1):
        some = dict(list(files.items())[:number])
        monkeypatch.setattr(module, "_migrations", lambda some=some: some)
        assert migrate(connection) == [name]
        now = {made for (made,) in connection.execute(WHAT_IS_MADE.encode())}
        assert sorted(now - before) == sorted((*module.RELATIONS[name], *module.FUNCTIONS[name])), name
        before = now
    assert list(module.RELATIONS) == list(module.FUNCTIONS) == list(files)


TAKEN = {
    "CREATE TABLE schema_migrations (version text PRIMARY KEY)": "schema_migrations",
    "CREATE TABLE schema_migrations (version bigint, dirty boolean)": "schema_migrations",
    "CREATE VIEW schema_migrations AS SELECT 'x' AS name, now() AS applied_at": "schema_migrations",
    "CREATE TABLE alerts (id int); CREATE TABLE pair_state ()": "alerts, pair_state",
    "CREATE VIEW crypto_windows_5m AS SELECT 1 AS x": "crypto_windows_5m",
    "CREATE SEQUENCE crypto_metrics_ids": "crypto_metrics_ids",
    "CREATE TABLE mine (x int); CREATE INDEX alerts_firing ON mine (x)": "alerts_firing",
    "CREATE TYPE alerts AS ENUM ('low', 'high')": "alerts",
    "CREATE FUNCTION crypto_spread_bps(numeric, numeric) RETURNS int LANGUAGE sql AS 'SELECT 1'": (
        "crypto_spread_bps(numeric, numeric)"
    ),
    "CREATE TABLE crypto_metrics (); CREATE TABLE crypto_metrics_original ()": "crypto_metrics_original",
}


@pytest.mark.parametrize("statement", TAKEN)
def test_what_others_have_under_our_names_is_named_and_left(
    statement: str, connection: psycopg.Connection
) -> None:
    connection.execute(statement.encode())
    before = objects(connection)
    for work in (migrate, pending):
        with pytest.raises(UserError) as raised:
            work(connection)
        said = str(raised.value)
        assert f": {TAKEN[statement]}." in said
        assert "search_path%3Dcryptometrics" in said
        assert "\n" not in said
    assert objects(connection) == before


def test_a_name_that_a_later_migration_needs_may_be_taken_too(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(connection)
    connection.execute("CREATE TABLE later ()")
    files = module._migrations() | {"9999_later": "CREATE TABLE later ()"}
    monkeypatch.setattr(module, "_migrations", lambda: files)
    monkeypatch.setitem(module.RELATIONS, "9999_later", ("later",))
    with pytest.raises(UserError, match=r": later\."):
        migrate(connection)


def test_names_like_ours_stand_in_nobodys_way(connection: psycopg.Connection) -> None:
    connection.execute(
        "CREATE TABLE session_tokens (); CREATE TABLE alerts_of_mine (); "
        "CREATE FUNCTION crypto_spread_bps(text) RETURNS int LANGUAGE sql AS 'SELECT 1'"
    )
    assert migrate(connection)


def test_a_schema_of_its_own_is_the_way_out(
    cli_for: Callable[[Settings], Cli], empty_database_settings: Settings, connection: psycopg.Connection
) -> None:
    """The one line that the command ends with, and what it says to do."""
    connection.execute("CREATE TABLE schema_migrations (version text); CREATE TABLE crypto_metrics (x int)")
    before = objects(connection)
    cli = cli_for(empty_database_settings)
    for options in ((), ("--check",), ("--print-grants",)):
        [line] = cli("init-db", *options, code=2).stderr.splitlines()
        assert line.startswith(
            "error: something else in the schema public has names that cryptometrics needs"
        )
        assert ": schema_migrations. Nothing was changed" in line
    parts = conninfo.conninfo_to_dict(empty_database_settings.postgres())
    place = urlencode({name: str(value) for name, value in parts.items()})
    alone, own = (
        {"DATABASE_URL": f"postgresql:///?{place}&options=-csearch_path%3D{path}"}
        for path in ("cryptometrics", "cryptometrics,public")
    )
    [line] = cli("init-db", code=2, env=alone).stderr.splitlines()
    assert "CREATE SCHEMA" in line
    connection.execute("CREATE SCHEMA cryptometrics")
    # The other schema may be in the path: what it holds is neither renamed nor taken for ours.
    assert "behind: 0001_metrics" in cli("init-db", "--check", code=1, env=own).stdout
    cli("init-db", "--partitions", "1", env=own)
    for env in (own, alone):
        assert cli("init-db", "--check", env=env).stdout == "the schema is up to date\n"
    cli("simulate", "--rate", "0", "--count", "100", env=alone)
    cli("process", "--until-caught-up", env=alone)
    cli("verify", "--topic", env=alone)
    assert objects(connection) == before


def add(connection: psycopg.Connection, day: date) -> None:
    connection.execute("SELECT crypto_metrics_add_day(%s)", [day])


@pytest.mark.parametrize(
    ("zone", "style"), [("UTC", "ISO"), ("Asia/Tokyo", "SQL, DMY"), ("America/Los_Angeles", "German")]
)
def test_days_begin_and_end_at_midnight_utc_whoever_asks(
    connection: psycopg.Connection, zone: str, style: str
) -> None:
    connection.execute(
        "SELECT set_config('timezone', %s, false), set_config('datestyle', %s, false)", [zone, style]
    )
    migrate(connection)
    today = datetime.now(UTC).date()
    for n in range(2):
        add(connection, today + timedelta(days=n))
    begin = datetime(today.year, today.month, today.day, tzinfo=UTC)
    instant = timedelta(microseconds=1)
    names = [f"crypto_metrics_{today + timedelta(days=n):%Y%m%d}" for n in range(2)]
    for moment, name in (
        (begin - instant, "crypto_metrics_before"),
        (begin, names[0]),
        (begin + timedelta(days=1) - instant, names[0]),
        (begin + timedelta(days=1), names[1]),
        (begin + timedelta(days=2) - instant, names[1]),
    ):
        assert connection.execute(INSERT, [moment]).fetchone() == (name,)
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(INSERT, [begin + timedelta(days=2)])


def test_old_days_have_one_partition_together(connection: psycopg.Connection) -> None:
    migrate(connection)
    for day in (date(2009, 1, 1), date(2021, 4, 17), datetime.now(UTC).date() - timedelta(days=1)):
        add(connection, day)
        moment = datetime(day.year, day.month, day.day, 23, 59, 59, 999999, tzinfo=UTC)
        assert connection.execute(INSERT, [moment]).fetchone() == ("crypto_metrics_before",)
    assert days(connection) == ["crypto_metrics_before"]


def test_a_day_is_made_once_by_however_many_at_the_same_moment(
    uri: str, connection: psycopg.Connection
) -> None:
    migrate(connection)
    today = datetime.now(UTC).date()
    wanted = [today + timedelta(days=n) for n in range(3)]

    def work() -> str:
        with psycopg.connect(uri, autocommit=True) as own:
            for day in wanted:
                add(own, day)
        return "made"

    assert together(6, work) == ["made"] * 6
    assert days(connection) == [*(f"crypto_metrics_{day:%Y%m%d}" for day in wanted), "crypto_metrics_before"]


def test_a_day_is_made_while_a_batch_is_open(uri: str, connection: psycopg.Connection) -> None:
    migrate(connection)
    today = datetime.now(UTC).date()
    add(connection, today)
    with psycopg.connect(uri) as batch:
        batch.execute(INSERT, [datetime.now(UTC)])
        connection.execute("SET lock_timeout = '5s'")
        add(connection, today + timedelta(days=1))
    assert len(days(connection)) == 3


def test_a_day_made_later_has_all_that_the_table_has(connection: psycopg.Connection) -> None:
    migrate(connection)
    connection.execute("ALTER TABLE crypto_metrics ADD CONSTRAINT never CHECK (kafka_offset <> 0)")
    day = datetime.now(UTC).date()
    add(connection, day)
    name = f"crypto_metrics_{day:%Y%m%d}"
    indexes = "SELECT count(*) FROM pg_index WHERE indrelid = %s::regclass"
    assert (
        connection.execute(indexes, [name]).fetchone()
        == connection.execute(indexes, ["crypto_metrics"]).fetchone()
    )
    with pytest.raises(psycopg.errors.CheckViolation, match="never"):
        connection.execute(INSERT, [datetime.now(UTC)])


def test_the_tables_say_what_they_are(connection: psycopg.Connection) -> None:
    migrate(connection)
    silent = connection.execute(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace "
        "AND NOT relispartition AND obj_description(oid) IS NULL AND relname <> 'schema_migrations'"
    ).fetchall()
    assert silent == []
