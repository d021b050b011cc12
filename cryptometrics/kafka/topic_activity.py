"""Look up when a topic was last written to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # it is documented there

from cryptometrics.errors import ServiceUnavailableError
from cryptometrics.kafka import errors
from cryptometrics.kafka.client import make_admin
from cryptometrics.kafka.partition_ends import offset_in, request_ends

if TYPE_CHECKING:
    from cryptometrics.config import Settings
    from cryptometrics.kafka.topic import Topic

_NEWEST: Any = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]


def newest_record_at(settings: Settings, topic: Topic, limit: float) -> datetime | None:
    """Return the time of the newest record that Kafka holds, by the publisher's clock; None without records.

    limit: seconds Kafka has to answer. Raises ServiceUnavailableError if it does not.
    """
    admin = make_admin(settings)
    places = [(topic.name, number) for number in range(topic.partitions)]
    ends = request_ends(admin, places, limit)
    newest = admin.list_offsets({TopicPartition(*at): _NEWEST for at in places}, request_timeout=limit)
    try:
        for answer in ends.values():
            offset_in(answer)  # a newest record that was not reported in time looks like none
        milliseconds = max(int(answer.result().timestamp) for answer in newest.values())
    except KafkaException as error:
        raise ServiceUnavailableError(
            f"Kafka does not report the newest record of topic {topic.name}: {errors.text(error)}"
        ) from None
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds >= 0 else None
