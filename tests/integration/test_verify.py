"""`cryptometrics verify`: no findings after the pipeline, and a finding for every kind of damage."""

from __future__ import annotations

import contextlib
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from confluent_kafka import Producer
from psycopg import sql

from cryptometrics.feeds.simulator.bad_ticks import KINDS, spoiled
from cryptometrics.kafka import client
from cryptometrics.kafka.topic import create_topic
from cryptometrics.market.windows import MINUTE
from cryptometrics.pipeline.options import WorkerOptions
from cryptometrics.pipeline.start_worker import run_worker
from cryptometrics.store.connection import connect
from cryptometrics.store.migrate import migrate
from cryptometrics.verify.findings import FindingKind
from cryptometrics.verify.verification import GroupReport, verify
from tests.conftest import settings_for
from tests.true_windows import COLUMNS, TRUE_WINDOWS
from tests.waiting import LIMIT_S, deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptometrics.config import Settings
    from cryptometrics.local.services import Services
    from tests.conftest import Cli

START = datetime.now(UTC).replace(hour=23, minute=59, second=50, microsecond=0) - timedelta(days=2)
"""Ten seconds before a midnight that is past at any hour of the test."""
PAIRS = ("BTC-USD", "ETH-USD", "SHIB-USD")
TICKS = 400


def tick(number: int) -> tuple[bytes, bytes]:
    """Return a tick of a price that wanders and, of every twentieth, that comes late."""
    pair = PAIRS[number % len(PAIRS)]
    late = 7 if number % 20 == 13 else 0
    trade = 1000 + number - late * len(PAIRS)
    bid = 100 + (number * 7919 % 101) / 4
    value = {
        "type": "ticker",
        "product_id": pair,
        "best_bid": f"{bid:.2f}",
        "best_ask": f"{bid + 0.01 * (number % 9):.3f}",
        "time": (START + timedelta(milliseconds=50 * trade - 50_000)).isoformat(),
        "trade_id": trade * 2 if not late else trade * 2 + 1,
        "sequence": 1,
        "best_bid_size": f"{number % 7}.{number % 11:08d}",
        "price": f"{bid:.2f}",
        "last_size": f"{0.001 * (number % 13):.3f}",
        "side": "buy" if number % 3 else "sell",
    }
    if number % 6:  # a tick without one of the sizes is not sized
        value["best_ask_size"] = f"{number % 5}.5"
    return pair.encode(), json.dumps(value).encode()


class Source:
    """A topic and a database, processed."""

    def __init__(self, services: Services) -> None:
        self.name = f"verify_{uuid.uuid4().hex[:12]}"
        self._services = services
        self._admin = psycopg.connect(services.postgres_uri, autocommit=True)
        self._admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.name)))
        self._made = [self.name]
        self.settings = settings_for(services, self.name, self.name)

    def copy(self) -> Settings:
        """Return the settings of the same topic and a copy of the database, to be damaged."""
        self._made.append(f"verify_{uuid.uuid4().hex[:12]}")
        names = map(sql.Identifier, (self._made[-1], self.name))
        self._admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
        return settings_for(self._services, self._made[-1], self.name)

    def close(self) -> None:
        for name in self._made:
            self._admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        self._admin.close()


@pytest.fixture(scope="module")
def source(services: Services) -> Iterator[Source]:
    """Return a topic with every outcome, written in transactions; one of them was aborted."""
    with contextlib.closing(Source(services)) as made:
        fill(made)
        yield made


def fill(made: Source) -> None:
    """Publish and process."""
    with psycopg.connect(made.settings.postgres()) as connection:
        migrate(connection)
    create_topic(made.settings, 4)
    conf = client.client_conf(
        made.settings,
        **{"enable.idempotence": True, "partitioner": "murmur2_random", "transactional.id": made.name},
    )
    producer = Producer(conf)
    producer.init_transactions()
    number = 0
    for block in range(8):
        producer.begin_transaction()
        for _ in range(TICKS // 8):
            key, value = tick(number)
            producer.produce(made.name, value, key)
            if number % 10 == 3:
                producer.produce(made.name, value, key)
            if number % 8 == 5:
                bad_key, bad_value = spoiled(number // 8, key, value)
                producer.produce(made.name, bad_value, bad_key)
            if number % 50 == 7:
                producer.produce(made.name, tick(7)[1], tick(7)[0])
            number += 1
        producer.flush(LIMIT_S)
        if block == 4:
            producer.abort_transaction()
        else:
            producer.commit_transaction()
    for group, session in (("g", None), ("named", "a name")):
        options = WorkerOptions(group, session, batch=64, until_caught_up=True)
        run_worker(made.settings, options, stop=deadline())


@pytest.fixture
def damaged(source: Source) -> Callable[..., list[tuple[str, str | None]]]:
    """Return a function that damages a copy and returns what is found: kinds and columns."""

    def damage(*statements: str, topic: bool = False) -> list[tuple[str, str | None]]:
        settings = source.copy()
        with connect(settings) as connection:
            for statement in statements:
                done = connection.execute(statement.encode())
                assert done.rowcount != 0, f"changed nothing: {statement}"
        found = reports(settings, topic=topic, group="g")[0].findings
        assert all(finding.count >= len(finding.first) > 0 for finding in found)
        return [(finding.kind, finding.column) for finding in found]

    return damage


def reports(settings: Settings, *, topic: bool = False, group: str | None = None) -> list[GroupReport]:
    with connect(settings) as connection:
        return list(verify(connection, group=group, settings=settings if topic else None))


ONE = "(kafka_partition, kafka_offset) = (SELECT kafka_partition, max(kafka_offset) FROM crypto_metrics \
WHERE pair = 'ETH-USD' AND consumer_group = 'g' GROUP BY 1) AND consumer_group = 'g'"
"""The newest row of a pair."""


@pytest.mark.parametrize("topic", [False, True])
def test_what_the_pipeline_wrote_is_right(source: Source, topic: bool) -> None:
    found = reports(source.settings, topic=topic)
    assert [report.group for report in found] == ["g", "named"]
    for report in found:
        assert report.findings == []
        assert report.notes == []
        total = {
            outcome: sum(getattr(book, outcome) for book in report.books) for outcome in ("metrics", "holes")
        }
        assert min(total.values()) > 50
        assert sum(book.duplicates for book in report.books) > 20
        assert sum(book.rejected for book in report.books) > len(KINDS)
        assert report.unchecked == 0


@pytest.mark.parametrize(
    ("change", "kind", "column"),
    [
        ("bid = bid - 1", FindingKind.ROW, "spread"),
        ("ask = ask + 1", FindingKind.ROW, "mid_price"),
        ("mid_price = mid_price + 0.000000000000000001", FindingKind.ROW, "mid_price"),
        ("spread = spread + 0.000000000000000001", FindingKind.ROW, "spread"),
        ("highest_bid = highest_bid - 0.01", FindingKind.ROW, "highest_bid"),
        ("lowest_ask = lowest_ask + 0.01", FindingKind.ROW, "lowest_ask"),
        ("max_spread = max_spread * 2", FindingKind.ROW, "max_spread"),
        ("pair = 'BTC-USD'", FindingKind.SESSION, "ticks"),
        ("pair = 'NEW-USD'", FindingKind.UNKNOWN_TO_STATE, "session"),
        ("session = 'another'", FindingKind.UNKNOWN_TO_STATE, "session"),
        ("timestamp = timestamp + interval '1 minute'", FindingKind.SESSION, "last_at"),
        ("trade_id = 5000000", FindingKind.UNKNOWN_TO_STATE, "trade_id"),
        ("consumer_group = 'other'", FindingKind.MISSING, None),
        ("kafka_offset = kafka_offset + 100000", FindingKind.OUTSIDE, None),
        ("kafka_offset = kafka_offset - 1", FindingKind.TWICE, None),
        ("kafka_partition = 77", FindingKind.OUTSIDE, None),
    ],
)
def test_a_damaged_row_is_found(damaged: Any, change: str, kind: FindingKind, column: str | None) -> None:
    assert (kind, column) in damaged(f"UPDATE crypto_metrics SET {change} WHERE {ONE}")


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ("kind = 'quote'", "kind"),
        ("trade_id = NULL", "trade_id"),
        ("timestamp = timestamp + interval '1 microsecond'", "timestamp"),
        ("bid = bid - 1, mid_price = mid_price - 0.5, spread = spread + 1", "bid"),
        ("ask = ask - 0.001, mid_price = mid_price - 0.0005, spread = spread - 0.001", "ask"),
        ("pair = 'BTC-USD'", "pair"),
    ],
)
def test_a_quote_that_is_not_the_messages_is_found(damaged: Any, change: str, column: str) -> None:
    assert (FindingKind.DIFFERS, column) in damaged(
        f"UPDATE crypto_metrics SET {change} WHERE {ONE}", topic=True
    )


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            f"DELETE FROM crypto_metrics WHERE {ONE}",
            {FindingKind.MISSING, FindingKind.COUNT, FindingKind.SESSION},
        ),
        (
            f"INSERT INTO crypto_metrics SELECT * FROM crypto_metrics WHERE {ONE}",
            {FindingKind.TWICE, FindingKind.COUNT, FindingKind.REPEATED, FindingKind.SESSION},
        ),
        ("UPDATE consumer_offsets SET next_offset = next_offset + 1", {FindingKind.SUM, FindingKind.MISSING}),
        (
            "UPDATE consumer_offsets SET next_offset = next_offset - 1 WHERE next_offset > 0",
            {FindingKind.SUM, FindingKind.OUTSIDE},
        ),
        (
            "UPDATE consumer_offsets SET first_offset = first_offset - 1",
            {FindingKind.SUM, FindingKind.MISSING},
        ),
        *(
            (f"UPDATE consumer_offsets SET {column} = {column} + 1", {FindingKind.SUM, FindingKind.COUNT})
            for column in ("metrics", "rejected", "gaps", "duplicates", "holes")
        ),
        (
            "UPDATE consumer_offsets SET holes = holes + 1, duplicates = duplicates - 1",
            {FindingKind.COUNT},
        ),
        (
            "UPDATE skipped_offsets SET last_offset = last_offset + 1 WHERE reason = 'duplicate'",
            {FindingKind.TWICE, FindingKind.COUNT},
        ),
        ("UPDATE skipped_offsets SET reason = 'hole' WHERE reason = 'duplicate'", {FindingKind.COUNT}),
        ("DELETE FROM skipped_offsets WHERE reason = 'hole'", {FindingKind.MISSING, FindingKind.COUNT}),
        *(
            (f"UPDATE metric_days SET {column} = {column} + 7", {FindingKind.DAY})
            for column in ("rows", "first_offset", "last_offset", "day")
        ),
        ("DELETE FROM rejected_ticks WHERE reason = 'bad_time'", {FindingKind.MISSING, FindingKind.COUNT}),
        (
            "UPDATE rejected_ticks SET kafka_offset = kafka_offset + 100000 WHERE reason = 'bad_pair'",
            {FindingKind.MISSING, FindingKind.OUTSIDE},
        ),
    ],
)
def test_damaged_books_are_found(damaged: Any, statement: str, expected: set[FindingKind]) -> None:
    found = {kind for kind, _ in damaged(statement)}
    assert found >= expected
    if FindingKind.SESSION not in expected:
        assert found == expected


@pytest.mark.parametrize(
    ("column", "change"),
    [
        *((name, f"{name} + 0.01") for name in ("highest_bid", "lowest_ask", "max_spread", "last_bid")),
        ("last_ask", "last_ask - 0.01"),
        *(
            (name, f"{name} + interval '1 microsecond'")
            for name in ("highest_bid_at", "lowest_ask_at", "max_spread_at", "first_at", "last_at")
        ),
        ("last_bid_size", "coalesce(last_bid_size, 0) + 1"),
        ("last_ask_size", "coalesce(last_ask_size, 0) + 1"),
        ("ticks", "ticks - 1"),
        ("late", "late + 1"),
    ],
)
def test_damaged_sessions_are_found(damaged: Any, column: str, change: str) -> None:
    statement = f"UPDATE session_extremes SET {column} = {change} WHERE pair = 'BTC-USD'"
    assert (FindingKind.SESSION, column) in damaged(statement)


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ("bid = bid + 1", "bid, ask, timestamp"),
        ("ask = ask + 1", "bid, ask, timestamp"),
        ("bid_size = coalesce(bid_size, 0) + 1", "bid, ask, timestamp"),
        ("timestamp = timestamp - interval '1 microsecond'", "bid, ask, timestamp"),
        ("trade_id = trade_id + 1", "trade_id"),
        ("trade_ids = '{[1,2)}'", "trade_id"),
    ],
)
def test_damaged_pairs_are_found(damaged: Any, change: str, column: str) -> None:
    assert (FindingKind.PAIR, column) in damaged(f"UPDATE pair_state SET {change} WHERE pair = 'SHIB-USD'")


@pytest.mark.parametrize("column", ["bid_size", "ask_size"])
def test_a_wrong_size_is_found_with_the_topic(damaged: Any, column: str) -> None:
    statement = f"UPDATE crypto_metrics SET {column} = coalesce({column}, 0) + 1 WHERE {ONE}"
    assert (FindingKind.DIFFERS, column) in damaged(statement, topic=True)


def test_sizes_before_the_first_offset_with_sizes_are_found(damaged: Any) -> None:
    found = damaged("UPDATE consumer_offsets SET sizes_from = next_offset")
    assert {(FindingKind.ROW, "bid_size"), (FindingKind.ROW, "ask_size"), (FindingKind.WINDOW, None)} <= set(
        found
    )


@pytest.mark.parametrize("column", ["trades", "volume", "notional", "buy_volume"])
def test_wrong_trades_of_a_minute_are_found_with_the_topic(damaged: Any, column: str) -> None:
    statement = f"UPDATE crypto_windows SET {column} = {column} + 1"
    assert damaged(statement) == []
    assert (FindingKind.WINDOW, None) in damaged(statement, topic=True)


def test_what_an_earlier_version_stored_has_neither_sizes_nor_trades(damaged: Any) -> None:
    as_before = """
    UPDATE consumer_offsets SET sizes_from = next_offset;
    UPDATE crypto_metrics SET bid_size = NULL, ask_size = NULL;
    UPDATE session_extremes SET last_bid_size = NULL, last_ask_size = NULL;
    UPDATE pair_state SET bid_size = NULL, ask_size = NULL;
    UPDATE crypto_windows SET sized_ticks = NULL, bid_size_sum = NULL, ask_size_sum = NULL, trades = NULL,
        volume = NULL, notional = NULL, buy_volume = NULL
    """
    assert damaged(as_before, topic=True) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("value = 'x' WHERE reason = 'bad_price'", (FindingKind.DIFFERS, "value")),
        ("key = NULL WHERE reason = 'bad_price'", (FindingKind.DIFFERS, "key")),
        ("kafka_timestamp = now() WHERE reason = 'bad_price'", (FindingKind.DIFFERS, "kafka_timestamp")),
        ("reason = 'bad_pair' WHERE reason = 'bad_time'", (FindingKind.VALID, "bad_pair")),
    ],
)
def test_rejected_messages_are_compared(damaged: Any, change: str, expected: tuple[str, str]) -> None:
    assert damaged(f"UPDATE rejected_ticks SET {change}") == []
    assert expected in damaged(f"UPDATE rejected_ticks SET {change}", topic=True)


def test_a_message_refused_by_postgres_is_taken_as_such(damaged: Any) -> None:
    move = f"""
    WITH row AS (DELETE FROM crypto_metrics WHERE {ONE} RETURNING *)
    INSERT INTO rejected_ticks (consumer_group, topic, kafka_partition, kafka_offset, reason, detail)
    SELECT consumer_group, (SELECT max(topic) FROM consumer_offsets), kafka_partition, kafka_offset,
           'refused_by_postgres', '' FROM row
    """
    found = damaged(move, topic=True)
    assert (FindingKind.DIFFERS, "value") in found
    assert (FindingKind.VALID, "refused_by_postgres") not in found


def test_false_duplicates_and_holes_are_found(damaged: Any) -> None:
    def become(reason: str, count: str) -> list[str]:
        return [
            f"""
            WITH row AS (DELETE FROM crypto_metrics WHERE {ONE} RETURNING *), skipped AS (
                INSERT INTO skipped_offsets
                SELECT consumer_group, (SELECT max(topic) FROM consumer_offsets), kafka_partition,
                       kafka_offset, kafka_offset, '{reason}' FROM row
            )
            UPDATE consumer_offsets o SET metrics = o.metrics - 1, {count} = o.{count} + 1 FROM row
            WHERE (o.consumer_group, o.kafka_partition) = (row.consumer_group, row.kafka_partition)
            """
        ]

    assert (FindingKind.NO_DUPLICATE, None) in damaged(*become("duplicate", "duplicates"), topic=True)
    assert (FindingKind.NO_HOLE, None) in damaged(*become("hole", "holes"), topic=True)


def test_a_row_without_a_message_is_found(damaged: Any) -> None:
    """A hole that has become a row: the books agree, the topic does not."""
    found = damaged(
        f"""
        WITH hole AS (DELETE FROM skipped_offsets WHERE ctid = (
                SELECT max(ctid) FROM skipped_offsets WHERE reason = 'hole' AND consumer_group = 'g'
                AND first_offset = last_offset) RETURNING *),
        counted AS (UPDATE consumer_offsets o SET metrics = o.metrics + 1, holes = o.holes - 1 FROM hole
            WHERE (o.consumer_group, o.kafka_partition) = (hole.consumer_group, hole.kafka_partition))
        INSERT INTO crypto_metrics
        SELECT m.id, m.pair, m.bid, m.ask, m.mid_price, m.spread, m.highest_bid, m.lowest_ask, m.max_spread,
               m.timestamp, m.consumer_group, m.session, m.kind, NULL, hole.kafka_partition,
               hole.first_offset, m.recorded_at
        FROM hole, (SELECT * FROM crypto_metrics WHERE {ONE}) AS m
        """,
        topic=True,
    )
    assert (FindingKind.NOT_ON_TOPIC, None) in found


def test_what_kafka_holds_no_more_is_not_checked_and_not_wrong(source: Source) -> None:
    settings = source.copy()
    with connect(settings) as connection:
        connection.execute("UPDATE consumer_offsets SET topic_id = 'of the one before'")
    for report in reports(settings, topic=True):
        assert report.findings == []
        assert report.unchecked == report.offsets
        assert all("not checked against the topic" in note for note in report.notes)


def test_rows_of_a_topic_that_was_made_again_are_told_apart(source: Source) -> None:
    """The old books are closed; the same offsets come once more, and later rows belong to the new ones."""
    settings = source.copy()
    with connect(settings) as connection:
        connection.execute("DELETE FROM consumer_offsets WHERE consumer_group <> 'g'")
        for table in ("rejected_ticks", "skipped_offsets", "metric_days"):
            connection.execute(
                f"UPDATE {table} SET topic = topic || '@old' WHERE consumer_group = 'g'".encode()
            )
        connection.execute(
            "UPDATE consumer_offsets SET topic = topic || '@old', ended_at = clock_timestamp()"
        )
        connection.execute(
            """
            INSERT INTO consumer_offsets (consumer_group, topic, kafka_partition, topic_id, first_offset,
                next_offset, metrics, epoch, owner, backend_pid, backend_start, begun_at)
            SELECT consumer_group, split_part(topic, '@', 1), kafka_partition, 'new', 0, 1, 1, 1, '', 0,
                   now(), ended_at
            FROM consumer_offsets WHERE metrics > 0
            """
        )
        connection.execute(
            """
            INSERT INTO crypto_metrics (pair, bid, ask, mid_price, spread, highest_bid, lowest_ask,
                max_spread, timestamp, consumer_group, session, kind, kafka_partition, kafka_offset,
                recorded_at, bid_size, ask_size)
            SELECT DISTINCT ON (kafka_partition) pair, last_bid, last_ask, (last_bid + last_ask) / 2,
                last_ask - last_bid, s.highest_bid, s.lowest_ask, s.max_spread, last_at, consumer_group,
                session, 'quote', kafka_partition, 0, clock_timestamp(), last_bid_size, last_ask_size
            FROM session_extremes s JOIN crypto_metrics m USING (consumer_group, pair, session)
            WHERE consumer_group = 'g' ORDER BY kafka_partition, last_at DESC
            """
        )
        connection.execute(
            """
            INSERT INTO metric_days
            SELECT consumer_group, (SELECT min(topic) FROM consumer_offsets), kafka_partition,
                   timestamp::date, 1, 0, 0 FROM crypto_metrics WHERE kind = 'quote'
            """
        )
        connection.execute(
            """
            UPDATE session_extremes s SET ticks = ticks + 1 FROM crypto_metrics m
            WHERE (m.consumer_group, m.pair, m.session) = (s.consumer_group, s.pair, s.session)
              AND m.kind = 'quote'
            """
        )
        _recompute_minutes(connection)
    (report,) = reports(settings, group="g", topic=True)
    assert report.findings == []
    assert report.unchecked == report.offsets
    assert len({book.topic for book in report.books}) == 2


def _recompute_minutes(connection: psycopg.Connection) -> None:
    """Make the minutes what the rows say, which were put in by hand."""
    columns = ", ".join(name for name in COLUMNS.split(", ") if not name.startswith("avg_"))
    connection.execute("DELETE FROM crypto_windows WHERE consumer_group = 'g'")
    connection.execute(
        f"INSERT INTO crypto_windows (consumer_group, name, {columns}) "
        f"SELECT 'g', '1m', {columns} FROM ({TRUE_WINDOWS}) AS truth".encode(),
        {"group": "g", "size": MINUTE, "slide": MINUTE},
    )


def test_losses_and_scattered_pairs_are_noted(source: Source) -> None:
    settings = source.copy()
    with connect(settings) as connection:
        connection.execute("UPDATE skipped_offsets SET reason = 'lost' WHERE reason = 'hole'")
        connection.execute(
            "UPDATE crypto_metrics SET kafka_partition = 3 - kafka_partition WHERE trade_id % 2 = 1"
        )
    notes = " ".join(reports(settings, group="g")[0].notes)
    assert "were lost before they were read" in notes
    assert "BTC-USD is in partitions" in notes


def test_commands(source: Source, cli_for: Callable[[Settings], Cli]) -> None:
    good = cli_for(source.settings)
    done = good("verify", "--topic")
    *lines, verdict = done.stdout.splitlines()
    assert verdict.startswith("verified: ")
    assert "offsets of 2 groups, each with exactly one outcome" in verdict
    assert lines[0].split()[:7] == [
        *("group", "partition", "rows", "rejected", "gaps", "duplicates", "holes"),
    ]
    assert len(lines) == 1 + 2 * 4
    assert all(line.rstrip().endswith("ok") for line in lines[1:])

    answer = json.loads(good("verify", "--group", "g", "--json").stdout)
    assert (answer["ok"], answer["findings"]) == (True, [])
    assert [group["group"] for group in answer["groups"]] == ["g"]

    settings = source.copy()
    with connect(settings) as connection:
        connection.execute(f"UPDATE crypto_metrics SET mid_price = 1 WHERE {ONE}".encode())
        connection.execute(
            "UPDATE consumer_offsets SET next_offset = next_offset + 20 WHERE consumer_group = 'g'"
        )
    bad = cli_for(settings)
    *lines, verdict = bad("verify", code=1).stdout.splitlines()
    assert verdict.startswith("FAILED: ")
    assert verdict.endswith(" in 1 of 2 groups")
    assert any("(mid_price): " in line for line in lines)
    assert any("offsets without an outcome: " in line and line.endswith(" and 10 more") for line in lines)
    answer = json.loads(bad("verify", "--json", code=1).stdout)
    assert not answer["ok"]
    missing = [finding for finding in answer["findings"] if finding["kind"] == "missing"]
    assert [len(finding["first"]) for finding in missing] == [10] * 4
    assert {finding["count"] for finding in missing} == {20}

    unknown = good("verify", "--group", "nobody", code=2)
    assert unknown.stderr.splitlines() == ["error: there is no group nobody; there are g, named"]


def test_nothing_to_verify(cli: Cli) -> None:
    assert cli("verify").stdout == "nothing to verify: no group has processed anything yet\n"
    assert json.loads(cli("verify", "--json").stdout) == {"ok": True, "groups": [], "findings": []}
    assert "nothing has been processed yet" in cli("verify", "--group", "g", code=2).stderr
