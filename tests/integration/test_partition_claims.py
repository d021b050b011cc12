"""Ownership: a claim raises the epoch, late writers are fenced, a suspended one cannot block others."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
import pytest

from cryptometrics.errors import UserError
from cryptometrics.store import data_loss, partition_claims
from cryptometrics.store.batch_transaction import (
    Batch,
    DayRows,
    FencedError,
    PartitionOutcome,
    SkippedOffsets,
    write,
)
from cryptometrics.store.database_errors import is_refusal
from cryptometrics.store.feed_gaps import StoredGap
from cryptometrics.store.partition_claims import Claim, GroupTopic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptometrics.config import Settings

GROUP_TOPIC = GroupTopic("g", "t", "id-1")


@pytest.fixture
def connect(settings: Settings) -> Iterator[Callable[[], psycopg.Connection]]:
    open_session: list[psycopg.Connection] = []

    def another() -> psycopg.Connection:
        open_session.append(psycopg.connect(settings.postgres(), autocommit=True))
        return open_session[-1]

    yield another
    for connection in open_session:
        connection.close()


def claim(
    connection: psycopg.Connection, partition: int = 0, topic: GroupTopic = GROUP_TOPIC, oldest: int = 5
) -> Claim:
    return partition_claims.claim(
        connection, topic, partition, oldest, "test", partition_claims.backend_of(connection)
    )


def batch(*claims: Claim, count: int = 3) -> Batch:
    """Return a batch that moves each claim on by `count` rows, rejected ones and holes."""
    made = Batch()
    for one in claims:
        end = one.next_offset + count
        made.parts[one.partition] = PartitionOutcome(one.epoch, one.next_offset, end, holes=count)
        made.skipped.append(SkippedOffsets(one.partition, one.next_offset, end - 1, "hole"))
    return made


def next_offsets(connection: psycopg.Connection) -> dict[int, int]:
    return partition_claims.next_offsets(connection, GROUP_TOPIC)


def count(connection: psycopg.Connection, table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_a_group_that_begins_begins_at_the_oldest(connect: Callable[[], psycopg.Connection]) -> None:
    connection = connect()
    assert partition_claims.stored(connection, GROUP_TOPIC, 0) is None
    assert claim(connection) == Claim(0, 1, 5)
    stored = partition_claims.stored(connection, GROUP_TOPIC, 0)
    assert stored is not None
    assert (stored.topic_id, stored.next_offset) == ("id-1", 5)
    # From then on what is stored counts, not what is oldest.
    assert claim(connection, oldest=99) == Claim(0, 2, 5)


def test_a_batch_moves_the_offset_and_the_books(connect: Callable[[], psycopg.Connection]) -> None:
    connection = connect()
    mine = claim(connection)
    moved = Batch(
        {0: PartitionOutcome(mine.epoch, 5, 26, metrics=1, rejected=2, gaps=3, duplicates=4, holes=11)}
    )
    for n in range(2):
        moved.parts[0].expected, moved.parts[0].next_offset = 5 + 21 * n, 26 + 21 * n
        write(connection, GROUP_TOPIC, moved)
    books = (
        "SELECT first_offset, next_offset, metrics, rejected, gaps, duplicates, holes FROM consumer_offsets"
    )
    assert connection.execute(books).fetchall() == [(5, 47, 2, 4, 6, 8, 22)]
    assert claim(connection) == Claim(0, 2, 47)


def test_whoever_was_overtaken_writes_nothing(connect: Callable[[], psycopg.Connection]) -> None:
    late, new = connect(), connect()
    old = claim(late)
    newer = claim(new)
    assert newer.epoch == old.epoch + 1
    with pytest.raises(FencedError):
        write(late, GROUP_TOPIC, batch(old))
    assert count(new, "skipped_offsets") == 0
    write(new, GROUP_TOPIC, batch(newer))
    assert next_offsets(new) == {0: 8}


def test_the_same_batch_cannot_be_written_twice(connect: Callable[[], psycopg.Connection]) -> None:
    connection = connect()
    once = batch(claim(connection))
    write(connection, GROUP_TOPIC, once)
    with pytest.raises(FencedError):
        write(connection, GROUP_TOPIC, once)
    assert count(connection, "skipped_offsets") == 1


def test_one_fenced_partition_stops_the_whole_batch(connect: Callable[[], psycopg.Connection]) -> None:
    late, new = connect(), connect()
    claims = [claim(late, n) for n in range(4)]
    claim(new, 2)
    with pytest.raises(FencedError, match=r"^1 of 4 partitions"):
        write(late, GROUP_TOPIC, batch(*claims))
    assert set(next_offsets(new).values()) == {5}
    assert count(new, "skipped_offsets") == 0
    write(late, GROUP_TOPIC, batch(*(c for c in claims if c.partition != 2)))
    assert next_offsets(new) == {0: 8, 1: 8, 2: 5, 3: 8}


@pytest.mark.parametrize("after", [0, 1])
def test_a_refused_value_takes_the_batch_back_and_is_named(
    connect: Callable[[], psycopg.Connection], after: int
) -> None:
    """At any position among the statements that share a round trip."""
    connection = connect()
    mine = claim(connection)
    refused = batch(mine)
    refused.days = [DayRows(0, "2026-01-31", 5, 7, 3)]
    refused.skipped.append(SkippedOffsets(0, 9, 8, "hole"))
    refused.gaps = [
        StoredGap(0, 6, "coinbase", "A-B", "start", None, datetime.now(UTC), None, None, None, None)
    ] * after
    with pytest.raises(psycopg.errors.CheckViolation) as refusal:
        write(connection, GROUP_TOPIC, refused)
    assert is_refusal(refusal.value)
    assert next_offsets(connection) == {0: 5}
    assert count(connection, "metric_days") == count(connection, "skipped_offsets") == 0
    write(connection, GROUP_TOPIC, batch(mine))
    assert next_offsets(connection) == {0: 8}


def test_a_claim_that_was_lost_cannot_be_renewed(connect: Callable[[], psycopg.Connection]) -> None:
    first, again, other = connect(), connect(), connect()
    mine = claim(first)
    backend = partition_claims.backend_of(again)
    assert partition_claims.renew(again, GROUP_TOPIC, 0, mine.epoch, backend) == mine
    row = again.execute("SELECT backend_pid, backend_start FROM consumer_offsets").fetchone()
    assert row == (backend.pid, backend.started)
    # If the answer to COMMIT is lost, the stored offset shows whether it succeeded.
    write(again, GROUP_TOPIC, batch(mine))
    assert partition_claims.renew(again, GROUP_TOPIC, 0, mine.epoch, backend) == Claim(0, mine.epoch, 8)
    claim(other)
    assert partition_claims.renew(again, GROUP_TOPIC, 0, mine.epoch, backend) is None
    assert partition_claims.renew(again, GROUP_TOPIC, 1, 1, backend) is None


def test_of_many_that_claim_at_once_one_is_last_and_only_it_may_write(
    connect: Callable[[], psycopg.Connection],
) -> None:
    connections = [connect() for _ in range(6)]
    claims: list[tuple[Claim, psycopg.Connection]] = []
    barrier = threading.Barrier(len(connections))

    def one(connection: psycopg.Connection) -> None:
        barrier.wait(30)
        claims.append((claim(connection), connection))

    threads = [threading.Thread(target=one, args=[connection]) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(c.epoch for c, _ in claims) == [1, 2, 3, 4, 5, 6]
    for mine, connection in claims:
        if mine.epoch == 6:
            write(connection, GROUP_TOPIC, batch(mine))
        else:
            with pytest.raises(FencedError):
                write(connection, GROUP_TOPIC, batch(mine))
    assert next_offsets(connections[0]) == {0: 8}


def test_a_claim_waits_for_a_batch_that_is_nearly_done(connect: Callable[[], psycopg.Connection]) -> None:
    """The owner holds the row and commits within the limit: the claimant goes on after what it wrote."""
    owner, claimant, watcher = connect(), connect(), connect()
    mine = claim(owner)
    result: list[Claim] = []
    with owner.transaction():
        owner.execute("UPDATE consumer_offsets SET next_offset = 77 WHERE epoch = %s", [mine.epoch])
        thread = threading.Thread(target=lambda: result.append(claim(claimant)))
        thread.start()
        while not watcher.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall():
            assert thread.is_alive()
    thread.join(30)
    assert result == [Claim(0, mine.epoch + 1, 77)]
    assert not owner.closed


def test_a_session_that_sleeps_on_the_lock_is_ended(connect: Callable[[], psycopg.Connection]) -> None:
    sleeping, claimant = connect(), connect()
    mine = claim(sleeping)
    sleeping.autocommit = False
    sleeping.execute("SELECT FROM consumer_offsets FOR UPDATE")
    assert claim(claimant) == Claim(0, mine.epoch + 1, mine.next_offset)
    with pytest.raises(psycopg.OperationalError):
        sleeping.execute("SELECT 1")


def test_another_process_that_got_the_same_id_is_not_ended(connect: Callable[[], psycopg.Connection]) -> None:
    holder, claimant = connect(), connect()
    mine = claim(holder)
    holder.execute("UPDATE consumer_offsets SET backend_start = %s", [datetime(2020, 1, 1, tzinfo=UTC)])
    with holder.transaction():
        holder.execute("SELECT FROM consumer_offsets FOR UPDATE")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            claim(claimant)
    assert claim(claimant).epoch == mine.epoch + 1


def test_groups_and_topics_have_their_own_books(connect: Callable[[], psycopg.Connection]) -> None:
    connection = connect()
    other = GroupTopic("other", "t", "id-1")
    mine, theirs = claim(connection), claim(connection, topic=other)
    assert (mine.epoch, theirs.epoch) == (1, 1)
    write(connection, GROUP_TOPIC, batch(mine))
    assert next_offsets(connection) == {0: 8}
    assert partition_claims.next_offsets(connection, GroupTopic("other", "t", "id-1")) == {0: 5}
    assert partition_claims.next_offsets(connection, GroupTopic("g", "t", "made anew")) == {}
    partition_claims.refuse_other_topic(connection, GROUP_TOPIC)
    with pytest.raises(UserError, match="group g has read the topic t, not elsewhere: give another --group"):
        partition_claims.refuse_other_topic(connection, GroupTopic("g", "elsewhere", "id-2"))


def test_partitions_are_registered_once_when_the_group_begins(
    connect: Callable[[], psycopg.Connection],
) -> None:
    connection = connect()
    partition_claims.register(connection, GROUP_TOPIC, {0: 3, 1: 0})
    assert next_offsets(connection) == {0: 3, 1: 0}
    assert claim(connection, 0) == Claim(0, 1, 3)
    # A partition that the topic got later is not: it has to wait for the old ones.
    partition_claims.register(connection, GROUP_TOPIC, {0: 9, 1: 9, 2: 0})
    assert next_offsets(connection) == {0: 3, 1: 0}
    partition_claims.register(connection, GroupTopic("other", "t", "id-1"), {0: 1})
    assert partition_claims.next_offsets(connection, GroupTopic("other", "t", "id-1")) == {0: 1}


def test_a_loss_that_another_worker_has_read_past_is_none(connect: Callable[[], psycopg.Connection]) -> None:
    """The offset was read before the claim, and the previous owner wrote another batch meanwhile."""
    connection = connect()
    write(connection, GROUP_TOPIC, batch(claim(connection), count=10))
    mine = claim(connection)
    found = data_loss.found(partition_claims.StoredOffset("id-1", 5), "id-1", oldest=9, end=20)
    assert found is not None
    assert data_loss.skip(connection, GROUP_TOPIC, mine, found) == mine
    assert next_offsets(connection) == {0: 15}
    assert count(connection, "skipped_offsets") == 1
