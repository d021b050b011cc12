"""Live minutes: the rows of crypto_windows, compared with one SQL query over crypto_metrics."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from cryptometrics.market.venues import Market
from cryptometrics.market.windows import MINUTE, Aggregate, merge
from cryptometrics.store import window_completion, windows
from cryptometrics.store.partition_claims import GroupTopic
from cryptometrics.store.window_completion import complete_passed
from tests.aggregates import of_tick
from tests.true_windows import COLUMNS, TRUE_WINDOWS, differing_windows, true_windows

if TYPE_CHECKING:
    from cryptometrics.config import Settings
    from tests.conftest import Cli

BTC = Market("coinbase", "BTC-USD")
TOPIC = GroupTopic("g1", "t", "id")
START = datetime(2026, 7, 1, 12, tzinfo=UTC)


def part(
    second: float, offset: int, bid: str, ask: str, *, partition: int = 0, late: bool = False
) -> Aggregate:
    place = START + timedelta(seconds=second), partition, offset
    return of_tick(place, Decimal(bid), Decimal(ask), late=late)


def put(connection: psycopg.Connection, pair: str, *parts: Aggregate, venue: str = "coinbase") -> None:
    """Merge parts of one market, each by itself, into its minutes, as their batches do."""
    for each in parts:
        minute = each.opened[0].replace(second=0, microsecond=0)
        with connection.cursor() as cursor:
            windows.merge(cursor, "g1", {(Market(venue, pair), minute): each})
            window_completion.advance(cursor, TOPIC, {(each.closed[1], venue): each.closed[0]})


def stored(connection: psycopg.Connection) -> list[tuple[str, datetime, bool]]:
    return connection.execute(
        "SELECT pair, window_start, complete FROM crypto_windows ORDER BY pair, window_start"
    ).fetchall()


def test_the_database_merges_as_the_definition_does(connection: psycopg.Connection) -> None:
    parts = [
        part(30, 5, "100.10", "100.30"),
        part(10, 6, "99.5", "101.123456789012345678", late=True),
        part(30, 7, "98", "98"),
        part(59.999999, 8, "12345678901234567890", "99999999999999999999.999999999999999999"),
        part(10, 9, "100.2", "100.4"),
    ]
    put(connection, "BTC-USD", *parts)
    whole = reduce(merge, parts)
    names = [
        *("ticks", "open", "high", "low", "close", "highest_bid", "lowest_ask"),
        *("spread_sum", "max_spread", "spread_bps_sum", "late"),
    ]
    columns = [
        *names,
        "open_at",
        "open_partition",
        "open_offset",
        "close_at",
        "close_partition",
        "close_offset",
    ]
    row = connection.execute(f"SELECT {', '.join(columns)} FROM crypto_windows").fetchone()
    assert row == (*(getattr(whole, name) for name in names), *whole.opened, *whole.closed)


def test_to_write_a_whole_window_again_changes_nothing(connection: psycopg.Connection) -> None:
    def write(ticks: int) -> datetime:
        rows = [(BTC, START, START + MINUTE, reduce(merge, [part(n, n, "1", "2") for n in range(ticks)]))]
        with connection.cursor() as cursor:
            windows.overwrite(cursor, "g1", "mine", rows, complete=True)
        row = connection.execute("SELECT updated_at, ticks, name FROM crypto_windows").fetchone()
        assert row is not None
        assert row[1:] == (ticks, "mine")
        changed: datetime = row[0]
        return changed

    first = write(3)
    assert write(3) == first
    assert write(4) > first


def test_minutes_are_complete_once_their_partition_has_passed_them(connection: psycopg.Connection) -> None:
    put(connection, "A-USD", part(5, 1, "1", "2"))
    put(connection, "B-USD", part(59, 2, "1", "2"), part(61.9, 3, "1", "2"))
    put(connection, "C-USD", part(5, 1, "1", "2", partition=1))
    assert complete_passed(connection, TOPIC, [0, 1], [0, 1]) == 0  # 2 s are left for what comes late
    put(connection, "B-USD", part(62, 4, "1", "2"))
    assert complete_passed(connection, TOPIC, [1], []) == 0
    assert complete_passed(connection, GroupTopic("other", "t", "id"), [0, 1], []) == 0
    assert complete_passed(connection, TOPIC, [0, 1], [0, 1]) == 2
    # A-USD has fallen silent, its partition has not. C-USD's has, but a moment ago only.
    assert stored(connection) == [
        ("A-USD", START, True),
        ("B-USD", START, True),
        ("B-USD", START + MINUTE, False),
        ("C-USD", START, False),
    ]


def test_a_partition_without_ticks_is_idle_only_when_read_to_its_end(connection: psycopg.Connection) -> None:
    put(connection, "A-USD", part(5, 1, "1", "2"))
    put(connection, "C-USD", part(5, 1, "1", "2", partition=1))
    assert complete_passed(connection, TOPIC, [0, 1], [1]) == 0
    assert complete_passed(connection, TOPIC, [0, 1], [1], idle=0) == 1
    assert stored(connection) == [("A-USD", START, False), ("C-USD", START, True)]
    put(connection, "C-USD", part(6, 2, "1", "2", partition=1))  # it came late, and counts all the same
    assert stored(connection) == [("A-USD", START, False), ("C-USD", START, True)]


def test_an_idle_partition_does_not_hold_back_its_venue(connection: psycopg.Connection) -> None:
    """It follows the venue's other partitions, and a venue that stops is complete to its last minute."""
    put(connection, "A-USD", part(5, 1, "1", "2"), part(400, 2, "1", "2"))
    put(connection, "C-USD", part(5, 1, "1", "2", partition=1))
    put(connection, "D-USD", part(5, 1, "1", "2", partition=2))
    put(connection, "A-USD", part(3600, 2, "1", "2"), venue="other")

    def reached() -> list[float]:
        rows = connection.execute(
            "SELECT complete_until FROM window_progress WHERE venue = 'coinbase' ORDER BY kafka_partition"
        )
        return [(time - START).total_seconds() for (time,) in rows]

    complete_passed(connection, TOPIC, [0, 1, 2], [0, 1, 2])
    assert reached() == [398, 3, 3]  # none is idle yet
    complete_passed(connection, TOPIC, [1, 2], [1], idle=0)
    assert reached() == [398, 398, 3]  # partition 2 may still have ticks
    complete_passed(connection, TOPIC, [0, 1, 2], [0, 1, 2], idle=0)
    complete_passed(connection, TOPIC, [0, 1, 2], [0, 1, 2], idle=0)
    assert reached() == [420, 420, 420]
    put(connection, "C-USD", part(401, 2, "1", "2", partition=1))
    assert reached() == [420, 420, 420]
    ahead = datetime.now(UTC) + timedelta(hours=1)
    put(connection, "A-USD", of_tick((ahead, 0, 3), Decimal(1), Decimal(2)))
    complete_passed(connection, TOPIC, [0], [0], idle=0)
    assert START + timedelta(seconds=reached()[0]) < datetime.now(UTC)


def test_a_tick_of_the_future_completes_nothing(connection: psycopg.Connection) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=1)
    put(connection, "A-USD", of_tick((datetime.now(UTC), 0, 1), Decimal(1), Decimal(2)))
    put(connection, "A-USD", of_tick((ahead, 0, 2), Decimal(1), Decimal(2)))
    assert complete_passed(connection, TOPIC, [0], []) == 0


def test_each_venue_has_a_watermark_of_its_own(connection: psycopg.Connection) -> None:
    """Ticks of now complete no minutes of an old replay, whose silent pairs do not wait for each other."""
    replay = "coinbase-replay"
    put(connection, "A-USD", part(5, 1, "1", "2"), venue=replay)
    put(connection, "B-USD", part(30, 2, "1", "2"), venue=replay)
    put(connection, "A-USD", of_tick((datetime.now(UTC), 0, 3), Decimal(1), Decimal(2)), venue="simulated")
    assert complete_passed(connection, TOPIC, [0], []) == 0
    put(connection, "B-USD", part(62, 4, "1", "2"), venue=replay)
    assert complete_passed(connection, TOPIC, [0], []) == 2
    complete = "SELECT venue, pair FROM crypto_windows WHERE complete ORDER BY pair"
    assert connection.execute(complete).fetchall() == [(replay, "A-USD"), (replay, "B-USD")]


def test_a_row_that_a_batch_has_in_hand_is_not_waited_for(
    connection: psycopg.Connection, settings: Settings
) -> None:
    put(connection, "A-USD", part(5, 1, "1", "2"), part(90, 2, "1", "2"))
    with psycopg.connect(settings.postgres()) as other:
        other.execute("SELECT FROM crypto_windows ORDER BY window_start LIMIT 1 FOR UPDATE")
        connection.execute("SET lock_timeout = '1s'")
        assert complete_passed(connection, TOPIC, [0], []) == 0
    assert complete_passed(connection, TOPIC, [0], []) == 1


def test_minutes_views_and_the_migration_say_what_the_ticks_say(
    cli: Cli, connection: psycopg.Connection
) -> None:
    cli("init-db", "--partitions", "2")
    simulated = [
        "--rate",
        "0",
        "--step",
        "100ms",
        "--seed",
        "7",
        "--start",
        "2026-06-30T23:40",
        "--bad",
        "0.01",
    ]
    cli("simulate", *simulated, "--count", "12000")
    # The same again, somewhat later: its trades lie between those of the first, and are late.
    cli(
        "simulate",
        *simulated[:-4],
        "--start",
        "2026-06-30T23:40:00.0001",
        "--count",
        "3000",
        "--pair",
        "BTC-USD",
    )
    cli("process", "--group", "g1", "--until-caught-up", "--batch", "700")
    assert differing_windows(connection, "g1", "1m", MINUTE) == []
    totals = connection.execute(
        "SELECT sum(ticks), sum(late) > 1000, (SELECT count(*) FROM crypto_metrics) FROM crypto_windows"
    ).fetchone()
    assert totals is not None
    assert totals[0] == totals[2] > 14_000
    assert totals[1]

    # The worker has marked what the watermark has passed: here all but the minutes at the end.
    passed = connection.execute(
        "SELECT bool_and(complete) FROM crypto_windows"
        " WHERE window_start < (SELECT max(window_start) - interval '1 minute' FROM crypto_windows)"
    ).fetchone()
    assert passed == (True,)

    # Each coarser view is that query with another length.
    for name, size in (("5m", "5 minutes"), ("1h", "1 hour"), ("1d", "1 day")):
        difference = connection.execute(
            f"""
            WITH truth AS ({TRUE_WINDOWS}),
                 seen AS (SELECT {COLUMNS} FROM crypto_windows_{name})
            (TABLE truth EXCEPT TABLE seen) UNION ALL (TABLE seen EXCEPT TABLE truth)""".encode(),
            {"group": "g1", "size": size, "slide": size},
        ).fetchall()
        assert difference == []

    # A wrong minute is found, and named.
    cli("verify")
    connection.execute("UPDATE crypto_windows SET ticks = ticks + 1, high = high + 1 WHERE pair = 'BTC-USD'")
    assert "minutes with a value that does not follow from their rows" in cli("verify", code=1).stdout

    # What the migration makes of rows that were there before it. Venues came later.
    script = Path(windows.__file__).parent / "migrations/0005_windows.sql"
    insert = "INSERT INTO crypto_windows"
    fill = insert + script.read_text().partition(insert)[2].partition(";")[0]
    connection.execute("DELETE FROM crypto_windows")
    connection.execute(fill.encode())
    connection.execute("UPDATE crypto_windows SET venue = 'simulated'")
    without_sizes = true_windows(before_sizes="true")
    assert differing_windows(connection, "g1", "1m", MINUTE, truth=without_sizes) == []
