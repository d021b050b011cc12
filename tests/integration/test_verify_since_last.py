"""`verify --since-last`: proves what came after the mark, and that as much as then comes before it."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from confluent_kafka import Producer

from cryptometrics.feeds.simulator.bad_ticks import spoiled
from cryptometrics.kafka import client
from cryptometrics.kafka.topic import create_topic
from cryptometrics.pipeline.options import WorkerOptions
from cryptometrics.pipeline.start_worker import run_worker
from cryptometrics.store.connection import connect
from cryptometrics.store.migrate import migrate
from cryptometrics.verify.findings import FindingKind
from cryptometrics.verify.mark import load_mark, save_mark
from cryptometrics.verify.verification import GroupReport, verify
from tests.integration.test_verify import ONE, Source, tick
from tests.waiting import LIMIT_S, deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptometrics.config import Settings
    from cryptometrics.local.services import Services
    from tests.conftest import Cli

FIRST, SECOND = range(300), range(250, 500)
"""Numbers of the ticks before and after the mark: some come again, and share minutes and sessions."""
OLD = "consumer_group = 'g' AND kafka_offset = (SELECT min(kafka_offset) FROM crypto_metrics)"


@pytest.fixture(scope="module")
def source(services: Services) -> Iterator[Source]:
    """Return a topic and a database with a mark, and rows after it."""
    with contextlib.closing(Source(services)) as made:
        with psycopg.connect(made.settings.postgres()) as connection:
            migrate(connection)
        create_topic(made.settings, 2)
        publish_and_process(made.settings, FIRST)
        report = since_last(made.settings)
        assert report.since is None
        assert report.findings == []
        publish_and_process(made.settings, SECOND)
        yield made


def publish_and_process(settings: Settings, numbers: range) -> None:
    """Publish ticks, some of them bad, and store them."""
    before = offsets(settings)
    producer = Producer(client.client_conf(settings, partitioner="murmur2_random"))
    for number in numbers:
        good_key, good_value = tick(number)
        is_bad = number % 8 == 5
        key, value = spoiled(number // 8, good_key, good_value) if is_bad else (good_key, good_value)
        producer.produce(settings.kafka_topic, value, key)
    assert producer.flush(LIMIT_S) == 0
    run_worker(settings, WorkerOptions("g", batch=64, until_caught_up=True), stop=deadline())
    assert offsets(settings) == before + len(numbers)


def offsets(settings: Settings) -> int:
    """Return how many offsets were stored."""
    with connect(settings) as connection:
        (count,) = connection.execute("SELECT sum(next_offset) FROM consumer_offsets").fetchone() or (0,)
    return int(count or 0)


def since_last(settings: Settings, *, topic: bool = False, keep: bool = True) -> GroupReport:
    """Verify from the mark, and keep the next one."""
    with connect(settings) as connection:
        (report,) = verify(connection, settings=settings if topic else None, since_last=True)
        if keep and report.mark is not None:
            assert save_mark(connection, "g", report.mark)
    return report


def whole(settings: Settings) -> GroupReport:
    """Verify everything."""
    with connect(settings) as connection:
        (report,) = verify(connection, group="g")
    return report


@pytest.fixture
def damaged(source: Source) -> Callable[[str], Settings]:
    """Return a function that damages a copy."""

    def damage(statement: str) -> Settings:
        settings = source.copy()
        with connect(settings) as connection:
            assert connection.execute(statement.encode()).rowcount != 0
        return settings

    return damage


def kinds(report: GroupReport) -> set[tuple[str, str | None]]:
    """Return what was found."""
    return {(finding.kind, finding.column) for finding in report.findings}


def test_only_what_came_after_the_mark_is_verified(source: Source) -> None:
    settings = source.copy()
    report = since_last(settings)
    assert report.findings == []
    assert report.since is not None
    assert 0 < report.offsets == sum(book.offsets for book in report.books) - len(FIRST)
    again = since_last(settings)
    assert (again.offsets, again.findings) == (0, [])
    assert again.since is not None
    assert again.since > report.since
    # The fingerprints of both runs add up to that of all rows.
    assert whole(settings).findings == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("mid_price = mid_price + 1", (FindingKind.ROW, "mid_price")),
        ("highest_bid = highest_bid - 0.01", (FindingKind.ROW, "highest_bid")),
        ("lowest_ask = lowest_ask + 0.01", (FindingKind.ROW, "lowest_ask")),
        ("bid = bid - 0.01", (FindingKind.WINDOW, None)),
        ("session = 'another'", (FindingKind.SESSION, "ticks")),
        ("trade_id = 5000000", (FindingKind.UNKNOWN_TO_STATE, "trade_id")),
        ("kafka_offset = kafka_offset + 100000", (FindingKind.MISSING, None)),
    ],
)
def test_damage_after_the_mark_is_found(damaged: Any, change: str, expected: tuple[str, str | None]) -> None:
    assert expected in kinds(since_last(damaged(f"UPDATE crypto_metrics SET {change} WHERE {ONE}")))


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            f"DELETE FROM crypto_metrics WHERE {OLD}",
            {(FindingKind.COUNT, "metrics"), (FindingKind.DAY, None)},
        ),
        (
            f"INSERT INTO crypto_metrics SELECT * FROM crypto_metrics WHERE {OLD}",
            {(FindingKind.COUNT, "metrics"), (FindingKind.DAY, None)},
        ),
        (
            "DELETE FROM rejected_ticks WHERE kafka_offset = (SELECT min(kafka_offset) FROM rejected_ticks)",
            {(FindingKind.COUNT, "rejected")},
        ),
        ("UPDATE session_extremes SET highest_bid = highest_bid + 1", {(FindingKind.SESSION, "highest_bid")}),
        ("UPDATE session_extremes SET ticks = ticks + 1", {(FindingKind.SESSION, "ticks")}),
        ("UPDATE pair_state SET trade_id = trade_id + 1", {(FindingKind.PAIR, "trade_id")}),
        ("UPDATE consumer_offsets SET metrics = metrics + 1", {(FindingKind.COUNT, "metrics")}),
        ("UPDATE consumer_offsets SET next_offset = next_offset + 1", {(FindingKind.MISSING, None)}),
        ("UPDATE metric_days SET rows = rows + 1", {(FindingKind.DAY, None)}),
    ],
)
def test_what_the_mark_covers_is_counted(
    damaged: Any, statement: str, expected: set[tuple[str, str | None]]
) -> None:
    report = since_last(damaged(statement))
    assert expected <= kinds(report)
    assert report.mark is None


@pytest.mark.parametrize(
    "statement",
    [
        # Values that follow from one another, so that no other check can find the change.
        f"UPDATE crypto_metrics SET recorded_at = recorded_at + interval '1 second' WHERE {OLD}",
        "UPDATE rejected_ticks SET value = 'x' WHERE id = (SELECT min(id) FROM rejected_ticks)",
    ],
)
def test_a_whole_verification_finds_what_changed_before_the_mark(damaged: Any, statement: str) -> None:
    settings = damaged(statement)
    assert since_last(settings, keep=False).findings == []
    assert kinds(whole(settings)) == {(FindingKind.MARK, None)}


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE consumer_offsets SET topic_id = 'another'", "is not read from where it was"),
        ("UPDATE verified_groups SET pruned_rows = 7", "rows were pruned since the last one"),
        ("UPDATE verified_offsets SET next_offset = next_offset + 10000", "was read less far than it was"),
    ],
)
def test_a_mark_that_does_not_hold_is_not_used(damaged: Any, statement: str, why: str) -> None:
    settings = damaged(statement)
    report = since_last(settings)
    assert report.findings == []
    assert report.since is None
    assert any("everything was verified, because" in note and why in note for note in report.notes)
    with connect(settings) as connection:
        mark = load_mark(connection, "g")
    assert mark is not None
    assert since_last(settings).since is not None


def test_the_topic_is_read_from_the_mark_on(source: Source) -> None:
    settings = source.copy()
    first = since_last(settings, topic=True)
    assert any("did not read the topic" in note for note in first.notes)
    publish_and_process(settings, range(500, 520))
    second = since_last(settings, topic=True)
    assert (second.offsets, second.unchecked, second.findings) == (20, 0, [])


def test_command(source: Source, cli_for: Callable[[Settings], Cli]) -> None:
    settings = source.copy()
    cli = cli_for(settings)
    done = cli("verify", "--since-last")
    assert any(line.startswith("note: group g: only what came after ") for line in done.stdout.splitlines())
    assert done.stdout.splitlines()[-1].startswith("verified: 250 offsets of 1 group")
    (answer,) = json.loads(cli("verify", "--since-last", "--json").stdout)["groups"]
    assert answer["offsets"] == 0
    assert answer["since"].endswith("Z")
    assert json.loads(cli("verify", "--json").stdout)["groups"][0]["since"] is None
