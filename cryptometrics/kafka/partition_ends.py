"""Look up where partitions begin and end, without a consumer having to wait for it."""

from __future__ import annotations

import concurrent.futures
import contextlib
from typing import TYPE_CHECKING, Any

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # it is documented there

from cryptometrics.errors import ServiceUnavailableError
from cryptometrics.kafka import errors
from cryptometrics.retry import retrying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from confluent_kafka import Consumer
    from confluent_kafka.admin import ListOffsetsResultInfo  # type: ignore[attr-defined]

    Answer = Future[ListOffsetsResultInfo]
    Place = tuple[str, int]  # topic and partition

ANSWER_S = 10.0
"""Seconds Kafka has to answer."""

_OLDEST: Any = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_END: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_NONE_SO_LATE = -1
"""Kafka's answer for a time after the newest record."""


class PartitionEnds:
    """Asks Kafka for the offsets that partitions hold, as a consumer of committed records sees them."""

    def __init__(self, admin: AdminClient, topic: str) -> None:
        self.admin = admin
        """Whom to ask; replaced when Kafka is at another address."""
        self._topic = topic
        self._informed: AdminClient | None = None

    def held(self, partition: int) -> tuple[int, int]:
        """Return the oldest offset of a partition and the one after its newest record.

        Raises KafkaException if Kafka does not answer.
        """
        oldest, end = self._ask(partition, _OLDEST), self._ask(partition, _END)
        return offset_in(oldest), offset_in(end)

    def held_by(
        self, partitions: Iterable[int], *, wait: float, stop: Callable[[], bool] = lambda: False
    ) -> dict[int, tuple[int, int]]:
        """Return `held` of each partition; retry for `wait` seconds: a new topic may have no leaders yet.

        Raises ServiceUnavailableError if Kafka does not answer in time.
        """
        retrier = retrying(KafkaException, timeout=wait, stop=stop)
        try:
            return {partition: retrier(self.held, partition) for partition in partitions}
        except KafkaException as error:
            raise ServiceUnavailableError(
                f"Kafka does not report the offsets of topic {self._topic} ({errors.text(error)}): try again"
            ) from None

    def first_since(self, partition: int, milliseconds: int) -> int | None:
        """Return the first offset whose record has this timestamp or a later one; None if there is none.

        Raises KafkaException if Kafka does not answer.
        """
        at: Any = OffsetSpec.for_timestamp(milliseconds)
        answer = self._ask(partition, at)
        return None if answer.result().offset == _NONE_SO_LATE else offset_in(answer)

    def _ask(self, partition: int, spec: Any) -> Answer:
        if self._informed is not self.admin:
            # A client that knows no leaders yet asks for them, and in one case of six asks again only after
            # three seconds. All topics: the name of a single one that is gone might create it.
            self.admin.list_topics(timeout=ANSWER_S)
            self._informed = self.admin
        wanted = {TopicPartition(self._topic, partition): spec}
        (answer,) = self.admin.list_offsets(
            wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=ANSWER_S
        ).values()
        return answer


def request_ends(
    admin: AdminClient, places: Iterable[Place], limit: float, *, committed: bool = False
) -> dict[Place, Answer]:
    """Ask for the ends of these partitions, and return at once.

    committed: the last stable offsets, instead of the ends with open transactions included.
    limit: seconds Kafka has to answer. Read an answer with `offset_in`.
    """
    isolation = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
    answers = admin.list_offsets(
        {TopicPartition(*place): _END for place in places}, isolation_level=isolation, request_timeout=limit
    )
    return {(at.topic, at.partition): answer for at, answer in answers.items()}


def known_ends(admin: AdminClient, places: Iterable[Place], limit: float) -> dict[Place, int]:
    """Return the ends of those partitions that Kafka reports within `limit` seconds.

    A partition of a topic that is gone is left out, and does not hide the others.
    """
    answers = request_ends(admin, places, limit)
    concurrent.futures.wait(answers.values(), limit)
    ends: dict[Place, int] = {}
    for place, answer in answers.items():
        if answer.done():
            with contextlib.suppress(KafkaException):
                ends[place] = offset_in(answer)
    return ends


def offset_in(answer: Answer) -> int:
    """Return the offset of an answer; raise KafkaException if it holds none.

    librdkafka lets a request that timed out succeed, with a negative offset.
    """
    offset = answer.result().offset
    if offset < 0:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "Kafka did not report its offsets in time"))
    return int(offset)


def known_end(consumer: Consumer, topic: str, partition: int) -> int:
    """Return the end of a partition as the consumer's latest fetch reported it; negative before the first."""
    _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
    return int(end)


def read_to_end(consumer: Consumer, topic: str, positions: dict[int, int]) -> list[int]:
    """Return the partitions that have nothing left to read, as far as the consumer knows."""
    ends = {partition: known_end(consumer, topic, partition) for partition in positions}
    return [partition for partition, position in positions.items() if 0 <= ends[partition] <= position]
