"""`cryptometrics prune`: days are dropped whole, nothing blocks, and the books always balance."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from confluent_kafka import Producer

from cryptometrics.errors import CryptometricsError, UserError
from cryptometrics.kafka import client
from cryptometrics.kafka.topic import create_topic
from cryptometrics.market.metrics import measure, open_session
from cryptometrics.market.ticks import Tick
from cryptometrics.pipeline.options import WorkerOptions
from cryptometrics.pipeline.start_worker import run_worker
from cryptometrics.store import copy_rows
from cryptometrics.store import prune as store
from cryptometrics.store.batch_transaction import Batch, DayRows, PartitionOutcome, write
from cryptometrics.store.connection import connect
from cryptometrics.store.partition_claims import GroupTopic
from cryptometrics.store.prune import Piece, first_kept_day, prunable, prune
from cryptometrics.verify.findings import FindingKind
from cryptometrics.verify.verification import GroupReport, _verify_group, verify
from tests.waiting import LIMIT_S, deadline, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cryptometrics.config import Settings
    from tests.conftest import Cli

PER_DAY = 40
PAIRS = ("BTC-USD", "ETH-USD", "SHIB-USD")


def today() -> date:
    """Return the day of the test, not of the run: that may last beyond midnight."""
    return datetime.now(UTC).date()


def first_day() -> date:
    """Return the day of `init-db`, so it seems."""
    return today() - timedelta(days=10)


def noon() -> datetime:
    """Return yesterday's noon: past at any hour of the test, and with time to the next day on either side."""
    return datetime.combine(today() - timedelta(days=1), time_of_day(12), UTC)


class Market:
    """A topic and a database in which days have passed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.group = settings.kafka_topic
        self.connection = connect(settings)
        self.connection.execute("DROP TABLE crypto_metrics_before")
        self.connection.execute(
            "CREATE TABLE crypto_metrics_before PARTITION OF crypto_metrics "
            f"FOR VALUES FROM (MINVALUE) TO ('{first_day()}Z')".encode()
        )
        create_topic(settings, 3)
        self._producer = Producer(client.client_conf(settings, partitioner="murmur2_random"))
        self._sent = 0

    def send(self, days_ago: int, count: int = PER_DAY) -> None:
        """Put ticks of one day on the topic; of every ten, one comes twice."""
        for _ in range(count):
            self._sent += 1
            pair = PAIRS[self._sent % len(PAIRS)]
            bid = 100 + (self._sent * 7919 % 101) / 4
            at = noon() - timedelta(days=days_ago - 1) + timedelta(milliseconds=10 * self._sent)
            value = {
                "type": "ticker",
                "product_id": pair,
                "best_bid": f"{bid:.2f}",
                "best_ask": f"{bid + self._sent % 9:.3f}",
                "time": at.isoformat(),
                "trade_id": self._sent,
            }
            for _ in range(1 + (self._sent % 10 == 0)):
                self._producer.produce(self.settings.kafka_topic, json.dumps(value).encode(), pair.encode())
        assert self._producer.flush(LIMIT_S) == 0

    def process(self, *groups: str, session: str | None = None) -> None:
        is_over = deadline()
        for group in groups or (self.group,):
            run_worker(
                self.settings,
                WorkerOptions(group, session, batch=25, until_caught_up=True),
                stop=is_over,
            )

    def prune(self, keep: int, wait: float = LIMIT_S) -> list[str]:
        with connect(self.settings) as connection:
            return [str(piece) for piece in prune(connection, cutoff(keep), wait=wait)]

    def verify(self, *, topic: bool = False, group: str | None = None) -> list[GroupReport]:
        with connect(self.settings) as connection:
            return list(verify(connection, group=group, settings=self.settings if topic else None))

    def found(self) -> set[FindingKind]:
        return {finding.kind for report in self.verify() for finding in report.findings}

    def value(self, query: str, *values: object) -> Any:
        row = self.connection.execute(query.encode(), values).fetchone()
        return row and row[0]


def cutoff(keep: int) -> date:
    return first_kept_day(datetime.now(UTC), timedelta(days=keep))


def day(days_ago: int) -> date:
    return today() - timedelta(days=days_ago)


def name(days_ago: int) -> str:
    return f"crypto_metrics_{day(days_ago):%Y%m%d}"


def right(reports: Sequence[GroupReport]) -> bool:
    assert [finding for report in reports for finding in report.findings] == []
    return bool(reports)


@pytest.fixture
def market(settings: Settings) -> Iterator[Market]:
    made = Market(settings)
    with made.connection:
        yield made


@pytest.fixture
def week(market: Market) -> Market:
    """Return seven days of processed ticks up to yesterday; two of the days alternate."""
    for days_ago in (7, 6, 5, 4, 5, 3, 2, 1):
        market.send(days_ago)
    market.process()
    return market


@pytest.fixture
def two_groups(week: Market) -> Market:
    """Return the same, processed by a second group, too, whose session has a name."""
    week.process("named", session="a name")
    assert right(week.verify(topic=True))
    return week


# What is dropped


def test_days_are_dropped_and_their_counts_stay(two_groups: Market, cli: Cli) -> None:
    planned = cli("prune", "--keep", "3d", "--dry-run").stdout.splitlines()
    assert [line.split(":")[0] for line in planned] == [
        *(f"would drop {day(ago)}" for ago in (7, 6, 5, 4)),
        "would drop in all",
    ]
    assert f" {2 * PER_DAY} rows, " in planned[0]
    assert f" {2 * 5 * PER_DAY} rows, " in planned[-1]
    assert two_groups.value("SELECT count(*) FROM crypto_metrics") == 2 * 8 * PER_DAY

    done = cli("prune", "--keep", "3d").stdout
    assert done.splitlines() == [line.replace("would drop", "dropped") for line in planned]
    assert two_groups.value("SELECT count(*) FROM crypto_metrics") == 2 * 3 * PER_DAY
    assert two_groups.value("SELECT min(timestamp)::date FROM crypto_metrics") == day(3)
    assert [two_groups.value("SELECT to_regclass(%s)::text", name(ago)) for ago in (4, 3)] == [None, name(3)]
    assert two_groups.value("SELECT count(*) FROM session_extremes") == (7 + 1) * len(PAIRS)

    for topic in (False, True):
        reports = two_groups.verify(topic=topic)
        assert right(reports)
        for report in reports:
            assert report.notes[0] == f"pruned: {5 * PER_DAY} rows of 4 days, from {day(7)} to {day(4)}"
            assert f"without them: {3 if report.group == 'named' else 12} sessions" in report.notes[1]
            assert report.unchecked == 0
    assert cli("prune", "--keep", "3d").stdout == f"nothing to prune: no metrics are older than {day(3)}\n"


def test_json_says_the_same(week: Market, cli: Cli) -> None:
    planned = json.loads(cli("prune", "--keep", "6d", "--dry-run", "--json").stdout)
    (dropped,) = planned["dropped"]
    assert dropped.pop("bytes") > 8192
    assert planned["dry_run"] is True
    assert dropped == {"day": str(day(7)), "before": False, "rows": PER_DAY}
    assert json.loads(cli("prune", "--keep", "6d", "--json").stdout)["dropped"][0]["day"] == str(day(7))
    assert json.loads(cli("prune", "--keep", "6d", "--json").stdout)["dropped"] == []


def test_everything_may_be_pruned_and_the_work_goes_on(two_groups: Market) -> None:
    two_groups.connection.execute("TRUNCATE rejected_ticks")
    assert len(two_groups.prune(1)) == 6
    assert right(two_groups.verify(topic=True))
    two_groups.send(1)
    two_groups.process(two_groups.group)
    two_groups.process("named", session="a name")
    assert right(two_groups.verify(topic=True))


@pytest.mark.parametrize(
    ("keep", "says"),
    [
        ("0d", "is less than a day"),
        ("23h", "is less than a day"),
        ("-1d", "is not a duration"),
        ("soon", "is not a duration"),
        ("9999999w", "is before the year 1"),
        ("", "is not a duration"),
    ],
)
def test_a_mistake_is_one_line(cli: Cli, keep: str, says: str) -> None:
    error = cli("prune", "--keep", keep, code=2).stderr
    assert says in error
    assert error.count("\n") == 1


def test_what_to_keep_must_be_said(cli: Cli) -> None:
    assert "--keep" in cli("prune", code=2).stderr


def test_without_a_schema_it_says_what_to_do(empty_database_settings: Settings, cli_for: Any) -> None:
    assert "init-db" in cli_for(empty_database_settings)("prune", "--keep", "30d", code=2).stderr


def test_only_one_prune_runs(week: Market) -> None:
    week.connection.execute("SELECT pg_advisory_lock(hashtext('crypto_metrics_prune'))")
    with pytest.raises(UserError, match="another"):
        week.prune(3)


# Before the first day


def test_what_lies_before_the_first_day_goes_when_all_of_it_is_old(market: Market, cli: Cli) -> None:
    for days_ago in (400, 30, 9):
        market.send(days_ago)
    market.process()
    for options, count in ((("--dry-run",), 2 * PER_DAY), ((), 2 * PER_DAY)):
        said = cli("prune", "--keep", "11d", *options).stdout
        assert said.startswith(
            f"{count:,} rows older than {day(11)} remain: the days before {first_day()} share"
        )
    told = json.loads(cli("prune", "--keep", "11d", "--json").stdout)
    assert (told["dropped"], told["older_rows_remaining"]) == ([], 2 * PER_DAY)
    assert market.prune(11) == []  # the newest that it may hold is younger than that
    assert market.prune(10) == [f"before {first_day()}"]
    assert market.value("SELECT count(*) FROM crypto_metrics") == PER_DAY
    assert right(market.verify(topic=True))
    assert market.prune(10) == []
    # It is still there for what comes late.
    market.send(400)
    market.process()
    assert market.value("SELECT count(*) FROM crypto_metrics_before") == PER_DAY
    assert right(market.verify(topic=True))
    assert market.prune(5) == [f"before {first_day()}", str(day(9))]
    assert right(market.verify(topic=True))
    assert market.value("SELECT count(*) FROM rejected_ticks") == 0


def test_a_tick_of_before_the_first_day_is_not_waited_for_for_long(market: Market) -> None:
    market.send(30)
    market.process()
    with connect(market.settings) as writer, writer.transaction():
        writer.execute("LOCK TABLE crypto_metrics_before IN ROW EXCLUSIVE MODE")
        with pytest.raises(CryptometricsError, match=f"before {first_day()} stayed in use"):
            market.prune(1, wait=0.5)
    assert market.prune(1) == [f"before {first_day()}"]
    assert right(market.verify())


# What verify still sees


DAMAGE = [
    ("DELETE FROM crypto_metrics WHERE id = (SELECT min(id) FROM crypto_metrics)", FindingKind.COUNT),
    ("DELETE FROM crypto_metrics WHERE id = (SELECT max(id) FROM crypto_metrics)", FindingKind.COUNT),
    # With the books and the counts forged to match, the offsets still tell.
    (
        """
            WITH gone AS (DELETE FROM crypto_metrics WHERE id = (SELECT max(id) FROM crypto_metrics)
                          RETURNING consumer_group, kafka_partition, timestamp::date AS day),
            counted AS (UPDATE metric_days d SET rows = rows - 1 FROM gone
                        WHERE (d.consumer_group, d.kafka_partition, d.day)
                            = (gone.consumer_group, gone.kafka_partition, gone.day))
            UPDATE pruned_days p SET rows = rows + 1 FROM gone
            WHERE (p.consumer_group, p.kafka_partition) = (gone.consumer_group, gone.kafka_partition)
              AND p.day = (SELECT max(day) FROM pruned_days)
            """,
        FindingKind.MISSING,
    ),
    ("UPDATE pruned_days SET rows = rows - 1", FindingKind.PRUNED),
    ("UPDATE pruned_days SET last_offset = last_offset - 1", FindingKind.MISSING),
    ("DELETE FROM pruned_days WHERE day = (SELECT max(day) FROM pruned_days)", FindingKind.PRUNED),
    ("UPDATE consumer_offsets SET metrics = metrics + 1, duplicates = duplicates - 1", FindingKind.COUNT),
    (
        "UPDATE session_extremes SET ticks = ticks + 1 WHERE first_at < now() - '5 days'::interval",
        FindingKind.SESSION,
    ),
    ("UPDATE crypto_metrics SET highest_bid = highest_bid - 0.01 WHERE session = 'a name'", FindingKind.ROW),
    ("UPDATE crypto_metrics SET spread = spread + 1 WHERE session = 'a name'", FindingKind.ROW),
    ("UPDATE crypto_metrics SET lowest_ask = lowest_ask - 0.01 WHERE session <> 'a name'", FindingKind.ROW),
    (f"DROP TABLE {name(2)}", FindingKind.DAY),
    (f"DROP TABLE {name(2)}", FindingKind.MISSING),
]


def test_damage_after_a_prune_is_found(two_groups: Market) -> None:
    two_groups.prune(3)
    assert right(two_groups.verify())
    for statement, expected in DAMAGE:
        with two_groups.connection.transaction(force_rollback=True):
            assert two_groups.connection.execute(statement.encode()).rowcount != 0
            reports = [
                _verify_group(two_groups.connection, g, None, lambda _: None)
                for g in (two_groups.group, "named")
            ]
        assert expected in {found.kind for report in reports for found in report.findings}, statement
    assert right(two_groups.verify())


def test_a_duplicate_may_repeat_what_was_pruned(week: Market) -> None:
    """And one that comes only now, whose tick nobody can look up any more, is stored."""
    rows = week.value("SELECT sum(metrics) FROM consumer_offsets")
    week.prune(3)
    week._sent = 0
    week.send(7)
    week.process(week.group)
    assert week.value("SELECT sum(metrics) FROM consumer_offsets") == rows + PER_DAY
    assert right(week.verify(topic=True))


# Late ticks


def test_a_late_tick_makes_its_day_again_and_is_counted_anew(week: Market) -> None:
    for again in (1, 2, 3):
        assert str(day(5)) in week.prune(3)
        week.send(5, 7)
        week.process(week.group)
        assert week.value(f"SELECT count(*) FROM {name(5)}") == 7
        assert right(week.verify(topic=True))
        days = "SELECT count(DISTINCT pruned_at) FROM pruned_days WHERE day = %s"
        assert week.value(days, day(5)) == again
    assert week.value("SELECT count(*) FROM rejected_ticks") == 0


def test_a_running_worker_makes_the_day_again_without_rejecting_anything(week: Market, cli: Cli) -> None:
    worker = cli.start("process", "--group", week.group)
    stored = "SELECT sum(metrics) FROM consumer_offsets WHERE consumer_group = %s"
    expected = 8 * PER_DAY
    for _ in range(2):  # the second time it remembers that the day has a partition
        week.send(5)
        expected += PER_DAY
        wait_until(lambda: week.value(stored, week.group) == expected, "all is stored")  # noqa: B023
        assert str(day(5)) in week.prune(3)
    week.send(5)
    wait_until(lambda: week.value(stored, week.group) == expected + PER_DAY, "the day is stored again")
    worker.terminate()
    assert worker.wait(LIMIT_S) == 0
    assert week.value("SELECT count(*) FROM rejected_ticks") == 0
    assert right(week.verify(topic=True))


# Interrupted


@pytest.fixture
def half_detached(week: Market) -> Iterator[psycopg.Connection]:
    """Interrupt a prune while it waits for a query; return that query's session, still in it."""
    with connect(week.settings) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM crypto_metrics")
        with pytest.raises(CryptometricsError, match=f"{day(7)} stayed in use"):
            week.prune(3, wait=0.01)
        yield reader


def test_a_detach_that_was_interrupted_is_finished_by_the_next_call(
    week: Market, half_detached: psycopg.Connection
) -> None:
    state = "SELECT attached FROM crypto_metrics_days WHERE day = %s"
    assert week.value(state, day(7)) is False
    assert right(week.verify(topic=True))
    with connect(week.settings) as connection:
        assert prunable(connection, cutoff(6))[0].rows == PER_DAY
    half_detached.execute("ROLLBACK")
    assert week.prune(30) == [str(day(7))]  # whatever must be kept now
    assert week.value("SELECT to_regclass(%s)", name(7)) is None
    assert week.value("SELECT count(*) FROM pruning_days") == 0
    assert right(week.verify(topic=True))


def test_a_late_tick_finishes_an_interrupted_prune_of_its_day(
    week: Market, half_detached: psycopg.Connection
) -> None:
    week.send(7)
    done = threading.Thread(target=week.process, args=(week.group,))
    done.start()
    time.sleep(0.5)  # it may run into the wait: it has to try again then
    half_detached.execute("ROLLBACK")
    done.join(LIMIT_S)
    assert week.value(f"SELECT count(*) FROM {name(7)}") == PER_DAY
    assert week.value("SELECT count(*) FROM rejected_ticks") == 0
    assert right(week.verify(topic=True))
    assert str(day(7)) in week.prune(3)
    assert right(week.verify(topic=True))


def test_a_crash_between_detach_and_drop_is_finished(week: Market) -> None:
    week.connection.execute("INSERT INTO pruning_days (day) VALUES (%s)", [day(7)])
    week.connection.execute(f"ALTER TABLE crypto_metrics DETACH PARTITION {name(7)} CONCURRENTLY".encode())
    assert right(week.verify(topic=True))
    assert week.prune(3)[0] == str(day(7))
    assert right(week.verify(topic=True))


def test_a_mark_without_a_detach_means_nothing(week: Market) -> None:
    """Also where less is dropped by the next call; and then the day can be missed again."""
    week.connection.execute("INSERT INTO pruning_days (day) VALUES (%s)", [day(2)])
    assert right(week.verify(topic=True))
    assert week.prune(30) == []
    week.connection.execute(f"DROP TABLE {name(2)}".encode())
    assert week.found() >= {FindingKind.MISSING, FindingKind.COUNT, FindingKind.DAY}


def test_what_was_detached_by_hand_stays(week: Market) -> None:
    week.connection.execute(f"ALTER TABLE crypto_metrics DETACH PARTITION {name(7)}".encode())
    assert str(day(7)) not in week.prune(3)
    assert week.value(f"SELECT count(*) FROM {name(7)}") == PER_DAY
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="attach it"):
        week.connection.execute("SELECT crypto_metrics_add_day(%s)", [day(7)])


# Beside others


def test_no_writer_waits(week: Market) -> None:
    """A transaction holds the detach up, while others write with hardly any patience for locks."""
    topic = GroupTopic("other", "t", "id")
    with connect(week.settings) as holder, connect(week.settings) as writer:
        week.connection.execute(
            "INSERT INTO consumer_offsets (consumer_group, topic, kafka_partition, topic_id, first_offset, "
            "next_offset, epoch, owner, backend_pid, backend_start) "
            "VALUES ('other', 't', 0, '', 0, 0, 1, '', 0, now())"
        )
        holder.execute("BEGIN")
        holder.execute("SELECT count(*) FROM crypto_metrics")
        pruning = threading.Thread(target=week.prune, args=(3,))
        pruning.start()
        detached = "SELECT count(*) FROM crypto_metrics_days WHERE NOT attached"
        wait_until(lambda: week.value(detached), "a day is detached")
        writer.execute("SET lock_timeout = '20ms'")
        tick = Tick("BTC-USD", "quote", Decimal(1), Decimal(2), noon(), None)
        measured = measure(tick, open_session(tick))
        for offset in range(50):
            fields = copy_rows.fields(tick, measured, open_session(tick), ("other", "s"), (0, offset))
            part = PartitionOutcome(1, offset, offset + 1, metrics=1)
            write(
                writer,
                topic,
                Batch(
                    {0: part}, single_rows=[fields], days=[DayRows(0, str(noon().date()), offset, offset, 1)]
                ),
            )
            writer.execute("SELECT crypto_metrics_add_day(%s)", [today()])
        assert pruning.is_alive()
        assert week.value("SELECT count(*) FROM crypto_metrics_days WHERE NOT attached") == 1
        holder.execute("ROLLBACK")
        pruning.join(LIMIT_S)
        assert not pruning.is_alive()
    assert week.value("SELECT rows FROM metric_days WHERE consumer_group = 'other'") == 50
    assert right(week.verify(group=week.group))


def test_a_long_query_is_waited_for_before_anything_is_taken_away(
    week: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LONG_USE", "0.1 seconds")
    with connect(week.settings) as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM crypto_metrics")
        time.sleep(0.2)
        with pytest.raises(CryptometricsError, match="has used crypto_metrics for"):
            week.prune(3, wait=0.3)
        assert week.value("SELECT count(*) FROM crypto_metrics_days WHERE NOT attached") == 0
    assert len(week.prune(3)) == 4


def test_verify_sees_one_moment_while_days_are_dropped(week: Market) -> None:
    """The moment is fixed after the table is held, so that a day is seen with its rows or with its counts."""
    for _ in range(5):
        pruning = threading.Thread(target=week.prune, args=(3,))
        pruning.start()
        while pruning.is_alive():
            assert right(week.verify())
        pruning.join()
        for days_ago in (7, 6, 5, 4):
            week.send(days_ago, 5)
        week.process(week.group)


def test_a_worker_goes_on_while_day_after_day_is_dropped(market: Market, cli: Cli) -> None:
    """Old and new ticks come in turns, so days are dropped and made again all the time; none is lost."""
    worker = cli.start("process", "--group", market.group)
    sent = 0
    dropped: list[str] = []
    slowest = 0.0
    is_enough, is_over = deadline(8), deadline()
    while not is_enough() or (len(dropped) <= 4 and not is_over()):
        for days_ago in (1, 3, 4):
            market.send(days_ago)
            sent += PER_DAY
        begun = time.monotonic()
        now = market.prune(2)
        slowest = max(slowest, (time.monotonic() - begun) / max(len(now), 1))
        dropped += now
    stored = "SELECT sum(metrics) FROM consumer_offsets"
    wait_until(lambda: market.value(stored) == sent, "all is stored")
    worker.terminate()
    assert worker.wait(LIMIT_S) == 0
    assert len(dropped) > 4
    assert slowest < 5  # the machine may be busy; alone it takes a hundredth of that
    assert market.value("SELECT count(*) FROM rejected_ticks") == 0
    assert right(market.verify(topic=True))


def test_a_piece_has_a_name() -> None:
    assert str(Piece(date(2026, 1, 31), False, 1, 1)) == "2026-01-31"
    assert str(Piece(date(2026, 1, 31), True, 1, 1)) == "before 2026-01-31"
