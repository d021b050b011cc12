"""Detect ticks that Kafka deleted before they were read, report them, and skip them only on request."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from psycopg import sql

from cryptometrics import log
from cryptometrics.errors import CryptometricsError
from cryptometrics.store.batch_transaction import Batch, FencedError, PartitionOutcome, SkippedOffsets, write

if TYPE_CHECKING:
    import psycopg

    from cryptometrics.store.partition_claims import Claim, GroupTopic, StoredOffset


@dataclass(frozen=True)
class Loss:
    """The lost offsets of a partition: [next_offset, resume), or the unread ones of a former topic."""

    next_offset: int
    resume: int
    recreated: bool
    """Whether the topic was recreated, so that the stored offset does not apply to it."""
    topic_id: str

    def error(self, topic: GroupTopic, partition: int) -> DataLossError:
        """Return the error with the number of lost ticks and what to do."""
        where = f"partition {partition} of topic {topic.name}"
        if self.recreated:
            problem = (
                f"{where} is not the one that group {topic.group} has read "
                f"up to offset {self.next_offset}: "
                "the topic was recreated, or its broker has lost the newest records. An unknown number of "
                "unread ticks is lost"
            )
        else:
            problem = (
                f"{self.resume - self.next_offset} ticks are gone from {where}: "
                f"group {topic.group} has read up to offset {self.next_offset}, "
                f"but Kafka's oldest offset is {self.resume}"
            )
        return DataLossError(
            f"{problem}. To continue without them and record them as lost, use --on-data-loss skip; "
            "to read everything that Kafka holds into a new group, use another --group"
        )


class DataLossError(CryptometricsError):
    """Kafka no longer holds the next offset."""


def found(stored: StoredOffset, topic_id: str, oldest: int, end: int) -> Loss | None:
    """Return the loss, or None.

    oldest, end: the offsets that Kafka holds of the partition. A stored offset above the end cannot belong
    to its present records, even if the topic's id is the same.
    """
    if stored.topic_id != topic_id or stored.next_offset > end:
        return Loss(stored.next_offset, oldest, recreated=True, topic_id=topic_id)
    if stored.next_offset < oldest:
        return Loss(stored.next_offset, oldest, recreated=False, topic_id=topic_id)
    return None


# Offsets of the old and the new topic would look alike, so the old books are closed under a name that no
# topic can have. `ended_at` separates their rows of crypto_metrics from later ones. A topic that lost its
# newest records keeps its id and may lose more, so a second name also has the epoch.
_CLOSE_BOOKS = """
UPDATE consumer_offsets o SET ended_at = clock_timestamp(), topic = topic || '@' || topic_id || CASE
    WHEN EXISTS (SELECT FROM consumer_offsets c
                 WHERE (c.consumer_group, c.kafka_partition) = (o.consumer_group, o.kafka_partition)
                   AND c.topic = o.topic || '@' || o.topic_id)
    THEN '@' || epoch ELSE '' END
WHERE consumer_group = %(group)s AND topic = %(topic)s AND kafka_partition = %(partition)s
  AND epoch = %(epoch)s
RETURNING topic
"""
_OPEN_BOOKS = """
INSERT INTO consumer_offsets
    (consumer_group, topic, kafka_partition, topic_id, first_offset, next_offset,
     epoch, owner, backend_pid, backend_start, begun_at)
SELECT consumer_group, %(topic)s, kafka_partition, %(topic_id)s, %(resume)s, %(resume)s,
       epoch + 1, owner, backend_pid, backend_start, ended_at
FROM consumer_offsets
WHERE consumer_group = %(group)s AND topic = %(closed)s AND kafka_partition = %(partition)s
RETURNING epoch
"""
_RENAME = sql.SQL("""
UPDATE {table} SET topic = %(closed)s
WHERE consumer_group = %(group)s AND topic = %(topic)s AND kafka_partition = %(partition)s
""")
_RENAMED = (
    *("rejected_ticks", "skipped_offsets", "feed_gaps", "metric_days", "pruned_days"),
    "window_progress",  # the new topic may hold older quotes, of minutes that are not complete
)


def skip(connection: psycopg.Connection, topic: GroupTopic, claim: Claim, loss: Loss) -> Claim:
    """Record the loss and return the claim that continues after it; raise FencedError if it is lost.

    Deleted offsets become `lost` in `skipped_offsets`. If the topic was recreated, the books of the old one
    are closed and new ones are opened.
    """
    if not loss.recreated and claim.next_offset >= loss.resume:
        return claim  # the previous owner has read on, past the lost offsets
    log.get_logger().warning(
        "data_loss_skipped",
        partition=claim.partition,
        next_offset=claim.next_offset,
        resume=loss.resume,
        topic_made_again=loss.recreated,
    )
    if loss.recreated:
        return _begin_new_books(connection, topic, claim, loss)
    lost = loss.resume - claim.next_offset
    part = PartitionOutcome(claim.epoch, claim.next_offset, loss.resume, holes=lost)
    skipped = SkippedOffsets(claim.partition, claim.next_offset, loss.resume - 1, "lost")
    write(connection, topic, Batch(parts={claim.partition: part}, skipped=[skipped]))
    return replace(claim, next_offset=loss.resume)


def _begin_new_books(connection: psycopg.Connection, topic: GroupTopic, claim: Claim, loss: Loss) -> Claim:
    values: dict[str, object] = {
        "group": topic.group,
        "topic": topic.name,
        "topic_id": loss.topic_id,
        "partition": claim.partition,
        "epoch": claim.epoch,
        "resume": loss.resume,
    }
    with connection.transaction():
        closed = connection.execute(_CLOSE_BOOKS, values).fetchone()
        if closed is None:
            raise FencedError(f"partition {claim.partition} has another owner")
        values["closed"] = closed[0]
        for table in _RENAMED:
            connection.execute(_RENAME.format(table=sql.Identifier(table)), values)
        opened = connection.execute(_OPEN_BOOKS, values).fetchone()
        assert opened is not None  # noqa: S101  (it copies the row just closed)
    return replace(claim, epoch=opened[0], next_offset=loss.resume)
