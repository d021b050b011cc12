"""From the topic to the tables on real services, compared with a recomputation of the topic."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import signal
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic  # type: ignore[attr-defined]

from cryptometrics.config import Secret
from cryptometrics.errors import CryptometricsError, ServiceUnavailableError, UserError
from cryptometrics.kafka import client, membership
from cryptometrics.kafka.admin_requests import request
from cryptometrics.kafka.group_consumer import GroupConsumer
from cryptometrics.kafka.topic import create_topic, delete_topic, describe_topic
from cryptometrics.market.trade_ids import MAX_RANGES
from cryptometrics.pipeline.options import WorkerOptions
from cryptometrics.pipeline.start_worker import run_worker
from cryptometrics.pipeline.worker import Worker
from tests.conftest import free_port
from tests.database import rows
from tests.waiting import LIMIT_S, deadline, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptometrics.config import Settings
    from cryptometrics.pipeline.worker_report import WorkerTotals
    from tests.conftest import Cli

DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
"""Yesterday: plausible at any hour of the test."""


class Read(NamedTuple):
    """One record of the topic."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


class Bench:
    """A topic, a database, and what a test does with them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # A group of its own: a member that left another test's group is waited for by Kafka.
        self.group = settings.kafka_topic
        self._producer = Producer(client.client_conf(settings, partitioner="murmur2_random"))

    def send(self, *values: bytes | dict[str, Any], **options: Any) -> None:
        """Put messages on the topic, in order; a dict is a tick under its pair's key."""
        for value in values:
            if isinstance(value, dict):
                options["key"] = value["product_id"].encode()
            content = json.dumps(value).encode() if isinstance(value, dict) else value
            self._producer.produce(self.settings.kafka_topic, content, **options)
        assert self._producer.flush(LIMIT_S) == 0

    def process(
        self,
        group: str | None = None,
        session: str | None = None,
        batch: int = 10_000,
        *,
        skip_lost: bool = False,
    ) -> WorkerTotals:
        """Process all that is there."""
        is_over = deadline()
        totals = run_worker(
            self.settings,
            WorkerOptions(group or self.group, session, batch, until_caught_up=True, skip_lost=skip_lost),
            stop=is_over,
        )
        assert not is_over(), "did not catch up"
        return totals

    def worker(
        self, options: WorkerOptions, stop: Callable[[], bool], after_batch: Callable[[Worker], None]
    ) -> Worker:
        return Worker(self.settings, options, describe_topic(self.settings), "w", stop, after_batch)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return rows(self.settings, query, *values)

    def metrics(self, columns: str, group: str | None = None) -> list[tuple[Any, ...]]:
        """Return rows in the order of the topic."""
        return self.rows(
            f"SELECT {columns} FROM crypto_metrics WHERE consumer_group = %s "
            "ORDER BY kafka_partition, kafka_offset",
            group or self.group,
        )

    def topic(self) -> tuple[list[Read], dict[int, tuple[int, int]]]:
        """Return what can be read of the topic in the order of its partitions, and the ends of each."""
        conf: dict[str, Any] = {"group.id": "reader of the test", "isolation.level": "read_committed"}
        conf |= {"auto.offset.reset": "error", "enable.partition.eof": True, "fetch.wait.max.ms": 10}
        consumer = Consumer(client.client_conf(self.settings, **conf))
        count = describe_topic(self.settings).partitions
        partitions = [TopicPartition(self.settings.kafka_topic, number) for number in range(count)]
        ends = {p.partition: consumer.get_watermark_offsets(p, timeout=LIMIT_S) for p in partitions}
        for partition in partitions:
            partition.offset = ends[partition.partition][0]
        consumer.assign(partitions)
        found: list[Read] = []
        ended: set[int] = set()
        while len(ended) < count:
            message = consumer.poll(LIMIT_S)
            assert message is not None
            number, offset = message.partition(), message.offset()
            assert number is not None
            assert offset is not None
            if message.error() is not None:
                ended.add(number)
            else:
                found.append(Read(number, offset, message.key(), message.value()))
        consumer.close()
        return sorted(found, key=lambda record: record[:2]), ends

    def check(
        self, group: str | None = None, session: str | None = None, refused: Sequence[int] = ()
    ) -> Counter[str]:
        """Compare everything stored with a recomputation of the topic; return the number of each outcome."""
        group = group or self.group
        records, ends = self.topic()
        expected = recomputed(records, session, refused)
        kept = self.metrics(
            "kafka_partition, kafka_offset, venue, pair, session, kind, trade_id, timestamp, bid, ask, "
            "mid_price, spread, highest_bid, lowest_ask, max_spread",
            group,
        )
        assert len(kept) == len(expected.rows)
        for row, plain in zip(kept, expected.rows, strict=True):
            assert row == plain
        extremes = self.rows(
            "SELECT venue, pair, session, highest_bid, highest_bid_at, lowest_ask, lowest_ask_at, "
            "max_spread, max_spread_at, last_bid, last_ask, last_at, first_at, ticks, late "
            "FROM session_extremes "
            "WHERE consumer_group = %s",
            group,
        )
        assert {row[:3]: row[3:] for row in extremes} == expected.extremes
        rejected = self.rows(
            "SELECT kafka_partition, kafka_offset, key, value FROM rejected_ticks "
            "WHERE consumer_group = %s ORDER BY 1, 2",
            group,
        )
        assert rejected == [tuple(record) for record in expected.rejected]
        skipped = self.rows(
            "SELECT kafka_partition, generate_series(first_offset, last_offset), reason "
            "FROM skipped_offsets WHERE consumer_group = %s ORDER BY 1, 2",
            group,
        )
        read = {record[:2] for record in records}
        everywhere = {(n, offset) for n, (low, high) in ends.items() for offset in range(low, high)}
        holes = everywhere - read
        assert [row[:2] for row in skipped if row[2] == "duplicate"] == sorted(expected.duplicates)
        assert {row[:2] for row in skipped if row[2] == "hole"} == holes
        # Every offset has exactly one outcome.
        fated = [row[:2] for row in (*kept, *rejected, *skipped)]
        assert len(fated) == len(set(fated))
        assert set(fated) == everywhere
        # And the books say so.
        for partition, *book in self.rows(
            "SELECT kafka_partition, first_offset, next_offset, metrics, rejected, gaps, duplicates, holes "
            "FROM consumer_offsets WHERE consumer_group = %s",
            group,
        ):
            assert tuple(book[:2]) == ends[partition]
            counted = [
                sum(1 for row in rows if row[0] == partition)
                for rows in (kept, rejected, (), expected.duplicates, holes)
            ]
            assert book[2:] == counted
        return Counter(
            metrics=len(kept), rejected=len(rejected), duplicates=len(expected.duplicates), holes=len(holes)
        )

    def wait_for(self, query: str, is_met: Callable[[Any], bool]) -> Any:
        """Wait until the query's one value meets a condition."""
        seen: list[Any] = []

        def met() -> bool:
            seen[:] = connection.execute(query.encode()).fetchone() or ()
            return bool(seen) and is_met(seen[0])

        with psycopg.connect(self.settings.postgres(), autocommit=True) as connection:
            wait_until(met, lambda: f"{query} returns {seen}")
        return seen[0]


class Recomputed(NamedTuple):
    """The expected content of the tables."""

    rows: list[tuple[Any, ...]]
    rejected: list[Read]
    duplicates: list[tuple[int, int]]
    extremes: dict[tuple[str, str, str], tuple[Any, ...]]


def valid(key: bytes | None, value: bytes | None) -> dict[str, Any] | None:
    """Return the fields of a valid tick by rules of a few lines."""
    try:
        assert value is not None
        assert len(value) <= 65_536
        fields: dict[str, Any] = json.loads(value)
        assert fields["type"] in {"ticker", "quote"}
        assert key == fields["product_id"].encode()
        assert re.fullmatch("[A-Z0-9]+-[A-Z0-9]+", fields["product_id"])
        assert re.fullmatch("[a-z0-9-]{1,32}", fields.setdefault("venue", "coinbase"))
        for name in ("best_bid", "best_ask"):
            assert re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,18})?", fields[name])
            fields[name] = Decimal(fields[name])
        for name in ("best_bid_size", "best_ask_size", "price", "last_size"):
            assert re.fullmatch(r"([0-9]{1,20}(\.[0-9]{1,18})?)?", fields.get(name) or "")
        assert fields.get("side") in {None, "", "buy", "sell"}
        assert 0 < fields["best_bid"] <= fields["best_ask"]
        # Cut to microseconds by hand.
        found = re.fullmatch(r"(.{19})(?:\.([0-9]+))?(Z|[+-]..:..)", fields["time"])
        assert found
        moment = datetime.fromisoformat(f"{found[1]}.{(found[2] or '').ljust(6, '0')[:6]}{found[3]}")
        fields["time"] = moment.astimezone(UTC)
        assert datetime(2009, 1, 1, tzinfo=UTC) <= fields["time"] <= datetime.now(UTC) + timedelta(days=1)
        assert fields.setdefault("trade_id", None) is None or fields["trade_id"] >= 0
    except (AssertionError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return fields


def recomputed(records: Sequence[Read], named: str | None, refused: Sequence[int]) -> Recomputed:
    """Compute everything anew with plain lists; `refused` are trade ids that PostgreSQL does not take."""
    result = Recomputed([], [], [], {})
    seen: set[tuple[Any, ...]] = set()
    highest: dict[tuple[str, str], int] = {}
    sessions: dict[tuple[str, str, str], list[tuple[Any, ...]]] = {}
    with localcontext(prec=100):
        for record in records:
            tick = valid(record.key, record.value)
            if tick is None or tick["trade_id"] in refused:
                result.rejected.append(record)
                continue
            market, at, trade_id = (tick["venue"], tick["product_id"]), tick["time"], tick["trade_id"]
            if trade_id is not None and (market, trade_id, at) in seen:
                result.duplicates.append(record[:2])
                continue
            late = trade_id is not None and trade_id < highest.get(market, -1)
            if trade_id is not None:
                seen.add((market, trade_id, at))
                highest[market] = max(trade_id, highest.get(market, -1))
            bid, ask = tick["best_bid"], tick["best_ask"]
            key = *market, named or at.date().isoformat()
            ticks = sessions.setdefault(key, [])
            ticks.append((bid, ask, ask - bid, at, late))
            result.rows.append(
                (
                    *record[:2], *key, tick["type"], trade_id, at, bid, ask, (bid + ask) / 2, ask - bid,
                    max(t[0] for t in ticks), min(t[1] for t in ticks), max(t[2] for t in ticks),
                )
            )  # fmt: skip
    for key, ticks in sessions.items():
        top, low, wide = max(t[0] for t in ticks), min(t[1] for t in ticks), max(t[2] for t in ticks)
        newest = max(enumerate(ticks), key=lambda numbered: (numbered[1][3], numbered[0]))[1]
        result.extremes[key] = (
            top, next(t[3] for t in ticks if t[0] == top),
            low, next(t[3] for t in ticks if t[1] == low),
            wide, next(t[3] for t in ticks if t[2] == wide),
            newest[0], newest[1], newest[3], min(t[3] for t in ticks), len(ticks), sum(t[4] for t in ticks),
        )  # fmt: skip
    return result


def tick(
    bid: str, ask: str, second: float = 0, trade_id: int | None = None, pair: str = "BTC-USD", **more: Any
) -> dict[str, Any]:
    at = (DAY + timedelta(seconds=second)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    fields = {"type": "ticker", "product_id": pair, "best_bid": bid, "best_ask": ask, "time": at} | more
    return fields if trade_id is None else fields | {"trade_id": trade_id}


@pytest.fixture
def bench(settings: Settings) -> Bench:
    create_topic(settings, 3)
    return Bench(settings)


# The whole way


@pytest.mark.slow
def test_simulated_ticks_with_bad_ones_are_all_accounted_for(cli: Cli, bench: Bench) -> None:
    cli("simulate", "--rate", "0", "--count", "4000", "--seed", "1", "--bad", "0.05", "--step", "1m")
    done = cli("process", "--group", bench.group, "--until-caught-up")
    outcomes = bench.check()
    assert outcomes.total() == 4000
    assert 150 < outcomes["rejected"] < 250
    said = f"{outcomes['metrics']:,} stored, {outcomes['rejected']:,} rejected, 0 duplicates, 0 late"
    assert done.stdout == f"group {bench.group}: {said}\n"
    # Again: everything is stored, nothing is written.
    again = cli("process", "--group", bench.group, "--until-caught-up")
    assert again.stdout == f"group {bench.group}: 0 stored, 0 rejected, 0 duplicates, 0 late\n"
    assert bench.check() == outcomes


def test_a_query_written_for_the_original_table_works_unchanged(bench: Bench) -> None:
    bench.send(tick("10.5", "11"), tick("10.25", "12"))
    bench.process()
    [(id1, *_), row] = bench.rows(
        "SELECT id, pair, bid, ask, mid_price, spread, highest_bid, lowest_ask, max_spread, timestamp "
        "FROM crypto_metrics ORDER BY id"
    )
    assert row[0] > id1
    assert [str(value) for value in row[1:9]] == [
        "BTC-USD", "10.25", "12", "11.125", "1.75", "10.5", "11", "1.75",
    ]  # fmt: skip
    assert row[9] == DAY


def test_the_size_of_batches_changes_nothing(bench: Bench) -> None:
    pairs = [f"P{n}-USD" for n in range(4)]
    bench.send(
        *(tick(str(50 + n % 7), str(60 - n % 5), n % 10, n * 7 % 20, pairs[n % 4]) for n in range(300))
    )
    for group, batch in (("one", 1), ("seven", 7), ("all", 10_000)):
        bench.process(group, batch=batch)
        assert bench.check(group)["duplicates"] > 0


def test_partitions_may_be_empty(settings: Settings) -> None:
    create_topic(settings, 12)
    bench = Bench(settings)
    bench.process()
    assert bench.check().total() == 0
    bench.send(tick("1", "2"))
    bench.process()
    assert bench.check() == Counter(metrics=1)
    assert len(bench.rows("SELECT FROM consumer_offsets")) == 12


def test_a_group_that_begins_late_begins_at_the_oldest_record_there_is(bench: Bench) -> None:
    bench.send(*(tick("1", "2", n, n) for n in range(10)), partition=1)
    admin = AdminClient(client.client_conf(bench.settings))
    [deleted] = admin.delete_records([TopicPartition(bench.settings.kafka_topic, 1, 6)]).values()
    deleted.result(LIMIT_S)
    bench.process()
    assert bench.check() == Counter(metrics=4)
    assert bench.rows("SELECT first_offset, next_offset FROM consumer_offsets WHERE kafka_partition = 1") == [
        (6, 10)
    ]


# Sessions, duplicates, late ticks


@pytest.mark.slow
def test_restarts_change_nothing(bench: Bench) -> None:
    stream = [
        *(tick(bid, "10", n, n) for n, bid in enumerate(["5", "7", "6"])),
        tick("5", "10", 0, 0),  # a duplicate of the first
        tick("8", "9", 20, 20),
        tick("4", "11", 15, 15),  # late
        tick("4", "11", 15, 15),  # and again
        tick("4", "11", 16, 15),  # the same trade at another time is another tick
        tick("4", "11", 1, None),
        tick("4", "11", 1, None),  # without a trade nothing is a duplicate
        tick("1", "20", 86_400, 21),  # the next day
        tick("3", "12", 3, 2),  # back in the first day, late
    ]
    for one in stream:
        bench.send(one)
        bench.process("restarted")
    bench.process("at once")
    assert bench.check("restarted") == bench.check("at once") == Counter(metrics=10, duplicates=2)
    late = "SELECT session, ticks, late FROM session_extremes WHERE consumer_group = %s ORDER BY 1"
    first, second = (DAY.date().isoformat(), (DAY + timedelta(days=1)).date().isoformat())
    assert bench.rows(late, "restarted") == [(first, 9, 3), (second, 1, 0)]


def test_duplicates_are_found_even_where_memory_had_to_give_up(bench: Bench) -> None:
    ids = [2 * n for n in range(3 * MAX_RANGES)]
    bench.send(*(tick("1", "2", n, n) for n in ids))
    bench.process()
    bench.send(*(tick("1", "2", n, n) for n in ids), *(tick("1", "3", n + 1, n + 1) for n in ids))
    bench.process()
    bench.send(*(tick("1", "2", n, n) for n in ids), *(tick("1", "3", n + 1, n + 1) for n in ids))
    bench.process()
    assert bench.check() == Counter(metrics=2 * len(ids), duplicates=3 * len(ids))


def test_the_highest_trade_id_there_can_be_is_one_like_any_other(bench: Bench) -> None:
    last = 2**63 - 2
    bench.send(tick("1", "2", 0, last), tick("1", "2", 1, 5))
    bench.process()
    bench.send(tick("1", "2", 0, last), tick("1", "2", 2, last - 1))
    bench.process()
    assert bench.check() == Counter(metrics=3, duplicates=1)


def test_groups_are_independent_and_say_which_row_is_whose(bench: Bench) -> None:
    bench.send(tick("1", "2", 0, 1), tick("2", "3", 1, 2))
    bench.process("first")
    bench.send(tick("3", "4", 2, 3), tick("3", "4", 2, 3), b"bad")
    bench.process("second", session="drill")
    assert bench.check("second", "drill") == Counter(metrics=3, duplicates=1, rejected=1)
    assert len(bench.metrics("id", "first")) == 2
    bench.process("first")
    assert bench.check("first") == Counter(metrics=3, duplicates=1, rejected=1)
    ids = [row[0] for group in ("first", "second") for row in bench.metrics("id", group)]
    assert len(set(ids)) == 6


def test_a_group_reads_one_topic(bench: Bench) -> None:
    bench.process("g")
    other = replace(bench.settings, kafka_topic=bench.settings.kafka_topic + "-other")
    create_topic(other, 1)
    with pytest.raises(UserError, match=f"group g has read the topic {bench.settings.kafka_topic}, not"):
        Bench(other).process("g")


def test_a_named_session_goes_on_across_days_and_restarts(cli: Cli, bench: Bench) -> None:
    name = "drill \\N 'of' %s \"ünï\""
    bench.send(tick("5", "9", 0, 1), tick("4", "8", 86_400, 2))
    cli("process", "--session", name, "--group", name, "--until-caught-up")
    bench.send(tick("3", "10", 2, 3))
    cli("process", "--session", name, "--group", name, "--until-caught-up")
    assert bench.check(name, name) == Counter(metrics=3)
    assert bench.rows("SELECT session, ticks FROM session_extremes") == [(name, 3)]


def test_names_with_anything_in_them_reach_the_table_as_they_are(bench: Bench) -> None:
    name = "tab\there, newline\nthere, return\r, back\\slash, \\N, \\., end\\"
    bench.send(tick("1", "2"))
    bench.process(name, name)
    assert bench.metrics("consumer_group, session", name) == [(name, name)]
    assert bench.rows("SELECT consumer_group, session FROM session_extremes") == [(name, name)]


# Kafka's own ways


@pytest.mark.slow
def test_transactions_leave_holes_that_are_counted(bench: Bench) -> None:
    writer = Producer(client.client_conf(bench.settings, **{"transactional.id": bench.settings.kafka_topic}))
    writer.init_transactions(LIMIT_S)
    numbers = itertools.count()

    def transaction(count: int, *, commit: bool) -> None:
        writer.begin_transaction()
        for _ in range(count):
            n = next(numbers)
            value = json.dumps(tick(str(100 - n), "200", n, n)).encode()
            writer.produce(bench.settings.kafka_topic, value, b"BTC-USD", partition=1)
        writer.flush(LIMIT_S)
        (writer.commit_transaction if commit else writer.abort_transaction)(LIMIT_S)

    transaction(2, commit=True)
    bench.process()  # the end is a marker
    assert bench.check() == Counter(metrics=2, holes=1)
    transaction(3, commit=False)
    bench.process()  # nothing but holes
    assert bench.check() == Counter(metrics=2, holes=5)
    bench.process()
    transaction(3, commit=False)
    transaction(1, commit=True)
    transaction(2, commit=False)
    bench.process()
    assert bench.check() == Counter(metrics=3, holes=13)
    bench.process("another")
    assert bench.check("another") == Counter(metrics=3, holes=13)
    bench.send(tick("1", "2", 99, 99), partition=1)
    bench.process()
    assert bench.check() == Counter(metrics=4, holes=13)


def test_an_open_transaction_is_not_waited_for(bench: Bench) -> None:
    writer = Producer(client.client_conf(bench.settings, **{"transactional.id": bench.settings.kafka_topic}))
    writer.init_transactions(LIMIT_S)
    bench.send(tick("1", "2", 0, 0), partition=1)
    writer.begin_transaction()
    writer.produce(
        bench.settings.kafka_topic, json.dumps(tick("1", "2", 1, 1)).encode(), b"BTC-USD", partition=1
    )
    writer.flush(LIMIT_S)
    bench.process()
    assert len(bench.metrics("id")) == 1
    writer.commit_transaction(LIMIT_S)
    bench.process()
    assert bench.check() == Counter(metrics=2, holes=1)


@pytest.mark.slow
def test_a_topic_that_got_more_partitions_keeps_its_extremes(settings: Settings) -> None:
    """A pair that moves to a new partition goes on from where its old one ends."""
    create_topic(settings, 1)
    bench = Bench(settings)
    pairs = [f"P{n}-USD" for n in range(8)]
    bench.send(*(tick("5", "9", n, n, pair) for n, pair in enumerate(pairs)))
    bench.process()
    bench.send(*(tick("8", "8.5", 20 + n, 20 + n, pair) for n, pair in enumerate(pairs)))
    admin = AdminClient(client.client_conf(settings))
    admin.create_partitions([NewPartitions(settings.kafka_topic, 4)])[settings.kafka_topic].result(LIMIT_S)
    grown = Bench(settings)
    grown.send(*(tick("6", "9.9", 40 + n, 40 + n, pair) for n, pair in enumerate(pairs)))
    grown.process()
    assert grown.check() == Counter(metrics=24)
    assert len(grown.rows("SELECT DISTINCT kafka_partition FROM crypto_metrics")) > 1


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_a_pair_that_lies_in_two_partitions_is_one_pair(bench: Bench, batch: int) -> None:
    """As after the topic grew, or with a foreign producer: one worker has both."""
    for number, (bid, trade) in enumerate([("150", 1), ("100", 2), ("149", 3), ("101", 4), ("102", 3)]):
        again = number == 4  # trade 3 once more, in the other partition
        time_ = 2 if again else number
        bench.send(tick("149" if again else bid, "200", time_, trade), partition=number % 2)
    bench.process(batch=batch)
    assert bench.rows("SELECT highest_bid, lowest_ask, ticks FROM session_extremes") == [(150, 200, 4)]
    assert bench.rows("SELECT trade_id, trade_ids::text FROM pair_state") == [(4, "{[1,5)}")]
    assert bench.rows("SELECT sum(metrics)::int, sum(duplicates)::int FROM consumer_offsets") == [(4, 1)]
    # After a restart, too.
    bench.send(tick("100", "200", 1, 2), partition=0)
    bench.process(batch=batch)
    assert bench.rows("SELECT sum(metrics)::int, sum(duplicates)::int FROM consumer_offsets") == [(4, 2)]


@pytest.mark.slow
def test_a_broker_that_lost_its_newest_records_is_noticed_each_time(cli: Cli, bench: Bench) -> None:
    """A power cut can do that. The topic has the id that it had, and ends before what is stored of it."""
    bench.send(*(tick(str(20 + n), str(60 - n), n, n if n % 3 else None, f"P{n % 5}-USD") for n in range(15)))
    bench.process()
    for time_ in (1, 2):
        with psycopg.connect(bench.settings.postgres()) as connection:
            # As if there had been three more in each partition.
            connection.execute(
                "INSERT INTO rejected_ticks "
                "(consumer_group, topic, kafka_partition, kafka_offset, reason, detail) "
                "SELECT consumer_group, topic, kafka_partition, next_offset + n, 'no_value', '' "
                "FROM consumer_offsets, generate_series(0, 2) AS n WHERE topic = %s",
                [bench.settings.kafka_topic],
            )
            connection.execute(
                "UPDATE consumer_offsets SET next_offset = next_offset + 3, rejected = rejected + 3 "
                "WHERE topic = %s",
                [bench.settings.kafka_topic],
            )
        with pytest.raises(CryptometricsError, match="newest records"):
            bench.process()
        bench.process(skip_lost=True)
        # Ticks with a trade id are recognised; the five without one are there again.
        assert len(bench.metrics("id")) == 15 + 5 * time_
        assert "each with exactly one outcome" in cli("verify", "--topic").stdout


@pytest.mark.slow
def test_a_partition_that_the_client_does_not_fetch_any_more_is_noticed(bench: Bench) -> None:
    catches_up_despite(lambda worker: worker._consumer.pause(), bench)


def test_a_client_that_left_the_group_and_does_not_join_again_is_replaced(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "PATIENCE_S", 1.0)
    monkeypatch.setattr(membership, "ASK_EVERY_S", 0.2)
    catches_up_despite(lambda worker: worker._consumer._consumer.unsubscribe(), bench)


def catches_up_despite(fault: Callable[[Worker], None], bench: Bench) -> None:
    """Let a worker store 300 ticks, and cause a fault once it has stored the first of them."""
    bench.send(*(tick("1", "2", trade_id=number) for number in range(300)))
    hit: list[Worker] = []

    def cause_once(worker: Worker) -> None:
        if worker.totals.metrics and not hit:
            hit.append(worker)
            fault(worker)

    options = WorkerOptions(bench.group, batch=10, until_caught_up=True)
    totals = bench.worker(options, deadline(), cause_once).run()
    assert hit
    assert totals.metrics == 300


def test_a_member_for_whom_no_partition_is_left_keeps_its_place(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "PATIENCE_S", 1.0)
    monkeypatch.setattr(membership, "ASK_EVERY_S", 0.2)
    topic = describe_topic(bench.settings)
    members = [
        GroupConsumer(bench.settings, topic, bench.group, f"w{n}") for n in range(topic.partitions + 1)
    ]
    for member in members:
        member.join(lambda _: None, lambda _: None, lambda _: None)
    is_over = deadline()
    settled_at = time.monotonic()
    while not is_over():
        for member in members:
            member.keep_place(0.01)
        idle = [member for member in members if not member.assigned]
        if len(idle) != 1:
            settled_at = time.monotonic()
            continue
        assert not idle[0].is_left_out()
        if idle[0]._membership._placed_at > settled_at + 3:  # after that time, Kafka has said so again
            break
    assert not is_over()
    for member in members:
        member.close()


@pytest.mark.slow
def test_a_topic_that_goes_while_a_worker_starts_over_ends_it(bench: Bench) -> None:
    bench.send(*(tick("1", "2", trade_id=number) for number in range(3)))
    deleted: list[Worker] = []

    def delete_once(worker: Worker) -> None:
        if worker.totals.metrics and not deleted:
            deleted.append(worker)
            delete_topic(bench.settings)
            with contextlib.suppress(UserError):  # raised when it is gone
                while not is_over():
                    describe_topic(bench.settings)
            worker._doubt = "to start over"

    is_over = deadline()
    worker = bench.worker(WorkerOptions(bench.group), is_over, delete_once)
    with pytest.raises(CryptometricsError, match=r"Kafka refuses to go on|is gone"):
        worker.run()
    assert worker.totals.measured.retries == 1  # it is not tried again


def test_a_topic_that_grows_while_a_worker_starts_is_the_same_for_all_its_parts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.send(*(tick("1", "2", trade_id=number) for number in range(3)))
    admin = AdminClient(client.client_conf(bench.settings))
    seen: list[int] = []

    def describe_and_grow(*arguments: Any) -> Any:
        found = request(*arguments)
        seen.append(len(found.partitions))
        grown = NewPartitions(found.name, seen[-1] + 1)
        admin.create_partitions([grown])[found.name].result(LIMIT_S)
        return found

    monkeypatch.setattr("cryptometrics.kafka.topic.request", describe_and_grow)
    assert bench.process().metrics == 3
    assert seen == [3], "the topic was looked up more than once"


def test_a_worker_that_is_stopped_when_postgresql_is_gone_says_what_it_did(bench: Bench) -> None:
    bench.send(*(tick("1", "2", trade_id=number) for number in range(3)))
    stopped: list[Worker] = []

    def stop_without_database(worker: Worker) -> None:
        if worker.totals.metrics == 3 and not stopped:
            stopped.append(worker)
            worker._db.connection.close()

    is_over = deadline()
    options = WorkerOptions(bench.group)
    worker = bench.worker(options, lambda: bool(stopped) or is_over(), stop_without_database)
    assert worker.run().metrics == 3
    assert stopped


def test_a_worker_that_is_stopped_before_it_had_a_database_fails_with_the_reason(bench: Bench) -> None:
    bench.send(tick("1", "2"))
    away = Secret(f"postgresql://127.0.0.1:{free_port()}/away")
    settings = replace(bench.settings, database_url=away)
    troubles: list[str] = []

    def note(worker: Worker) -> None:
        if worker.trouble:
            troubles.append(worker.trouble)

    with pytest.raises(ServiceUnavailableError, match=r"PostgreSQL.*[Cc]onnection refused"):
        run_worker(settings, WorkerOptions(bench.group), stop=lambda: bool(troubles), progress=note)
    assert all("onnection refused" in trouble for trouble in troubles)


def test_a_worker_that_stored_nothing_and_has_lost_its_database_fails_with_the_reason(bench: Bench) -> None:
    bench.send(tick("1", "2"))
    lost: list[Worker] = []

    def lose(worker: Worker) -> None:
        if not lost:
            lost.append(worker)
            away = Secret(f"postgresql://127.0.0.1:{free_port()}/away")
            worker._settings = replace(bench.settings, database_url=away)
            worker._db.connection.close()

    def stop() -> bool:
        return bool(lost) and "refused" in (lost[0].trouble or "")

    worker = bench.worker(WorkerOptions(bench.group), stop, lose)
    with pytest.raises(ServiceUnavailableError, match=r"nothing was stored: .*refused"):
        worker.run()


def test_kafkas_own_offset_follows_for_lag_tools(bench: Bench) -> None:
    bench.send(*(tick("1", "2", n, n, f"P{n % 5}-USD") for n in range(50)))
    bench.process()
    consumer = Consumer(client.client_conf(bench.settings, **{"group.id": bench.group}))
    partitions = [TopicPartition(bench.settings.kafka_topic, number) for number in range(3)]
    committed = {p.partition: p.offset for p in consumer.committed(partitions, timeout=LIMIT_S)}
    consumer.close()
    stored = dict(bench.rows("SELECT kafka_partition, next_offset FROM consumer_offsets"))
    assert {n: offset for n, offset in committed.items() if offset >= 0} == {
        n: offset for n, offset in stored.items() if offset > 0
    }


def test_a_record_with_a_time_that_no_calendar_has(settings: Settings) -> None:
    """Brokers can be configured to accept any time, and some do by default."""
    admin = AdminClient(client.client_conf(settings))
    config = {"message.timestamp.after.max.ms": str(2**63 - 1)}
    topic = NewTopic(settings.kafka_topic, num_partitions=1, replication_factor=1, config=config)
    admin.create_topics([topic])[settings.kafka_topic].result(LIMIT_S)
    bench = Bench(settings)
    bench.send(b"bad", timestamp=2**62)
    bench.send(tick("1", "2"), timestamp=2**62)
    bench.process()
    assert bench.check() == Counter(metrics=1, rejected=1)


# Exact numbers, exact times


def test_the_widest_prices_are_stored_digit_by_digit(bench: Bench) -> None:
    widest = "9" * 20 + "." + "9" * 18
    tiny = "0." + "0" * 17 + "1"
    bench.send(tick(tiny, widest), tick("1.10", "1.100"), tick(tiny, tiny))
    bench.process()
    bench.check()
    texts = bench.metrics("bid::text, ask::text, mid_price::text, spread::text, max_spread::text")
    assert texts[0] == (
        tiny,
        widest,
        "5" + "0" * 19 + "." + "0" * 19,
        "9" * 20 + "." + "9" * 17 + "8",
        "9" * 20 + "." + "9" * 17 + "8",
    )
    assert texts[1][:2] == ("1.10", "1.100")
    assert Decimal(texts[2][3]) == 0


def test_a_time_is_cut_to_microseconds_and_stays_in_its_day(bench: Bench) -> None:
    day = DAY.date().isoformat()
    stream = [
        tick("1", "2", time=f"{day}T23:59:59.9999999Z", trade_id=1),
        tick("2", "3", time=f"{day}T23:59:59.999999999999+00:00", trade_id=2),
        tick("3", "4", time=f"{day}T05:30:00.5+05:45", trade_id=3),  # still the day before
        tick("4", "5", time=f"{day}T23:30:00-01:00", trade_id=4),  # already the day after
        tick("4", "5", time=f"{day}T23:59:59.999999Z", trade_id=1),  # the same moment as the first
    ]
    bench.send(*stream)
    bench.process()
    assert bench.check() == Counter(metrics=4, duplicates=1)
    before, after = ((DAY + timedelta(days=n)).date().isoformat() for n in (-1, 1))
    assert bench.metrics("session, (timestamp AT TIME ZONE 'UTC')::date::text") == [
        (d, d) for d in (day, day, before, after)
    ]


def test_each_day_has_its_partition_and_old_ones_share_one(bench: Bench) -> None:
    now = datetime.now(UTC)
    ahead = now + timedelta(hours=23, minutes=59)
    old = [datetime(2009, 1, 1, tzinfo=UTC), datetime(2021, 4, 17, 12, tzinfo=UTC), DAY]
    bench.send(*(tick("1", "2", time=at.isoformat(), trade_id=n) for n, at in enumerate([*old, now, ahead])))
    bench.process()
    assert bench.check() == Counter(metrics=5)
    tables = [row[0] for row in bench.metrics("tableoid::regclass::text")]
    assert tables == [*["crypto_metrics_before"] * 3, *(f"crypto_metrics_{at:%Y%m%d}" for at in (now, ahead))]


# What PostgreSQL refuses


def refuse(bench: Bench, trade_ids: Sequence[int]) -> None:
    with psycopg.connect(bench.settings.postgres()) as connection:
        listed = ", ".join(map(str, trade_ids))
        connection.execute(
            f"ALTER TABLE crypto_metrics ADD CONSTRAINT never CHECK (trade_id NOT IN ({listed}))".encode()
        )


@pytest.mark.slow
@pytest.mark.parametrize("batch", [10_000, 3])
def test_what_postgresql_refuses_is_found_and_the_others_are_stored(bench: Bench, batch: int) -> None:
    """The refused ones would have been the extremes, so whatever follows shows whether they counted."""
    refused = [0, 3, 4, 17, 39]
    refuse(bench, refused)
    extremes = {n: ("90", "91") if n % 2 else ("1", "99") for n in refused}
    bench.send(
        *(
            tick(*extremes.get(n, (f"{40 + n % 9}", f"{60 - n % 7}")), n, n, f"P{n % 5}-USD")
            for n in range(40)
        ),
        b"bad",
    )
    bench.process(batch=batch)
    assert bench.check(refused=refused) == Counter(metrics=35, rejected=6)
    rejected = bench.rows("SELECT detail FROM rejected_ticks WHERE reason = 'refused_by_postgres'")
    assert len(rejected) == 5
    assert all('violates check constraint "never"' in detail for (detail,) in rejected)
    # And on: the same group goes on after them.
    bench.send(tick("41", "42", 50, 50))
    bench.process()
    assert bench.check(refused=refused) == Counter(metrics=36, rejected=6)


@pytest.mark.slow
def test_a_whole_batch_may_be_refused(bench: Bench) -> None:
    refuse(bench, range(8))
    bench.send(*(tick("1", "2", n, n) for n in range(8)))
    totals = bench.process()
    assert bench.check(refused=range(8)) == Counter(rejected=8)
    assert totals.rejected == 8


@pytest.mark.slow
def test_many_refusals_do_not_cost_the_place_in_the_group(cli: Cli, bench: Bench) -> None:
    """To find them takes longer than Kafka lets a member go unheard."""
    with psycopg.connect(bench.settings.postgres()) as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF NEW.trade_id >= 100 THEN RETURN NEW; END IF; PERFORM pg_sleep(0.04); "
            "RAISE 'never' USING ERRCODE = 'check_violation', CONSTRAINT = 'never'; END $$"
        )
        connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON crypto_metrics FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    bench.send(*(tick("1", "2", n, n) for n in range(150)))
    done = cli(
        *("process", "--group", bench.group, "--until-caught-up", "--batch", "100"),
        env={"KAFKA_CONF_MAX_POLL_INTERVAL_MS": "7000"},
    )
    assert "maximum poll interval" not in done.stderr
    assert bench.check(refused=range(100)) == Counter(rejected=100, metrics=50)


@pytest.mark.slow
def test_a_rejection_that_postgresql_refuses_too_is_told(bench: Bench) -> None:
    refuse(bench, [2])
    with psycopg.connect(bench.settings.postgres()) as connection:
        connection.execute("ALTER TABLE rejected_ticks ADD CONSTRAINT neither CHECK (false)")
    bench.send(*(tick("1", "2", n, n) for n in range(4)))
    with pytest.raises(CryptometricsError, match=r'offset 2 of partition 0 even as a rejected .*"neither"'):
        bench.process()
    assert len(bench.metrics("kafka_offset")) == 2


# Processes


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_what_is_in_hand(cli: Cli, bench: Bench, number: signal.Signals) -> None:
    cli("simulate", "--rate", "0", "--count", "3000", "--bad", "0.1")
    process = cli.start("process", "--group", bench.group, "--batch", "100")
    bench.wait_for("SELECT count(*) FROM crypto_metrics", lambda count: count > 0)
    process.send_signal(number)
    output, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    found = re.fullmatch(
        rf"group {bench.group}: ([0-9,]+) stored, ([0-9,]+) rejected, 0 duplicates, 0 late\n", output
    )
    assert found
    said = [int(text.replace(",", "")) for text in found.groups()]
    assert said == [
        bench.rows("SELECT count(*) FROM crypto_metrics")[0][0],
        bench.rows("SELECT count(*) FROM rejected_ticks")[0][0],
    ]
    bench.process()
    assert bench.check().total() == 3000


def test_ticks_that_arrive_within_the_budget_share_a_transaction(cli: Cli, bench: Bench) -> None:
    process = cli.start("process", "--group", bench.group, "--latency", "1s")
    bench.send(tick("5", "9"))
    bench.wait_for("SELECT count(*) FROM crypto_metrics", lambda count: count == 1)  # it waits no longer
    begun = time.monotonic()
    for number in range(1, 41):
        bench.send(tick("5", "9", number, number, f"P{number % 7}-USD"))  # each acknowledged before the next
    sent_within = time.monotonic() - begun
    bench.wait_for("SELECT count(*) FROM crypto_metrics", lambda count: count == 41)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors
    transactions = bench.rows("SELECT count(DISTINCT recorded_at) FROM crypto_metrics")[0][0]
    # One for the first tick, and one for each answer of the broker, of which two are cut by begin and end.
    assert transactions <= 1 + sent_within / 0.99 + 2
    assert bench.check() == Counter(metrics=41)


def test_a_backlog_does_not_wait_for_the_budget(cli: Cli, bench: Bench) -> None:
    count, batch = 30_000, 1000
    bench.send(*(tick("5", "9", number / 1000, number, f"P{number % 7}-USD") for number in range(count)))
    process = cli.start("process", "--group", bench.group, "--latency", "1s", "--batch", str(batch))
    bench.wait_for("SELECT count(*) FROM crypto_metrics", lambda stored: stored == count)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors
    transactions, lasted = bench.rows(
        "SELECT count(DISTINCT recorded_at), extract(epoch FROM max(recorded_at) - min(recorded_at))::float "
        "FROM crypto_metrics"
    )[0]
    assert transactions >= count / batch
    assert lasted < transactions / 2  # at a budget each, they would take as many seconds
    assert bench.check() == Counter(metrics=count)


@pytest.mark.slow
def test_a_handover_waits_for_no_more_than_the_budget(cli: Cli, bench: Bench) -> None:
    budget = 1.0
    worker = "process", "--group", bench.group, "--latency", f"{budget:g}s"
    claims: dict[tuple[int, int], datetime] = {}
    sent = 0

    def go_on(condition: str) -> bool:
        """Send another tick, note claims of partitions, and return what a query of them says."""
        nonlocal sent
        bench.send(tick("5", "9", sent, sent, f"P{sent % 7}-USD"))
        sent += 1
        for partition, epoch, now in connection.execute(
            "SELECT kafka_partition, epoch, clock_timestamp() FROM consumer_offsets WHERE epoch > 0"
        ):
            claims.setdefault((partition, epoch), now)
        row = connection.execute(
            f"SELECT {condition} FROM consumer_offsets WHERE epoch > 0".encode()
        ).fetchone()
        return bool(row and row[0])

    with psycopg.connect(bench.settings.postgres(), autocommit=True) as connection:
        first = cli.start(*worker)
        wait_until(lambda: go_on("sum(metrics) > 0"), "the first worker stores ticks", running=first)
        second = cli.start("process", "--group", bench.group, "--latency", f"{budget:g}s")
        wait_until(
            lambda: go_on("count(DISTINCT owner) = 2"), "the second worker has a partition", running=second
        )
        first.send_signal(signal.SIGTERM)
        _, errors = first.communicate(timeout=LIMIT_S)
        assert first.returncode == 0, errors
        wait_until(lambda: go_on("count(DISTINCT owner) = 1"), "the second has all", running=second)
        bench.wait_for("SELECT count(*) FROM crypto_metrics", lambda count: count == sent)
    second.send_signal(signal.SIGTERM)
    _, errors = second.communicate(timeout=LIMIT_S)
    assert second.returncode == 0, errors
    assert bench.check() == Counter(metrics=sent)
    stored = bench.rows("SELECT kafka_partition, recorded_at FROM crypto_metrics ORDER BY recorded_at")
    assert len(claims) > 3
    waits = [
        (after[0] - claimed_at).total_seconds()
        for (partition, _), claimed_at in claims.items()
        if (after := [at for number, at in stored if number == partition and at > claimed_at])
    ]
    # Ticks were waiting for the new owner: it may hold them for its own budget, and not for another.
    assert waits
    assert max(waits) < 2 * budget + 1


def test_a_budget_that_is_not_valid_is_refused(cli: Cli, settings: Settings) -> None:
    for value in ("1ms", "2s", "soon", "-1"):
        errors = cli("process", "--latency", value, code=2).stderr
        assert "--latency" in errors
        assert "Traceback" not in errors


@pytest.mark.slow
def test_a_second_process_of_a_group_takes_its_share(cli: Cli, bench: Bench) -> None:
    pairs = [f"P{n}-USD" for n in range(20)]
    ticks = [tick(str(5 + n % 3), str(9 - n % 2), n, n, pairs[n % 20]) for n in range(1000)]
    bench.send(*ticks[:500])
    first = cli.start("process", "--group", bench.group)
    bench.wait_for("SELECT count(*) FROM crypto_metrics", lambda count: count == 500)
    second = cli.start("process", "--group", bench.group)
    owners = "SELECT count(DISTINCT owner) FROM consumer_offsets WHERE epoch > 0"
    bench.wait_for(owners, lambda count: count == 2)
    bench.send(*ticks[500:])
    bench.wait_for("SELECT count(*) FROM crypto_metrics", lambda count: count == 1000)
    done = []
    for process in (first, second):
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, errors
        stored = re.search(r"([0-9,]+) stored", output)
        assert stored
        done.append(int(stored[1].replace(",", "")))
    assert sum(done) == 1000
    assert min(done) > 0
    assert bench.check() == Counter(metrics=1000)


@pytest.mark.slow
def test_several_of_a_group_all_end_when_it_has_caught_up(cli: Cli, bench: Bench) -> None:
    cli("simulate", "--rate", "0", "--count", "4000", "--bad", "0.05")
    processes = [
        cli.start("process", "--until-caught-up", "--group", bench.group, "--batch", "50") for _ in range(3)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=2 * LIMIT_S)
        assert process.returncode == 0, errors
    assert bench.check().total() == 4000


def test_a_topic_that_is_not_there_is_said_and_not_made(settings: Settings) -> None:
    for _ in range(2):
        with pytest.raises(UserError, match=r"there is no topic .*cryptometrics init-db"):
            Bench(settings).process()
