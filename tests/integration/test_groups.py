"""`cryptometrics groups`: what each has stored, and a deletion that leaves nothing and disturbs nobody."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import conninfo, sql
from psycopg.types.json import Jsonb

from cryptometrics.errors import UserError
from cryptometrics.market.venues import Market
from cryptometrics.market.windows import MINUTE
from cryptometrics.risk.portfolio.definition import Portfolio, Position
from cryptometrics.store import (
    follower_lock,
    group_deletion,
    group_mark,
    imported_minutes,
    partition_claims,
    positions,
)
from cryptometrics.store.connection import connect
from cryptometrics.store.group_deletion import DeletedRows, delete_group, group_tables
from cryptometrics.store.partition_claims import GroupTopic
from cryptometrics.store.roles import OWNER, READER, WRITER, create_roles
from cryptometrics.store.running_workers import running_workers
from cryptometrics.times import iso
from tests.aggregates import of_tick
from tests.conftest import environment_of
from tests.database import rows, scalar
from tests.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    from subprocess import Popen

    from cryptometrics.config import Settings
    from tests.conftest import Cli

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
COUNT = 600
TICKS = ["--pair", "BTC-USD,ETH-USD", "--rate", "0", "--seed", "5", "--count", str(COUNT), "--step", "10m"]
DOOMED = GroupTopic("doomed", "t", "id-1")


@pytest.fixture
def two_groups(cli: Cli) -> Cli:
    """Return a runner of commands, after two groups have stored the same ticks of three days."""
    cli("init-db", "--partitions", "2")
    cli("simulate", *TICKS, "--start", "2026-07-01T12:00")
    for group in ("doomed", "other"):
        cli("process", "--group", group, "--until-caught-up")
    return cli


def groups_of(cli: Cli) -> dict[str, dict[str, Any]]:
    return {group["group"]: group for group in json.loads(cli("groups", "list", "--json").stdout)}


def refused(cli: Cli, *arguments: str) -> str:
    """Return the one line with which a command refuses."""
    done = cli(*arguments, code=2)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def left(settings: Settings, group: str) -> dict[str, int]:
    """Return how many rows of a group each table has, of those that have any."""
    counts = {name: count(settings, name, group) for name in tables(settings)}
    return {name: number for name, number in counts.items() if number}


def count(settings: Settings, table: str, group: str) -> int:
    with psycopg.connect(settings.postgres()) as connection:
        query = sql.SQL("SELECT count(*) FROM {} WHERE consumer_group = %s").format(sql.Identifier(table))
        row = connection.execute(query, [group]).fetchone()
        assert row is not None
        return int(row[0])


def tables(settings: Settings) -> list[str]:
    """Return every table with a consumer group, without partitions."""
    found = rows(
        settings,
        """
        SELECT c.relname::text FROM information_schema.columns k JOIN pg_class c ON c.relname = k.table_name
        WHERE c.relnamespace = 'public'::regnamespace AND k.table_schema = 'public'
          AND k.column_name = 'consumer_group' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        ORDER BY 1
        """,
    )
    return [name for (name,) in found]


# Every table

VALUES: dict[str, object] = {
    "bool": True,
    "date": NOON.date(),
    "float8": 1.0,
    "bytea": b"x",
    "int4": 1,
    "int8": 1,
    "jsonb": Jsonb({}),
    "numeric": 1,
    "text": "x",
    "timestamptz": NOON,
}
CHECKED: dict[str, object] = {
    "range": "1h",
    "reason": "hole",
    "severity": "info",
    "state": "inactive",
    "status": "firing",
    "window_end": NOON.replace(minute=1),
}
"""Columns whose values a check restricts."""
REQUIRED = {
    "crypto_windows": (
        *("highest_bid", "lowest_ask", "max_spread", "spread_sum", "spread_bps_sum", "open_partition"),
        *("open_offset", "close_partition", "close_offset"),
    )
}
"""Columns that may be NULL, but not in the row that is made here."""


def fill(connection: psycopg.Connection, group: str) -> None:
    """Store a row of the group in each table that has groups, whatever columns it has."""
    found = connection.execute(
        """
        SELECT k.table_name::text, k.column_name::text, k.udt_name::text,
               k.is_nullable = 'NO' AND k.column_default IS NULL AND k.is_identity = 'NO'
                   AND k.is_generated = 'NEVER'
        FROM information_schema.columns k JOIN pg_class c ON c.relname = k.table_name
        WHERE k.table_schema = 'public' AND c.relnamespace = 'public'::regnamespace
          AND c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND k.table_name IN (SELECT table_name FROM information_schema.columns
                               WHERE table_schema = 'public' AND column_name = 'consumer_group')
        ORDER BY k.table_name <> 'alerts', k.table_name, k.ordinal_position
        """
    ).fetchall()
    of_table: dict[str, dict[str, object]] = {}
    for table, column, kind, is_needed in found:
        if is_needed or column in REQUIRED.get(table, ()):
            checked = CHECKED.get(column) if kind != "jsonb" else None
            of_table.setdefault(table, {})[column] = VALUES[kind] if checked is None else checked
    for table, values in of_table.items():
        if table == group_deletion.MARK:
            continue
        values["consumer_group"] = group
        if "portfolio" in values:
            values["portfolio"] = group
        if "alert_id" in values:
            row = connection.execute("SELECT max(id) FROM alerts").fetchone()
            assert row is not None
            values["alert_id"] = row[0]
        connection.execute(
            sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                sql.Identifier(table),
                sql.SQL(", ").join(map(sql.Identifier, values)),
                sql.SQL(", ").join(map(sql.Placeholder, values)),
            ),
            values,
        )


def test_no_table_is_forgotten_and_no_other_group_is_touched(
    connection: psycopg.Connection, settings: Settings
) -> None:
    for group in ("doomed", "other"):
        fill(connection, group)
    connection.execute("INSERT INTO alert_acknowledgements SELECT id, 'a', now(), 'w', 'l' FROM alerts")
    connection.execute("CREATE TABLE theirs AS SELECT 'doomed' AS consumer_group")
    present = {name for name in tables(settings) if name not in ("theirs", group_deletion.MARK)}
    assert {*left(settings, "other")} == present
    assert {*group_tables(connection)} == present | {group_deletion.MARK}

    steps = list(delete_group(connection, "doomed"))
    assert steps[0] == DeletedRows("2026-07-01", is_day=True, rows=1)
    assert left(settings, "doomed") == {"portfolio_versions": 1, "theirs": 1}
    assert left(settings, "other") == dict.fromkeys(present, 1)
    assert scalar(settings, "SELECT count(*) FROM alert_acknowledgements") == 1
    assert rows(settings, "SELECT * FROM group_deletions") == []


def test_a_table_without_a_group_is_known(settings: Settings) -> None:
    """Rows that belong to a group are deleted by their column, or with the row that they refer to."""
    without = rows(
        settings,
        """
        SELECT relname::text FROM pg_class c
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
          AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'consumer_group')
          AND NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = c.oid AND confdeltype = 'c')
        ORDER BY 1
        """,
    )
    assert [name for (name,) in without] == ["alert_silences", "pruning_days", "schema_migrations"]


def test_a_large_table_is_deleted_in_parts(
    connection: psycopg.Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.execute(
        "INSERT INTO rejected_ticks (consumer_group, topic, kafka_partition, kafka_offset, reason, detail) "
        "SELECT g, 't', 0, n, 'not_json', '' FROM unnest(ARRAY['doomed', 'other']) AS g, "
        "generate_series(1, 7) AS n"
    )
    monkeypatch.setattr(group_deletion, "ROWS_AT_ONCE", 3)
    assert list(delete_group(connection, "doomed")) == [DeletedRows("rejected_ticks", is_day=False, rows=7)]
    assert left(settings, "other") == {"rejected_ticks": 7}


# As a person uses it


def test_the_list_says_what_each_group_has(
    two_groups: Cli, settings: Settings, connection: psycopg.Connection
) -> None:
    two_groups("simulate", *TICKS, "--start", "2026-08-01T12:00", "--count", "10")
    two_groups("process", "--group", "other", "--until-caught-up")
    connection.execute(
        "INSERT INTO consumer_offsets SELECT (o).* FROM (SELECT jsonb_populate_record(o, "
        """'{"consumer_group": "past", "topic": "gone"}') AS o FROM consumer_offsets o LIMIT 1) AS copied"""
    )
    found = groups_of(two_groups)
    assert found["past"]["lag"] is None, "its topic is gone, which hides no other lag"
    newest = scalar(settings, "SELECT max(timestamp) FROM crypto_metrics WHERE consumer_group = 'doomed'")
    size = found["doomed"].pop("size_bytes")
    assert found["doomed"] == {
        "group": "doomed",
        "rows": COUNT,
        "offsets": COUNT,
        "lag": 10,
        "sessions": count(settings, "session_extremes", "doomed"),
        "newest_tick": iso(newest),
        "deleting_since": None,
    }
    assert (found["other"]["rows"], found["other"]["lag"]) == (COUNT + 10, 0)
    assert [*found] == ["other", "doomed", "past"], "the newest tick's first"
    whole = scalar(settings, "SELECT pg_total_relation_size('crypto_metrics_before')")
    assert size + found["other"]["size_bytes"] == pytest.approx(whole, abs=1)
    lines = two_groups("groups", "list", env={"COLUMNS": "80"}).stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    first_words = [line.split()[0] for line in lines if line.strip()]
    assert [word for word in first_words if word in found] == [*found]


def test_nothing_is_left_and_the_name_may_be_used_again(two_groups: Cli, settings: Settings) -> None:
    before = left(settings, "other")
    days = rows(settings, "SELECT day, sum(rows) FROM metric_days WHERE consumer_group = 'doomed' GROUP BY 1")
    done = two_groups("groups", "delete", "doomed", "--yes").stdout.splitlines()
    assert done[: len(days)] == [f"deleted {day}: {number} rows" for day, number in sorted(days)]
    assert done[-1].startswith(f"group doomed is deleted: {COUNT} quotes of {len(days)} days, ")
    assert left(settings, "doomed") == {}
    assert left(settings, "other") == before
    assert [*groups_of(two_groups)] == ["other"]
    assert [report["group"] for report in verified(two_groups, "--topic")] == ["other"]

    two_groups("process", "--group", "doomed", "--until-caught-up")
    assert left(settings, "doomed") == before
    assert len(verified(two_groups, "--topic")) == 2


def verified(cli: Cli, *options: str) -> list[dict[str, Any]]:
    """Return the reports of `verify`, which must find nothing."""
    report = json.loads(cli("verify", "--json", *options).stdout)
    found: list[dict[str, Any]] = report["groups"]
    return found


def test_a_name_that_is_not_there_suggests_one(two_groups: Cli) -> None:
    assert "there is no group domed; there are doomed, other (did you mean doomed?)" in refused(
        two_groups, "groups", "delete", "domed", "--yes"
    )


def test_without_a_terminal_it_must_be_told_not_to_ask(two_groups: Cli, settings: Settings) -> None:
    assert "add --yes" in refused(two_groups, "groups", "delete", "doomed")
    assert count(settings, "crypto_metrics", "doomed") == COUNT


@pytest.mark.parametrize(("answer", "is_kept"), [(b"n\n", True), (b"y\n", False)])
def test_on_a_terminal_it_asks(
    connection: psycopg.Connection, settings: Settings, cli: Cli, answer: bytes, is_kept: bool
) -> None:
    fill(connection, "doomed")
    ours, its = pty.openpty()
    try:
        os.write(ours, answer)
        done = subprocess.run(
            [sys.executable, "-m", "cryptometrics", "groups", "delete", "doomed"],
            cwd=cli.cwd,
            env=cli.environment,
            stdin=its,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=True,
        )
    finally:
        os.close(ours)
        os.close(its)
    assert "Delete group doomed: 1 quotes (" in done.stderr
    assert ("nothing was deleted" in done.stderr) is is_kept
    assert count(settings, "crypto_metrics", "doomed") == is_kept


# Beside others, and not beside its own


def start(cli: Cli, settings: Settings, group: str) -> Popen[str]:
    """Start a worker, and return it once it owns both partitions."""
    with connect(settings) as connection:
        worker = cli.start("process", "--group", group)
        wait_until(
            lambda: len(rows(settings, OWNED, group)) == 2 and running_workers(connection, group),
            "it owns the partitions",
            running=worker,
        )
    return worker


OWNED = """
SELECT o.kafka_partition FROM consumer_offsets o JOIN pg_stat_activity a ON a.pid = o.backend_pid
WHERE consumer_group = %s AND a.backend_start = o.backend_start
"""


def test_it_is_refused_while_a_worker_of_the_group_runs(two_groups: Cli, settings: Settings) -> None:
    before = left(settings, "doomed")
    worker = start(two_groups, settings, "doomed")
    line = refused(two_groups, "groups", "delete", "doomed", "--yes")
    assert "group doomed is at work (" in line
    assert "stop its `process` first. Nothing was deleted" in line
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=LIMIT_S)
    assert worker.returncode == 0
    assert left(settings, "doomed") == before
    two_groups("groups", "delete", "doomed", "--yes")


def test_workers_of_other_groups_go_on(two_groups: Cli, settings: Settings) -> None:
    worker = start(two_groups, settings, "other")
    feed = two_groups.start(
        "simulate", "--pair", "BTC-USD,ETH-USD", "--rate", "500", "--count", "3000", "--seed", "6"
    )
    two_groups("groups", "delete", "doomed", "--yes")
    assert feed.wait(LIMIT_S) == 0
    wait_until(
        lambda: count(settings, "crypto_metrics", "other") == COUNT + 3000, "all is stored", running=worker
    )
    worker.send_signal(signal.SIGTERM)
    out, _ = worker.communicate(timeout=LIMIT_S)
    assert "3,000 stored" in out
    assert left(settings, "doomed") == {}
    assert len(verified(two_groups, "--topic")) == 1


def test_it_is_refused_while_a_follower_runs(connection: psycopg.Connection, settings: Settings) -> None:
    with connect(settings) as follower:
        assert follower_lock.take(follower, "doomed")
        with pytest.raises(UserError, match="`risk --follow` of group doomed is running"):
            next(delete_group(connection, "doomed"))
        assert follower_lock.take(follower, "other")
        list(delete_group(connection, "third"))
    assert not group_mark.is_marked(connection, "doomed")


def test_a_group_that_prices_a_portfolio_stays(connection: psycopg.Connection, settings: Settings) -> None:
    fill(connection, "doomed")
    held = Portfolio(
        "treasury", "USD", (Position("BTC", Decimal(1)),), group="doomed", venue="x", pairs={"BTC": "BTC-USD"}
    )
    positions.load(connection, held, NOON)
    with pytest.raises(UserError, match="prices the portfolio treasury: remove it with"):
        next(delete_group(connection, "doomed"))
    assert count(settings, "crypto_metrics", "doomed") == 1
    positions.remove(connection, "treasury", datetime.now(UTC))
    list(delete_group(connection, "doomed"))
    assert count(settings, "portfolio_versions", "doomed") == 3, "what people have stated stays"


@pytest.mark.parametrize("role", [WRITER, READER])
def test_only_the_owner_may(settings: Settings, role: str) -> None:
    with psycopg.connect(settings.postgres(), autocommit=True) as admin:
        create_roles(admin)
        fill(admin, "doomed")
        for name in (role, OWNER):
            uri = conninfo.make_conninfo(settings.postgres(), user=name)
            with psycopg.connect(uri, autocommit=True) as connection:
                if name == OWNER:
                    list(delete_group(connection, "doomed"))
                    continue
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    list(delete_group(connection, "doomed"))
                assert count(settings, "crypto_metrics", "doomed") == 1
                assert not group_mark.is_marked(admin, "doomed")
    assert left(settings, "doomed") == {"portfolio_versions": 1}


# The mark


def test_a_deletion_killed_in_the_middle_is_taken_up_again(two_groups: Cli, settings: Settings) -> None:
    with psycopg.connect(settings.postgres()) as holder:
        holder.execute("SELECT FROM metric_days WHERE day = '2026-07-02' FOR UPDATE")
        deleting = two_groups.start("groups", "delete", "doomed", "--yes")
        assert deleting.stdout is not None
        assert deleting.stdout.readline().startswith("deleted 2026-07-01: ")
        wait_until(
            lambda: scalar(settings, "SELECT count(*) FROM pg_locks WHERE NOT granted"),
            "the second day waits",
            running=deleting,
        )
        deleting.kill()
        deleting.communicate()
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s"
    wait_until(lambda: not scalar(settings, held, follower_lock.LOCK), "its session has ended")
    assert 0 < count(settings, "crypto_metrics", "doomed") < COUNT

    # Nobody works for the group, and nobody else notices.
    line = "group doomed is being deleted: give another --group, or finish with `cryptometrics groups delete"
    assert line in refused(two_groups, "process", "--group", "doomed", "--until-caught-up")
    supervised = two_groups("process", "--group", "doomed", "--workers", "2", code=2).stderr
    assert line in supervised
    assert "Traceback" not in supervised
    assert line in refused(two_groups, "risk", "--follow", "--group", "doomed")
    listed = two_groups("groups", "list")
    assert "group doomed is being deleted: finish with" in listed.stderr
    assert groups_of(two_groups)["doomed"]["deleting_since"]
    assert [report["group"] for report in verified(two_groups, "--topic")] == ["other"]
    assert "group doomed has stored nothing" in refused(two_groups, "session", "--group", "doomed")

    two_groups("groups", "delete", "doomed", "--yes")
    assert left(settings, "doomed") == {}
    two_groups("process", "--group", "doomed", "--until-caught-up")
    assert len(verified(two_groups, "--topic")) == 2


def claim(connection: psycopg.Connection) -> partition_claims.Claim:
    return partition_claims.claim(connection, DOOMED, 0, 5, "test", partition_claims.backend_of(connection))


def test_a_claim_that_waits_for_the_mark_sees_it(connection: psycopg.Connection, settings: Settings) -> None:
    """Even the first one of a partition, for which there is no row to wait for."""
    outcome: list[object] = []

    def attempt() -> None:
        try:
            outcome.append(claim(claimant))
        except UserError as error:
            outcome.append(str(error))

    with connect(settings) as claimant, connect(settings) as watcher:
        thread = threading.Thread(target=attempt)
        with connection.transaction():
            group_mark.set_mark(connection, "doomed")
            thread.start()
            wait_until(
                lambda: scalar(settings, "SELECT count(*) FROM pg_locks WHERE NOT granted"), "it waits"
            )
        thread.join(LIMIT_S)
        assert outcome == [str(group_mark.being_deleted("doomed"))]
        for work in (
            lambda: partition_claims.register(watcher, DOOMED, {0: 1}),
            lambda: imported_minutes.store(watcher, "doomed", Market("v", "A-B"), []),
            lambda: follower_lock.take(watcher, "doomed"),
        ):
            with pytest.raises(UserError, match="is being deleted"):
                work()
    assert left(settings, "doomed") == {group_deletion.MARK: 1}


@pytest.mark.filterwarnings("ignore")  # Beam's imports warn of their own
def test_aggregate_writes_no_windows_for_a_marked_group(
    connection: psycopg.Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptometrics.beam.postgres_sink import Row, Write

    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    group_mark.set_mark(connection, "doomed")
    for group in ("doomed", "other"):
        sink = Write(group, "5m", keep_larger=False)
        sink.start_bundle()
        aggregate = of_tick((NOON, 0, 0), Decimal(1), Decimal(2))
        sink.process(Row("v", "A-B", NOON, NOON + 5 * MINUTE, aggregate, complete=True))
        if group == "other":
            sink.finish_bundle()
        else:
            with pytest.raises(UserError, match="group doomed is being deleted"):
                sink.finish_bundle()
        sink.teardown()
    assert rows(settings, "SELECT consumer_group, name FROM crypto_windows") == [("other", "5m")]


def test_a_mark_waits_for_a_claim_in_hand(connection: psycopg.Connection, settings: Settings) -> None:
    with connect(settings) as claimant, connect(settings) as other:
        with claimant.transaction():
            claim(claimant)
            with pytest.raises(UserError, match="group doomed is at work"):
                next(delete_group(connection, "doomed"))
            claim_other(other)
        with pytest.raises(UserError, match="group doomed is at work"):
            next(delete_group(connection, "doomed"))
    wait_until(lambda: not running_workers(connection, "doomed"), "the owner's session has ended")
    list(delete_group(connection, "doomed"))
    assert left(settings, "doomed") == {}


def claim_other(connection: psycopg.Connection) -> None:
    """Claim for another group, which must not wait."""
    topic = GroupTopic("other", "t", "id-1")
    partition_claims.claim(connection, topic, 0, 5, "test", partition_claims.backend_of(connection))


def test_a_worker_that_misses_the_deletion_of_its_group_does_not_bring_it_back(
    connection: psycopg.Connection, settings: Settings
) -> None:
    """Its session was away when the group was deleted; what it then finds is no group that is new."""
    partition_claims.register(connection, DOOMED, {0: 5})
    mine = claim(connection)
    with connect(settings) as deleting:
        connection.execute("UPDATE consumer_offsets SET backend_pid = 0")
        list(delete_group(deleting, "doomed"))
    backend = partition_claims.backend_of(connection)
    assert partition_claims.renew(connection, DOOMED, 0, mine.epoch, backend) is None
    with pytest.raises(UserError, match="group doomed was deleted while this worker ran"):
        partition_claims.refuse_deleted(connection, DOOMED)


def test_running_workers_are_looked_up_anew_within_a_transaction(
    connection: psycopg.Connection, settings: Settings
) -> None:
    with connection.transaction():
        assert running_workers(connection, "doomed") == []
        with connect(settings) as claimant:
            claim(claimant)
            assert [worker.owner for worker in running_workers(connection, "doomed")] == ["test"]
