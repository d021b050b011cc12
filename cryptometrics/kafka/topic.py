"""Describe, create and delete the topic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # it is documented there

from cryptometrics.errors import UserError
from cryptometrics.kafka import errors
from cryptometrics.kafka.admin_requests import request
from cryptometrics.retry import retrying

if TYPE_CHECKING:
    from cryptometrics.config import Settings


@dataclass(frozen=True)
class Topic:
    """A topic that exists; its id (KIP-516) differs from that of a later topic with the same name."""

    name: str
    id: str
    partitions: int


def describe_topic(settings: Settings) -> Topic:
    """Return the topic `settings.kafka_topic`; raise UserError if it does not exist."""
    name = settings.kafka_topic
    names = TopicCollection([name])
    try:
        found = request(
            settings, lambda admin, limit: admin.describe_topics(names, request_timeout=limit)[name]
        )
    except KafkaException as error:
        if errors.is_gone(error):
            raise UserError(
                f"there is no topic {name} on {settings.kafka_address}: "
                "create it with `cryptometrics init-db`"
            ) from None
        raise errors.explained(settings, error) from None
    return Topic(found.name, str(found.topic_id), len(found.partitions))


def create_topic(settings: Settings, partitions: int) -> bool:
    """Create the topic and return True; return False if it exists, and leave it unchanged.

    Its replication factor and its other settings are the broker's defaults. If two callers create it at
    the same moment, one of them gets False.
    """
    name = settings.kafka_topic
    new = NewTopic(name, num_partitions=partitions, replication_factor=-1)
    try:
        request(settings, lambda admin, limit: admin.create_topics([new], request_timeout=limit)[name])
    except KafkaException as error:
        if errors.already_exists(error):
            return False
        raise errors.explained(settings, error) from None
    # In a cluster, the broker that answers next may not know the topic yet.
    retrying(UserError, timeout=settings.wait)(describe_topic, settings)
    return True


def delete_topic(settings: Settings) -> None:
    """Delete the topic and its records, if it exists."""
    name = settings.kafka_topic
    try:
        request(settings, lambda admin, limit: admin.delete_topics([name], request_timeout=limit)[name])
    except KafkaException as error:
        if not errors.is_gone(error):
            raise errors.explained(settings, error) from None
