"""Topics that lose unread records, that are recreated, and that grow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

from cryptometrics.kafka import client
from cryptometrics.kafka.group_consumer import TOPIC_ID_EXPIRES_S
from tests.faults.ledger import PAIRS, Ledger, Load, Market, Sent
from tests.waiting import LIMIT_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.faults.arena import Arena

SEED = 23
FETCH_BYTES = 1024 * 1024
"""Bytes of one partition that Kafka sends in one answer at most: librdkafka's `max.partition.fetch.bytes`."""


@pytest.fixture
def admin(arena: Arena) -> AdminClient:
    return AdminClient(client.client_conf(arena.settings))


def done(futures: dict[Any, Any] | Iterable[Any]) -> None:
    for future in futures.values() if isinstance(futures, dict) else futures:
        future.result(LIMIT_S)


def process_all(arena: Arena, *arguments: str) -> tuple[int, str]:
    worker = arena.worker("--until-caught-up", *arguments)
    code = worker.wait(LIMIT_S)
    return code, worker.words()


def test_retention_took_what_was_not_read(arena: Arena, admin: AdminClient) -> None:
    topic = arena.settings.kafka_topic
    arena.load.send(4_000)
    assert process_all(arena)[0] == 0
    stored = arena.next_offsets()
    arena.load.send(4_000)
    gone = {partition: (stored[partition] + end) // 2 for partition, end in arena.load.ledger.ends().items()}
    done(admin.delete_records([TopicPartition(topic, p, offset) for p, offset in gone.items()]))

    code, words = process_all(arena)
    assert code == 1
    assert any(f"{offset - stored[partition]} ticks are gone" in words for partition, offset in gone.items())
    assert "--on-data-loss skip" in words
    assert arena.next_offsets() == stored, "a loss that was not accepted has moved the books"

    code, words = process_all(arena, "--on-data-loss", "skip")
    assert code == 0, words
    assert arena.ask(
        "SELECT kafka_partition, first_offset, last_offset FROM skipped_offsets "
        "WHERE reason = 'lost' ORDER BY kafka_partition"
    ) == [(p, stored[p], offset - 1) for p, offset in sorted(gone.items())]
    # The rest is as if those ticks had never been sent.
    for partition, offset in gone.items():
        arena.load.ledger.give_up(partition, range(stored[partition], offset))
    given_up = len(arena.load.ledger.given_up)
    arena.compare("retention takes unread ticks", 1, note=f"{given_up:,} reported, and skipped when asked to")


def test_retention_overtakes_a_running_worker(arena: Arena, admin: AdminClient) -> None:
    """To the client it is an offset out of range; a person hears how much is gone, or has it recorded.

    Kafka still answers the request of a suspended worker, and what is in that answer is not lost. So more
    than one answer can hold lies before the ticks that are lost.
    """
    topic, ledger = arena.settings.kafka_topic, arena.load.ledger
    for skip in (False, True):
        worker = arena.worker(*(("--on-data-loss", "skip") if skip else ()))
        arena.load.send(2_000)
        arena.wait_for("caught up", arena.caught_up)
        stored = arena.next_offsets()
        worker.freeze()
        fill_an_answer(arena)
        fetched = ledger.ends()
        arena.load.send(2_000)
        gone = {partition: (fetched[partition] + end) // 2 for partition, end in ledger.ends().items()}
        done(admin.delete_records([TopicPartition(topic, p, offset) for p, offset in gone.items()]))
        worker.thaw()
        if skip:
            arena.wait_for("caught up", arena.caught_up)
        else:
            assert worker.wait(LIMIT_S) == 1, worker.words()
            assert "ticks are gone" in worker.words()
            assert "--on-data-loss skip" in worker.words()
            assert process_all(arena, "--on-data-loss", "skip")[0] == 0
        lost = arena.ask(
            "SELECT kafka_partition, first_offset, last_offset FROM skipped_offsets "
            "WHERE reason = 'lost' AND last_offset >= (%s::bigint[])[kafka_partition + 1]",
            [stored.get(partition, 0) for partition in range(4)],
        )
        assert {partition: last + 1 for partition, _, last in lost} == gone
        for partition, first, last in lost:
            assert stored[partition] <= first < fetched[partition]
            ledger.give_up(partition, range(first, last + 1))
    arena.finish(
        "retention overtakes a running worker",
        2,
        note=f"{len(ledger.given_up):,} reported, or recorded as lost",
    )


def fill_an_answer(arena: Arena) -> None:
    """Send more rubbish to each partition than one answer to a fetch can hold."""
    rubbish = bytes(FETCH_BYTES // 2 + 1)
    for pair in PAIRS:
        for _ in range(2):
            arena.load.put(Sent(pair.encode(), rubbish, None))
    arena.load.flush()
    ends = arena.load.ledger.ends()
    assert len(ends) == 4, ends


def test_retention_took_the_beginning_of_a_new_partition(arena: Arena, admin: AdminClient) -> None:
    """The group was there before it, so it had to read all of it."""
    topic, ledger = arena.settings.kafka_topic, arena.load.ledger
    arena.load.send(2_000)
    assert process_all(arena)[0] == 0
    done(admin.create_partitions([NewPartitions(topic, 8)]))
    arena.wait_for_partitions(8)
    arena.load = Load(arena.settings, arena.load.source, ledger)
    arena.load.send(4_000)
    gone = {partition: end // 2 for partition, end in ledger.ends().items() if partition >= 4}
    assert gone
    done(admin.delete_records([TopicPartition(topic, p, offset) for p, offset in gone.items()]))

    code, words = process_all(arena)
    assert code == 1
    assert any(f"{offset} ticks are gone from partition {p}" in words for p, offset in gone.items())
    assert process_all(arena, "--on-data-loss", "skip")[0] == 0
    lost = arena.ask(
        "SELECT kafka_partition, first_offset, last_offset + 1 FROM skipped_offsets WHERE reason = 'lost'"
    )
    assert sorted(lost) == [(partition, 0, offset) for partition, offset in sorted(gone.items())]
    for partition, offset in gone.items():
        ledger.give_up(partition, range(offset))
    arena.finish(
        "retention takes a new partition's first ticks", 1, note=f"{len(ledger.given_up):,} reported"
    )


@pytest.mark.parametrize("longer", [False, True], ids=["shorter", "longer"])
def test_the_topic_was_made_again(arena: Arena, admin: AdminClient, longer: bool) -> None:
    """Also one that is already longer than what was read of the old one: its offsets look right."""
    arena.load.send(3_000)
    assert process_all(arena)[0] == 0
    rows = arena.ask("SELECT count(*) FROM crypto_metrics")[0][0]
    before = arena.next_offsets()
    arena.remake_topic()
    arena.begin(Market(SEED), Ledger())
    arena.load.send(6_000 if longer else 500)

    code, words = process_all(arena)
    assert code == 1, words
    assert "was recreated" in words
    assert "--on-data-loss skip" in words
    assert arena.next_offsets() == before

    code, words = process_all(arena, "--on-data-loss", "skip")
    assert code == 0, words
    assert arena.caught_up()
    good = arena.load.ledger.sent - arena.load.ledger.bad()
    added = arena.ask("SELECT count(*) FROM crypto_metrics")[0][0] - rows
    duplicates = arena.ask(
        "SELECT sum(duplicates) FROM consumer_offsets WHERE topic = %s", arena.settings.kafka_topic
    )[0][0]
    assert added + duplicates == good
    arena.verify()


@pytest.mark.parametrize("asleep", [False, True], ids=["awake", "asleep"])
def test_the_topic_is_made_again_under_a_running_worker(
    arena: Arena, admin: AdminClient, asleep: bool
) -> None:
    """The new topic gets longer than the old one was, so that the offset to go on from is there.

    Awake, or after a nap, it may take up to a few seconds to notice; after a longer sleep it has to ask
    before it goes on.
    """
    arena.load.send(3_000)
    worker = arena.worker()
    arena.wait_for("caught up", arena.caught_up)
    before = arena.next_offsets()
    frozen_at = time.monotonic()
    if asleep:
        worker.freeze()
    arena.remake_topic()
    arena.begin(Market(SEED), Ledger())
    arena.load.send(8_000)
    if asleep:
        arena.wait_for("a long sleep", lambda: time.monotonic() - frozen_at > TOPIC_ID_EXPIRES_S)
    worker.thaw()
    worker.doomed = True
    arena.wait_for("the worker gives up", worker.ended)
    assert worker.process.returncode == 1, worker.words()
    assert not asleep or arena.next_offsets() == before, worker.words()
    code, words = process_all(arena)
    assert code == 1
    assert "was recreated" in words


def test_the_topic_gets_more_partitions(arena: Arena, admin: AdminClient) -> None:
    """Pairs move to the new partitions; their extremes go on from where the old ones end.

    The number is multiplied, so that no pair moves from one old partition to another.
    """
    topic = arena.settings.kafka_topic
    ledger = arena.load.ledger
    worker = arena.worker("--batch", "500")
    arena.load.send(20_000)
    arena.wait_for("caught up", arena.caught_up)
    sizes = [8, 16] if arena.full else [8]
    for size in sizes:
        worker.freeze()  # so that there is a backlog in the old partitions when the new ones appear
        arena.load.send(5_000)
        done(admin.create_partitions([NewPartitions(topic, size)]))
        arena.wait_for_partitions(size)
        arena.load = Load(arena.settings, arena.load.source, ledger)  # its producer knows of them
        arena.load.send(5_000)
        worker.thaw()
        arena.wait_for("caught up", arena.caught_up)
        assert worker.events("topic_grew"), worker.words()
        worker.kill()
        worker = arena.worker("--batch", "500")
    arena.finish("topic grows, pairs move", len(sizes))
