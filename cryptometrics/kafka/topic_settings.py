"""Read the settings of the topic and the replicas of its partitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import ConfigResource, ResourceType  # type: ignore[attr-defined]

from cryptometrics.kafka import errors
from cryptometrics.kafka.admin_requests import request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptometrics.config import Settings


@dataclass(frozen=True)
class TopicSettings:
    """How Kafka keeps the topic."""

    brokers: int
    partitions: int
    replicas: int
    """The fewest of any partition."""
    without_leader: tuple[int, ...]
    """Partitions that can be neither read nor written."""
    under_replicated: tuple[int, ...]
    """Partitions with a replica that is not in sync."""
    values: Mapping[str, str]
    """Each setting of the topic, whether it is its own or the broker's default."""


def read_topic_settings(settings: Settings) -> TopicSettings | None:
    """Return how Kafka keeps `settings.kafka_topic`; None if there is no such topic."""
    name = settings.kafka_topic
    names = TopicCollection([name])
    resource = ConfigResource(ResourceType.TOPIC, name)
    try:
        cluster = request(settings, lambda admin, limit: admin.describe_cluster(request_timeout=limit))
        topic = request(
            settings, lambda admin, limit: admin.describe_topics(names, request_timeout=limit)[name]
        )
        entries = request(
            settings, lambda admin, limit: admin.describe_configs([resource], request_timeout=limit)[resource]
        )
    except KafkaException as error:
        if errors.is_gone(error):
            return None
        raise errors.explained(settings, error) from None
    return TopicSettings(
        brokers=len(cluster.nodes),
        partitions=len(topic.partitions),
        replicas=min(len(each.replicas) for each in topic.partitions),
        without_leader=tuple(each.id for each in topic.partitions if each.leader is None),
        under_replicated=tuple(each.id for each in topic.partitions if len(each.isr) < len(each.replicas)),
        values={entry.name: entry.value for entry in entries.values() if entry.value is not None},
    )
