"""Three least-privilege roles, and the functions that lend them a right of the owner."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import conninfo, errors, sql

from cryptometrics.errors import UserError
from cryptometrics.store import migrate as migrations
from cryptometrics.store import roles
from cryptometrics.store.migrate import migrate
from cryptometrics.store.roles import OWNER, READER, ROLES, WRITER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptometrics.config import Settings
    from tests.conftest import Cli


@pytest.fixture
def uri(settings: Settings) -> str:
    return settings.postgres()


@pytest.fixture
def admin(uri: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(uri, autocommit=True) as connection:
        roles.create_roles(connection)
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
    """A table that a new migration adds must be in the list, or the writer fails in production."""
    tables = {
        name
        for (name,) in admin.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "AND relkind IN ('r', 'p') AND NOT relispartition"
        )
    }
    assert tables == set(roles.WRITER_RIGHTS)
    assert set(roles.WRITER_SEQUENCES) == {
        name
        for (name,) in admin.execute(
            "SELECT relname FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind = 'S' "
            "AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'i')"
        )
    }
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
        "DELETE FROM alerts",
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
        "SELECT concat(proname, '(', oidvectortypes(proargtypes), ')'), proconfig FROM pg_proc "
        "WHERE pronamespace = 'public'::regnamespace AND prosecdef ORDER BY 1"
    ).fetchall()
    path = "search_path=public, pg_temp"
    paths = [
        (name, [each for each in settings if each.startswith("search_path=")]) for name, settings in lending
    ]
    lent = (*roles.WRITER_FUNCTIONS, *roles.READER_FUNCTIONS)
    assert paths == [(name, [path]) for name in sorted(lent)]


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
    roles.create_roles(admin)  # takes the right away again
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


# What belongs to others

INJECTION = "alerts TO eve; CREATE TABLE owned_by_eve (); --"
OTHERS = sql.SQL("""
CREATE TABLE secrets (token text);
CREATE VIEW session_tokens AS SELECT token FROM secrets;
CREATE VIEW {injection} AS SELECT 1 AS x;
CREATE VIEW "crypto_""quoted" AS SELECT 1 AS x;
CREATE FUNCTION alert_everybody() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION crypto_metrics_add_day(text) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE SEQUENCE crypto_ids;
""").format(injection=sql.Identifier(INJECTION))
RIGHTS = """
SELECT relname::text, relowner, relacl::text FROM pg_class
WHERE relnamespace = {schema}::regnamespace AND relname = ANY ({names})
UNION ALL SELECT proname::text, proowner, proacl::text FROM pg_proc
WHERE pronamespace = {schema}::regnamespace
  AND (proname = 'alert_everybody' OR oidvectortypes(proargtypes) = 'text')
  AND proname <> 'crypto_is_simulated' -- ours
ORDER BY 1
"""


@pytest.fixture
def strange(empty_database_settings: Settings) -> Iterator[psycopg.Connection]:
    """Return a connection to a schema with a name to be quoted, tables of ours and things of others."""
    schema = """it's "$$" MY schema"""
    with psycopg.connect(empty_database_settings.postgres(), autocommit=True) as opened:
        name = sql.Identifier(schema)
        opened.execute(sql.SQL("CREATE SCHEMA {}").format(name))
        opened.execute("SELECT set_config('search_path', quote_ident(%s), false)", [schema])
        opened.execute(OTHERS)
        migrate(opened)
        yield opened


def rights_of_others(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    schema = connection.execute("SELECT quote_ident(current_schema())").fetchone()
    assert schema is not None
    names = ["secrets", "session_tokens", INJECTION, 'crypto_"quoted', "crypto_ids"]
    rows = connection.execute(
        sql.SQL(RIGHTS).format(schema=sql.Literal(schema[0]), names=sql.Literal(names))
    ).fetchall()
    assert len(rows) == 7
    return rows


def test_what_belongs_to_others_is_left_alone(strange: psycopg.Connection) -> None:
    """Names like ours, and names that would be statements if they were not left out."""
    roles.create_roles(strange)  # else the script would make those that are missing
    before = rights_of_others(strange)
    script = roles.grants_script(strange)
    assert "eve" not in script
    assert "session_tokens" not in script
    strange.execute(script.encode())
    assert roles.grant(strange)
    assert rights_of_others(strange) == before
    assert strange.execute("SELECT to_regclass('owned_by_eve')").fetchone() == (None,)
    ours = strange.execute(
        "SELECT pg_get_userbyid(relowner), has_table_privilege(%s, oid, 'SELECT') FROM pg_class "
        "WHERE oid IN ('crypto_metrics'::regclass, 'crypto_metrics_before'::regclass, 'alerts'::regclass, "
        "'crypto_quotes'::regclass) ORDER BY relispartition",
        [READER],
    ).fetchall()
    assert ours == [(OWNER, True)] * 3 + [(OWNER, False)]


def test_a_printed_script_quotes_the_name_of_its_schema(strange: psycopg.Connection) -> None:
    strange.execute(roles.grants_script(strange).encode())
    owners = strange.execute(
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE oid = ANY (%s::regclass[]) "
        "UNION SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE oid = ANY (%s::regprocedure[])",
        [
            [*roles.WRITER_RIGHTS, *roles.WRITER_SEQUENCES, "crypto_metrics_before"],
            list(roles.WRITER_FUNCTIONS),
        ],
    ).fetchall()
    assert owners == [(OWNER,)]


def test_a_database_cannot_add_lines_to_the_script(
    empty_database_settings: Settings, admin: psycopg.Connection
) -> None:
    name = f"{empty_database_settings.kafka_topic}\nDROP TABLE alerts; --"
    database = sql.Identifier(name)
    admin.execute(sql.SQL("CREATE DATABASE {}").format(database))
    try:
        uri = conninfo.make_conninfo(empty_database_settings.postgres(), dbname=name)
        with psycopg.connect(uri, autocommit=True) as other:
            script = roles.grants_script(other)
            other.execute(script.encode())
    finally:
        admin.execute(sql.SQL("DROP DATABASE {}").format(database))
    assert script.count("\nDROP TABLE") == 1  # between the quotes of the identifier
    assert f'ON DATABASE "{name}" TO' in script


def test_tables_of_others_are_no_tables_of_ours_before_the_schema_is_made(
    empty_database_settings: Settings,
) -> None:
    """The original's table is renamed by `init-db`, and stays its owner's."""
    with psycopg.connect(empty_database_settings.postgres(), autocommit=True) as other:
        other.execute("CREATE TABLE crypto_metrics (x int)")
        script = roles.grants_script(other)
    assert "crypto_metrics" not in script


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
    owner.execute("DROP TABLE IF EXISTS crypto_windows_too_late")
    owner.execute("CREATE TABLE crypto_windows_too_late (x int)")
    assert roles.grant(owner)
    writer.execute("INSERT INTO crypto_windows_too_late VALUES (1)")
    assert reader.execute("SELECT x FROM crypto_windows_too_late").fetchall() == [(1,)]


def test_rights_that_are_missing_are_given_by_the_next_init_db(
    admin: psycopg.Connection, cli: Cli, connect: Callable[[str], psycopg.Connection]
) -> None:
    """As after an `init-db` that was killed; who does not own the tables is not kept from running it."""
    admin.execute(f"REVOKE ALL ON alerts, crypto_quotes FROM {WRITER}, {READER}".encode())
    writer, owner = (
        {"DATABASE_URL": conninfo.make_conninfo(cli.environment["DATABASE_URL"], user=role)}
        for role in (WRITER, OWNER)
    )
    held = (
        "SELECT has_table_privilege(%s, 'alerts', 'INSERT'), "
        "has_table_privilege(%s, 'crypto_quotes', 'SELECT')"
    )
    cli("init-db", "--partitions", "1", env=writer)
    assert admin.execute(held, [WRITER, READER]).fetchone() == (False, False)
    cli("init-db", env=owner)
    assert admin.execute(held, [WRITER, READER]).fetchone() == (True, True)


def test_a_migration_and_the_rights_on_what_it_makes_are_one(
    admin: psycopg.Connection, connect: Callable[[str], psycopg.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in between, or refused: either both are there or neither."""
    owner = connect(OWNER)
    files = migrations._migrations() | {"9999_later": "CREATE TABLE later ()"}
    monkeypatch.setattr(migrations, "_migrations", lambda: files)
    monkeypatch.setitem(migrations.RELATIONS, "9999_later", ("later",))
    with pytest.raises(KeyError):  # a table whose rights nobody has listed
        roles.migrate_and_grant(owner)
    assert admin.execute("SELECT to_regclass('later')").fetchone() == (None,)
    monkeypatch.setitem(roles.WRITER_RIGHTS, "later", "SELECT")
    assert roles.migrate_and_grant(owner) == ["9999_later"]
    assert connect(READER).execute("SELECT FROM later").fetchall() == []


def test_who_may_not_make_roles_is_told_what_to_do(admin: psycopg.Connection, uri: str) -> None:
    name = admin.info.dbname
    admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    try:
        with (
            psycopg.connect(conninfo.make_conninfo(uri, user=name), autocommit=True) as plain,
            pytest.raises(UserError, match="--print-grants"),
        ):
            roles.create_roles(plain)
    finally:
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
