"""Make Kafka clients: the settings they share, producers, consumers and admin clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from cryptometrics import log
from cryptometrics.kafka.errors import explained
from cryptometrics.times import Interval

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

    from cryptometrics.config import Settings


ADDRESS_EVERY_S = 0.5
"""Seconds between two checks of a producer where Kafka is."""
FULL_FETCH_BYTES = 256 * 1024
"""Bytes of new records that are enough for a full batch: the broker does not hold them back."""
MAX_MISSED = 2
"""Checks that may find the local Kafka stopped: it still answers for a moment."""


class LocalProducer(Producer):
    """A producer that follows the local Kafka: one that is stopped or has moved needs a successor."""

    def __init__(self, settings: Settings, conf: dict[str, Any]) -> None:
        super().__init__(conf)
        self._settings = settings
        self._conf = conf
        self._address: str | None = conf.get("bootstrap.servers")
        self._interval = Interval(ADDRESS_EVERY_S)
        self._missed = 0

    def successor(self) -> Self | None:
        """Return the producer to use from now on; None if it is this one.

        While Kafka is stopped, the successor knows no broker and only queues: another cluster may take the
        port.
        """
        if not self._interval.elapsed():
            return None
        address = self._settings.running_kafka
        self._missed = self._missed + 1 if address is None else 0
        if address == self._address or 0 < self._missed < MAX_MISSED:
            return None
        return type(self)(self._settings, located(self._conf, address))


def make_producer(settings: Settings, *, patient: bool = False) -> Producer:
    """Return a producer that delivers each record once and in order, or reports that it could not.

    patient: retry without limit while the broker is away; otherwise a record fails after five minutes.
    """
    tuning: dict[str, Any] = {
        "compression.type": "lz4",
        # The client waits a whole millisecond for any other value, and while it sends, records gather anyway.
        "linger.ms": 0,
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
        conf = tuning | client_conf(settings, **required)
        return LocalProducer(settings, conf) if settings.uses_local_kafka else Producer(conf)
    except KafkaException as error:
        raise explained(settings, error) from None


def consumer_conf(settings: Settings, group: str, instance_id: str, hold: float = 0.0) -> dict[str, Any]:
    """Return the settings of a worker's consumer, whose offsets PostgreSQL stores.

    hold: seconds for which the broker may hold new records back, so that more of them come together.
    """
    tuning: dict[str, Any] = {
        # Bounds what is fetched ahead: a worker stays small, whatever the backlog.
        "queued.min.messages": 100_000,
        "queued.max.messages.kbytes": 16 * 1024,
        "fetch.max.bytes": 8 * 1024 * 1024,
        "fetch.wait.max.ms": 100,
        # When the queue is full, look again soon: the default of one second leaves it empty for long.
        "fetch.queue.backoff.ms": 5,
        # A request without an answer keeps the client from leaving and joining: a minute by default.
        "socket.timeout.ms": 10_000,
        # Notice new partitions within seconds.
        "topic.metadata.refresh.interval.ms": 10_000,
    }
    if hold:
        tuning |= {"fetch.min.bytes": FULL_FETCH_BYTES, "fetch.wait.max.ms": max(round(1000 * hold), 1)}
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
    return {"logger": _DebugLog(), "error_cb": log_error, **settings.kafka(), **more}


def located(conf: dict[str, Any], address: str | None) -> dict[str, Any]:
    """Return a client's settings with another address; with None it knows no broker and connects to none."""
    rest = {name: value for name, value in conf.items() if name != "bootstrap.servers"}
    return rest if address is None else rest | {"bootstrap.servers": address}


class _DebugLog:
    """The part of `logging.Logger` that librdkafka uses."""

    def log(self, _level: int, _format: str, facility: str, client: str, text: str) -> None:
        log.get_logger().debug("librdkafka", facility=facility, client=client, text=text)


def log_error(error: KafkaError) -> None:
    """Log an error that librdkafka reports beside any request, such as a lost connection."""
    log.get_logger().debug("librdkafka", error=error.name(), text=error.str())
