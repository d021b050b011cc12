"""Three roles, each with no more than its work needs, and two functions that lend a little of the owner's."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import conninfo, errors, sql

from cryptometrics.errors import UserError
from cryptometrics.store import roles
from cryptometrics.store.migrate import migrate
from cryptometrics.store.roles import OWNER, READER, ROLES, WRITER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptometrics.config import Settings

Connect = "Callable[[str], psycopg.Connection]"


@pytest.fixture
def uri(settings: Settings) -> str:
    return settings.postgres()


@pytest.fixture
def admin(uri: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(uri, autocommit=True) as connection:
        roles.make(connection)
        yield connection


@pytest.fixture
def connect(admin: psycopg.Connection, uri: str) -> Iterator[Callable[[str], psycopg.Connection]]:
    """Return a function that connects as one of the roles."""
    opened: list[psycopg.Connection] = []

    def run(role: str) -> psycopg.Connection:
        opened.append(psycopg.connect(conninfo.make_conninfo(uri, user=role), autocommit=True))
        return opened[-1]

    yield run
    for connection in opened:
        connection.close()


def today() -> date:
    return datetime.now(UTC).date()


def test_the_roles_are_no_superusers_and_own_no_more_than_the_schema(admin: psycopg.Connection) -> None:
    rights = admin.execute(
        "SELECT bool_or(rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication) "
        "FROM pg_roles WHERE rolname = ANY (%s)",
        [list(ROLES)],
    ).fetchone()
    assert rights == (False,)
    owners = admin.execute(
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    ).fetchall()
    assert owners == [(OWNER,)]


def test_every_table_has_its_rights(admin: psycopg.Connection) -> None:
    """A table that a new migration adds has to be in the list, or the writer meets it in the night."""
    tables = {
        name
        for (name,) in admin.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "AND relkind IN ('r', 'p') AND NOT relispartition"
        )
    }
    assert tables <= set(roles.WRITER_RIGHTS)
    unreadable = admin.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
        "AND relkind IN ('r', 'p', 'v') AND NOT relispartition "
        "AND NOT has_table_privilege(%s, oid, 'SELECT')",
        [READER],
    ).fetchall()
    assert unreadable == []


# What each must not


FORBIDDEN = {
    WRITER: [
        "CREATE TABLE mine (x int)",
        "DROP TABLE crypto_metrics",
        "ALTER TABLE crypto_metrics ADD COLUMN x int",
        "CREATE INDEX ON crypto_metrics (pair)",
        "UPDATE crypto_metrics SET bid = 1",
        "DELETE FROM crypto_metrics",
        "TRUNCATE crypto_metrics",
        "DELETE FROM consumer_offsets",
        "DELETE FROM rejected_ticks",
        "UPDATE rejected_ticks SET value = ''",
        "DELETE FROM metric_days",
        "INSERT INTO pruned_days SELECT * FROM pruned_days",
        "INSERT INTO pruning_days VALUES ('2026-01-01')",
        "INSERT INTO schema_migrations (name) VALUES ('9999_mine')",
        "SELECT crypto_metrics_finish_pruning(current_date)",
        "SELECT crypto_metrics_note_pruned('-infinity', 'infinity')",
        "CREATE ROLE mine",
        "SELECT setval('crypto_metrics_ids', 1)",
    ],
    READER: [
        "INSERT INTO crypto_metrics SELECT * FROM crypto_metrics",
        "UPDATE consumer_offsets SET next_offset = 0",
        "DELETE FROM rejected_ticks",
        "CREATE TABLE mine (x int)",
        "SELECT crypto_metrics_add_day(current_date)",
        "SELECT crypto_metrics_summarize(ARRAY[current_date])",
        "SELECT nextval('crypto_metrics_ids')",
    ],
    OWNER: ["CREATE ROLE mine", "CREATE DATABASE mine", "COPY crypto_metrics TO PROGRAM 'true'"],
}


@pytest.mark.parametrize("role", ROLES)
def test_what_is_not_its_work_is_refused(role: str, connect: Callable[[str], psycopg.Connection]) -> None:
    connection = connect(role)
    for statement in FORBIDDEN[role]:
        with pytest.raises(errors.InsufficientPrivilege):  # the statement is in the test's traceback
            connection.execute(statement.encode())


# What the writer borrows


def test_the_writer_gets_its_days_and_none_that_ticks_cannot_be_of(
    admin: psycopg.Connection, connect: Callable[[str], psycopg.Connection]
) -> None:
    writer = connect(WRITER)
    for days in (0, 1, 2):
        writer.execute("SELECT crypto_metrics_add_day(%s)", [today() + timedelta(days)])
    for day in (today() + timedelta(3), date(9999, 12, 31), None):
        with pytest.raises(errors.ObjectNotInPrerequisiteState, match="more than two days ahead"):
            writer.execute("SELECT crypto_metrics_add_day(%s::date)", [day])
    with pytest.raises(errors.ObjectNotInPrerequisiteState):
        writer.execute("SELECT crypto_metrics_add_day('infinity')")
    writer.execute("SELECT crypto_metrics_add_day('-infinity')")
    writer.execute("SELECT crypto_metrics_summarize(ARRAY[current_date, NULL])")
    made = admin.execute("SELECT count(*) FROM crypto_metrics_days").fetchone()
    assert made == (3,)
    owners = admin.execute("SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relispartition")
    assert owners.fetchall() == [(OWNER,)]


def test_the_functions_that_lend_rights_are_these_and_pinned(admin: psycopg.Connection) -> None:
    lending = admin.execute(
        "SELECT oid::regprocedure::text, proconfig FROM pg_proc "
        "WHERE pronamespace = 'public'::regnamespace AND prosecdef ORDER BY 1"
    ).fetchall()
    path = ["search_path=public, pg_temp"]
    assert lending == [(name, path) for name in sorted(roles.WRITER_FUNCTIONS)]


TRAPS = [
    "CREATE TEMP TABLE pruning_days (day date); INSERT INTO pruning_days VALUES (current_date)",
    "CREATE TEMP VIEW crypto_metrics_days AS SELECT current_date AS day, true AS attached",
]


@pytest.mark.parametrize("trap", TRAPS)
def test_temporary_objects_do_not_stand_in_for_ours(
    trap: str, admin: psycopg.Connection, connect: Callable[[str], psycopg.Connection]
) -> None:
    writer = connect(WRITER)
    writer.execute(trap.encode())
    writer.execute("SELECT crypto_metrics_add_day(%s)", [today()])
    assert admin.execute("SELECT count(*) FROM crypto_metrics_days").fetchone() == (1,)


def test_functions_of_others_are_not_run_with_the_owners_rights(
    admin: psycopg.Connection, connect: Callable[[str], psycopg.Connection]
) -> None:
    """As on a PostgreSQL before 15, where everyone may put functions into the schema `public`."""
    admin.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    writer = connect(WRITER)
    for arguments in ("date, text", "date, unknown", "timestamp, text"):
        kind = arguments.replace("unknown", "varchar")
        writer.execute(
            f"CREATE FUNCTION public.to_char({kind}) RETURNS text LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION 'run as %', current_user; END $$".encode()
        )
    writer.execute("SELECT crypto_metrics_add_day(%s)", [today()])
    assert admin.execute("SELECT count(*) FROM crypto_metrics_days").fetchone() == (1,)
    roles.make(admin)  # takes the right away again
    with pytest.raises(errors.InsufficientPrivilege):
        writer.execute("CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'")


def test_a_worker_may_end_the_session_of_a_stopped_one(connect: Callable[[str], psycopg.Connection]) -> None:
    stopped, next_owner, reader = connect(WRITER), connect(WRITER), connect(READER)
    pid = stopped.info.backend_pid
    with pytest.raises(errors.InsufficientPrivilege):
        reader.execute("SELECT pg_terminate_backend(%s)", [pid])
    started = next_owner.execute("SELECT backend_start FROM pg_stat_activity WHERE pid = %s", [pid])
    assert started.fetchone() != (None,)
    assert next_owner.execute("SELECT pg_terminate_backend(%s)", [pid]).fetchone() == (True,)
    with pytest.raises(psycopg.OperationalError):
        stopped.execute("SELECT 1")


# Made or printed


def test_what_is_printed_does_what_is_made(
    empty_database_settings: Settings, connect: Callable[[str], psycopg.Connection]
) -> None:
    """On a database of an ordinary owner, before and after its tables are made; run twice, it stays."""
    with psycopg.connect(empty_database_settings.postgres(), autocommit=True) as other:
        migrate(other)
        for _ in range(2):
            script = roles.grants_script(other)
            assert "PASSWORD " not in script
            other.execute(script.encode())
        assert "OWNER TO" not in script
        found = other.execute(
            "SELECT has_table_privilege(%s, 'crypto_metrics', 'INSERT'), "
            "has_table_privilege(%s, 'crypto_metrics', 'INSERT'), "
            "has_schema_privilege(%s, 'public', 'CREATE')",
            [WRITER, READER, OWNER],
        ).fetchone()
        assert found == (True, False, True)


def test_a_new_table_is_covered_by_the_next_grant(
    admin: psycopg.Connection, connect: Callable[[str], psycopg.Connection]
) -> None:
    owner, writer, reader = (connect(role) for role in ROLES)
    owner.execute("DROP TABLE IF EXISTS feed_gaps")
    owner.execute("CREATE TABLE feed_gaps (x int)")
    assert roles.grant(owner)
    writer.execute("INSERT INTO feed_gaps VALUES (1)")
    assert reader.execute("SELECT x FROM feed_gaps").fetchall() == [(1,)]


def test_who_may_not_make_roles_is_told_what_to_do(admin: psycopg.Connection, uri: str) -> None:
    name = admin.info.dbname
    admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    try:
        with (
            psycopg.connect(conninfo.make_conninfo(uri, user=name), autocommit=True) as plain,
            pytest.raises(UserError, match="--print-grants"),
        ):
            roles.make(plain)
    finally:
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
