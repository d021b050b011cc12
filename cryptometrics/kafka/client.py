"""Make Kafka clients: the settings they share, producers, consumers and admin clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from cryptometrics import log
from cryptometrics.kafka.errors import explained

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

    from cryptometrics.config import Settings


def make_producer(settings: Settings, *, patient: bool = False) -> Producer:
    """Return a producer that delivers each record once and in order, or reports that it could not.

    patient: retry without limit while the broker is away; otherwise a record fails after five minutes.
    """
    tuning: dict[str, Any] = {
        "compression.type": "lz4",
        "linger.ms": 1,
        # Bounds the records that wait for the broker; a publisher waits when the queue is full.
        "queue.buffering.max.messages": 100_000,
        "queue.buffering.max.kbytes": 64 * 1024,
    }
    required: dict[str, Any] = {
        "enable.idempotence": True,
        "acks": "all",
        # Java's partitioner: other producers of a pair reach the same partition.
        "partitioner": "murmur2_random",
    }
    if patient:
        required["message.timeout.ms"] = 0
    try:
        return Producer(tuning | client_conf(settings, **required))
    except KafkaException as error:
        raise explained(settings, error) from None


def consumer_conf(settings: Settings, group: str, instance_id: str) -> dict[str, Any]:
    """Return the settings of a worker's consumer, whose offsets PostgreSQL stores."""
    tuning: dict[str, Any] = {
        # Bounds what is fetched ahead: a worker stays small, whatever the backlog.
        "queued.min.messages": 100_000,
        "queued.max.messages.kbytes": 16 * 1024,
        "fetch.max.bytes": 8 * 1024 * 1024,
        "fetch.wait.max.ms": 100,
        # When the queue is full, look again soon: the default of one second leaves it empty for long.
        "fetch.queue.backoff.ms": 5,
        # Notice new partitions within seconds.
        "topic.metadata.refresh.interval.ms": 10_000,
    }
    required = {
        "group.id": group,
        "group.instance.id": instance_id,
        "group.protocol": "classic",
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 1500,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # A missing offset is an error, never a silent jump.
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
    }
    return tuning | client_conf(settings, **required)


def make_consumer(settings: Settings, conf: dict[str, Any]) -> Consumer:
    """Return a consumer; raise UserError if librdkafka refuses the settings."""
    try:
        return Consumer(conf)
    except KafkaException as error:
        raise explained(settings, error) from None


def make_admin(settings: Settings) -> AdminClient:
    """Return an admin client; raise UserError if librdkafka refuses the settings."""
    try:
        return AdminClient(client_conf(settings))
    except KafkaException as error:
        raise explained(settings, error) from None


def client_conf(settings: Settings, **more: Any) -> dict[str, Any]:
    """Return librdkafka's settings for a client: the user's, and `more`, which the user cannot override.

    librdkafka's messages become log events of level debug instead of lines on stderr: it repeats itself,
    and the caller whose request fails reports the cause to the user.
    """
    return {"logger": _DebugLog(), "error_cb": _log_error, **settings.kafka(), **more}


class _DebugLog:
    """The part of `logging.Logger` that librdkafka uses."""

    def log(self, _level: int, _format: str, facility: str, client: str, text: str) -> None:
        log.get_logger().debug("librdkafka", facility=facility, client=client, text=text)


def _log_error(error: KafkaError) -> None:
    log.get_logger().debug("librdkafka", error=error.name(), text=error.str())
