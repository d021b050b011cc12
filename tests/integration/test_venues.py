"""Venues are kept apart from the topic to every stored series, and a schema from before them is migrated."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest
from confluent_kafka import Producer

from cryptometrics.errors import UserError
from cryptometrics.kafka import client
from cryptometrics.market.gap_records import Gap, GapKind, encode
from cryptometrics.store import migrate as module
from cryptometrics.store.migrate import migrate
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cryptometrics.config import Settings
    from tests.conftest import Cli

START = datetime(2026, 7, 1, 12, tzinfo=UTC)
Message = tuple[bytes | None, bytes | None]


def publish(settings: Settings, messages: Iterable[Message]) -> None:
    producer = Producer(client.client_conf(settings))
    for key, value in messages:
        producer.produce(settings.kafka_topic, value, key)
    assert producer.flush(30) == 0


def ticker(second: int, bid: str, ask: str, trade_id: int, **more: str) -> Message:
    fields = {"type": "ticker", "product_id": "BTC-USD", "best_bid": bid, "best_ask": ask}
    time = (START + timedelta(seconds=second)).isoformat()
    return b"BTC-USD", json.dumps(fields | {"time": time, "trade_id": trade_id} | more).encode()


# The simulator, then an exchange


def test_a_simulated_and_a_real_pair_of_one_day_are_two_series(
    cli: Cli, settings: Settings, connection: psycopg.Connection
) -> None:
    cli("init-db", "--partitions", "1")
    simulated = ["--rate", "0", "--step", "100ms", "--seed", "7", "--start", "2026-07-01T12:00"]
    cli("simulate", *simulated, "--count", "1000", "--pair", "BTC-USD")
    (first_trade,) = (
        connection.execute("SELECT %s::bigint", [int(START.timestamp()) * 10**6]).fetchone() or ()
    )
    publish(
        settings,
        [
            encode(Gap("BTC-USD", GapKind.START, START, None, None, 99)),
            ticker(1, "28081.09", "28081.10", 100),
            # The same trade id and time as a simulated tick, and no duplicate of it.
            ticker(0, "28070.00", "28083.00", first_trade, venue="coinbase"),
            ticker(70, "28090.00", "28090.01", 102),
            ticker(70, "28090.00", "28090.01", 102),
            ticker(71, "1", "2", 103, venue="No Venue"),
        ],
    )
    cli("process", "--group", "g1", "--until-caught-up")
    sessions = connection.execute(
        "SELECT venue, highest_bid, lowest_ask, max_spread, ticks, late FROM session_extremes ORDER BY venue"
    ).fetchall()
    assert sessions[0] == (
        "coinbase", Decimal("28090.00"), Decimal("28081.10"), Decimal("13.00"), 3, 1
    )  # fmt: skip
    of_simulated = connection.execute(
        "SELECT venue, max(bid), min(ask), max(spread), count(*), 0 FROM crypto_metrics "
        "WHERE venue = 'simulated' GROUP BY venue"
    ).fetchone()
    assert sessions[1:] == [of_simulated]
    assert sessions[1][2] > 40_000
    minutes = "SELECT venue, count(*), sum(ticks) FROM crypto_windows GROUP BY venue ORDER BY venue"
    assert connection.execute(minutes).fetchall() == [("coinbase", 2, 3), ("simulated", 2, 1000)]
    states = connection.execute("SELECT venue, bid FROM pair_state ORDER BY venue").fetchall()
    assert states[0] == ("coinbase", Decimal("28090.00"))
    # The start of the feed asks for earlier trades of its own venue, and there are none.
    gaps = connection.execute("SELECT venue, begins_at, trades_missed FROM feed_gaps").fetchall()
    assert gaps == [("coinbase", None, 0)]
    rejected = connection.execute("SELECT reason, detail FROM rejected_ticks").fetchall()
    assert rejected == [
        ("bad_venue", 'venue "No Venue" is not 1 to 32 lower-case letters, digits and hyphens')
    ]
    books = connection.execute("SELECT metrics, rejected, gaps, duplicates FROM consumer_offsets").fetchall()
    assert books == [(1003, 1, 1, 1)]
    progress = connection.execute(
        "SELECT venue, complete_until FROM window_progress ORDER BY venue"
    ).fetchall()
    assert progress[0] == ("coinbase", START + timedelta(seconds=68))
    assert [venue for venue, _ in progress] == ["coinbase", "simulated"]
    cli("verify", "--topic")
    connection.execute("UPDATE crypto_metrics SET venue = 'simulated' WHERE trade_id = 100")
    assert "differs" in cli("verify", "--topic", "--json", code=1).stdout


def test_alerts_are_of_a_venue_and_rules_may_name_them(
    cli: Cli, settings: Settings, connection: psycopg.Connection
) -> None:
    rules = cli.cwd / "rules.toml"
    rules.write_text(
        '[[rule]]\nname = "wide"\nkind = "spread_bps"\nlevel = 25\n'
        '[[rule]]\nname = "real"\nkind = "spread_bps"\nlevel = 25\nvenues = ["coinbase"]\n'
    )
    cli("alerts", "check", rules)
    cli("init-db", "--partitions", "1")
    wide = [ticker(n, "100", "101", n + 1, venue=venue) for n, venue in enumerate(("coinbase", "simulated"))]
    publish(settings, wide)
    cli("process", "--group", "g1", "--alerts", rules, "--until-caught-up")
    fired = connection.execute(
        "SELECT rule, venue, pair, message FROM alerts WHERE resolved_at IS NULL ORDER BY rule, venue"
    ).fetchall()
    assert [row[:3] for row in fired] == [
        ("real", "coinbase", "BTC-USD"),
        ("wide", "coinbase", "BTC-USD"),
        ("wide", "simulated", "BTC-USD"),
    ]
    assert fired[2][3].startswith("BTC-USD (SIMULATED): spread 99.5 bps (")
    # One of them ends: the other venue's goes on, from what is stored.
    publish(settings, [ticker(5, "100", "100.01", 9, venue="simulated")])
    cli("process", "--group", "g1", "--alerts", rules, "--until-caught-up")
    still = connection.execute("SELECT rule, venue FROM alerts WHERE resolved_at IS NULL ORDER BY rule")
    assert still.fetchall() == [("real", "coinbase"), ("wide", "coinbase")]
    rules.write_text('[[rule]]\nname = "wide"\nkind = "spread_bps"\nlevel = 25\nvenues = ["Coinbase"]\n')
    assert "neither a venue" in cli("alerts", "check", rules, code=2).stderr


# A schema from before

BEFORE = "0008_roles"
INSERTS = """
SELECT crypto_metrics_add_day(current_date);
INSERT INTO crypto_metrics (pair, bid, ask, mid_price, spread, highest_bid, lowest_ask, max_spread, timestamp,
                            consumer_group, session, kind, trade_id, kafka_partition, kafka_offset)
SELECT 'BTC-USD', 1, 2, 1.5, 1, 1, 2, 1, at, 'g1', at::date::text, 'ticker', n, 0, n
FROM generate_series(1, 500) AS n, LATERAL (SELECT now() - n * interval '10 minutes') AS t (at);
INSERT INTO session_extremes
SELECT 'g1', 'BTC-USD', session, 1, now(), 2, now(), 1, now(), 1, 2, now(), now(), count(*), 0
FROM crypto_metrics GROUP BY session;
INSERT INTO pair_state (consumer_group, pair, bid, ask, timestamp, trade_ids, trade_id)
VALUES ('g1', 'BTC-USD', 1, 2, now(), '{[1,501)}', 500);
INSERT INTO consumer_offsets (consumer_group, topic, kafka_partition, topic_id, first_offset, next_offset,
                              metrics, epoch, owner, backend_pid, backend_start)
VALUES ('g1', 't', 0, 'id', 0, 501, 500, 1, 'worker', 0, now());
INSERT INTO crypto_windows (consumer_group, pair, window_start, window_end, ticks, open, high, low, close,
    highest_bid, lowest_ask, max_spread, late, spread_sum, spread_bps_sum, open_at, open_partition,
    open_offset, close_at, close_partition, close_offset, complete)
SELECT 'g1', 'BTC-USD', start, start + interval '1 minute', 1, 1.5, 1.5, 1.5, 1.5, 1, 2, 1, 0, 1, 6666,
       timestamp, 0, kafka_offset, timestamp, 0, kafka_offset, kafka_offset > 1
FROM crypto_metrics, date_bin('1 minute', timestamp, 'epoch') AS start;
INSERT INTO crypto_windows_too_late VALUES ('g1', '5m', 'BTC-USD', now(), 3);
INSERT INTO feed_gaps VALUES ('g1', 't', 0, 0, 'BTC-USD', 'start', NULL, now(), NULL, 0, 0);
INSERT INTO alerts (consumer_group, rule, kind, pair, severity, level, message, started_at, fired_at)
VALUES ('g1', 'wide', 'spread_bps', 'BTC-USD', 'info', 1, 'm', now(), now()),
       ('g1', 'bad', 'rejected_pct', 'partition 0', 'info', 1, 'm', now(), now());
INSERT INTO alert_states VALUES ('g1', 'wide', 'BTC-USD', 'firing', now(), NULL, NULL),
                                ('g1', 'bad', 'partition 0', 'firing', now(), NULL, NULL);
"""
WITH_VENUE = (
    *("crypto_metrics", "session_extremes", "pair_state", "feed_gaps", "alerts", "alert_states"),
    *("crypto_windows", "crypto_windows_too_late"),
)


@pytest.fixture
def older(empty_database_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    """Return a connection to a database with the schema from before venues, and rows in every table."""
    with psycopg.connect(empty_database_settings.postgres(), autocommit=True) as connection:
        with monkeypatch.context() as patch:
            files = {name: text for name, text in module._migrations().items() if name <= BEFORE}
            patch.setattr(module, "_migrations", lambda: files)
            migrate(connection)
        connection.execute(INSERTS.encode())
        yield connection


def counts(connection: psycopg.Connection) -> dict[str, int]:
    return {
        table: len(connection.execute(f"SELECT FROM {table}".encode()).fetchall()) for table in WITH_VENUE
    }


def test_every_row_of_an_older_schema_comes_through_and_counts_as_coinbase(
    older: psycopg.Connection, cli_for: Callable[[Settings], Cli], empty_database_settings: Settings
) -> None:
    before = counts(older)
    assert min(before.values()) >= 1
    done = cli_for(empty_database_settings)("init-db", "--partitions", "1")
    assert "0009_venues: the key of the minutes" in done.stderr
    assert counts(older) == before
    for table in WITH_VENUE:
        venues = older.execute(f"SELECT DISTINCT venue FROM {table} ORDER BY 1".encode()).fetchall()
        expected = [("",), ("coinbase",)] if table.startswith("alert") else [("coinbase",)]
        assert venues == expected, table
    for view in ("crypto_quotes", "crypto_sessions", "crypto_latest_quotes", "crypto_windows_1d"):
        assert older.execute(f"SELECT DISTINCT venue FROM {view}".encode()).fetchall() == [("coinbase",)]
    # The open minute is the newest: the watermark of its partition goes on from there.
    progress = older.execute(
        "SELECT topic, kafka_partition, venue, complete_until - (SELECT max(close_at) FROM crypto_windows) "
        "FROM window_progress"
    ).fetchall()
    assert progress == [("t", 0, "coinbase", timedelta(seconds=-2))]
    # Another venue has the same pair, session and minute.
    for table in ("session_extremes", "pair_state", "crypto_windows_too_late", "alert_states"):
        older.execute(f"CREATE TEMP TABLE other AS TABLE {table}".encode())
        older.execute("UPDATE other SET venue = 'simulated'")
        older.execute(f"INSERT INTO {table} TABLE other".encode())
        older.execute("DROP TABLE other")
    with pytest.raises(psycopg.errors.UniqueViolation):
        older.execute("INSERT INTO session_extremes SELECT * FROM session_extremes LIMIT 1")


def test_while_a_worker_runs_nothing_is_migrated(
    older: psycopg.Connection, cli_for: Callable[[Settings], Cli], empty_database_settings: Settings
) -> None:
    cli = cli_for(empty_database_settings)
    with psycopg.connect(empty_database_settings.postgres(), autocommit=True) as worker:
        worker.execute(
            "UPDATE consumer_offsets SET (backend_pid, backend_start) = "
            "(SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())"
        )
        [line] = cli("init-db", code=2).stderr.splitlines()
        assert line.startswith("error: a worker is running (worker of group g1): stop `process`")
        assert module.pending(older)[0] == "0009_venues"
        pid = worker.info.backend_pid
    gone = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)"
    wait_until(lambda: older.execute(gone, [pid]).fetchone() == (True,), "the worker's session has ended")
    assert migrate(older)[0] == "0009_venues"


def test_a_worker_that_is_seen_only_as_a_process_keeps_the_migration_waiting_too(
    older: psycopg.Connection, empty_database_settings: Settings
) -> None:
    """Without a right to other users' activity the server hides when a session began."""
    role = f"owner_{empty_database_settings.kafka_topic}"
    older.execute(f"CREATE ROLE {role} NOSUPERUSER".encode())
    try:
        older.execute(f"GRANT ALL ON SCHEMA public TO {role}".encode())
        older.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}".encode())
        with psycopg.connect(empty_database_settings.postgres(), autocommit=True) as worker:
            worker.execute("UPDATE consumer_offsets SET backend_pid = pg_backend_pid()")
            older.execute(f"SET ROLE {role}".encode())
            with pytest.raises(UserError, match="a worker is running"):
                migrate(older)
            older.execute("RESET ROLE")
    finally:
        older.execute("RESET ROLE")
        older.execute(f"DROP OWNED BY {role}".encode())
        older.execute(f"DROP ROLE {role}".encode())
