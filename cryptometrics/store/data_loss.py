"""Ticks that Kafka no longer holds and nobody has read: found, told, and only if asked for passed over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from psycopg import sql

from cryptometrics import log
from cryptometrics.errors import CryptometricsError
from cryptometrics.store.batch_transaction import Batch, FencedError, PartitionOutcome, SkippedOffsets, write

if TYPE_CHECKING:
    import psycopg

    from cryptometrics.store.offsets import Claim, GroupTopic, StoredOffset


@dataclass(frozen=True)
class Loss:
    """What is gone of a partition: offsets [next_offset, resume), or all that another topic held."""

    next_offset: int
    resume: int
    remade: bool
    """The topic was made again: the offsets stored mean nothing in the one that is there now."""
    topic_id: str

    def error(self, topic: GroupTopic, partition: int) -> DataLossError:
        """Return the error that says how many ticks are gone and what to do."""
        where = f"partition {partition} of topic {topic.name}"
        if self.remade:
            what = (
                f"{where} is not the one that group {topic.group} has read "
                f"up to offset {self.next_offset}: "
                "the topic was made again (or its broker has lost the newest records), and what was unread "
                "of the old one is gone, an unknown number"
            )
        else:
            what = (
                f"{self.resume - self.next_offset} ticks are gone from {where}: "
                f"group {topic.group} has read up to offset {self.next_offset}, "
                f"Kafka holds none before {self.resume}"
            )
        return DataLossError(
            f"{what}. To go on without them, and have them recorded as lost: --on-data-loss skip; "
            "to read all that is there into a group of its own: another --group"
        )


class DataLossError(CryptometricsError):
    """Kafka no longer holds what was to be read next."""


def found(stored: StoredOffset, topic_id: str, oldest: int, end: int) -> Loss | None:
    """Return what is lost, None where nothing is.

    oldest, end: the offsets that Kafka holds of the partition. A stored offset above its end cannot be
    of this topic, whatever the id says.
    """
    if stored.topic_id != topic_id or stored.next_offset > end:
        return Loss(stored.next_offset, oldest, remade=True, topic_id=topic_id)
    if stored.next_offset < oldest:
        return Loss(stored.next_offset, oldest, remade=False, topic_id=topic_id)
    return None


# Offsets of the old topic and of the new one would look alike, so the old books are closed under another
# name, which no topic can have; `ended_at` tells their rows of crypto_metrics from those that follow. A topic
# that lost its newest records keeps its id, and may do so again: then the epoch tells the books apart.
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
_RENAMED = ("rejected_ticks", "skipped_offsets", "feed_gaps", "metric_days", "pruned_days")


def skip(connection: psycopg.Connection, topic: GroupTopic, claim: Claim, loss: Loss) -> Claim:
    """Record the loss and return the claim as it goes on after it; raise FencedError when it is not ours.

    Offsets that Kafka gave up become `lost` in `skipped_offsets`. Where the topic was made again the books
    of the old one are closed and new ones begun.
    """
    if not loss.remade and claim.next_offset >= loss.resume:
        return claim  # whoever had the partition before has read on, past what is gone
    log.get_logger().warning(
        "data_loss_skipped",
        partition=claim.partition,
        next_offset=claim.next_offset,
        resume=loss.resume,
        topic_made_again=loss.remade,
    )
    if loss.remade:
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
        open_session = connection.execute(_OPEN_BOOKS, values).fetchone()
        assert open_session is not None  # noqa: S101  (its source is the row just closed)
    return replace(claim, epoch=open_session[0], next_offset=loss.resume)
