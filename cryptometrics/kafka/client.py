"""Kafka: whether it is there, the topic, and the settings that every client shares."""

from __future__ import annotations

import concurrent.futures
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # it is documented there

from cryptometrics import log, tls_probe
from cryptometrics.errors import CryptometricsError, ServiceUnavailableError, UserError
from cryptometrics.retry import retrying

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka.admin import ListOffsetsResultInfo  # type: ignore[attr-defined]

    from cryptometrics.config import Settings

    Answer = TypeVar("Answer")
    Future = concurrent.futures.Future[Answer]
    Notice = Callable[[BaseException, float], None]

ATTEMPT_S = 2.0
"""Seconds for one request, the connection included; librdkafka connects again by itself meanwhile."""

# Worth another attempt: nobody answered, or who answered is not ready yet.
_TRANSIENT = {
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_CONTROLLER,
}
# Kafka is there and says no: waiting cannot help.
_REFUSED = {
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
}
_WRONG_KEY = (
    "ssl.key.location failed:",
    "KAFKA_SSL_KEY_LOCATION is no private key, or KAFKA_SSL_KEY_PASSWORD is not its password:",
)


@dataclass(frozen=True)
class Topic:
    """A topic that exists; its id (KIP-516) tells it from another of the same name made later."""

    name: str
    id: str
    partitions: int


def wait_for_kafka(settings: Settings, notice: Notice | None = None) -> None:
    """Return when a broker answers; wait for it `settings.wait` seconds at most.

    notice: told each failed attempt and the seconds until the next.
    Raises ServiceUnavailableError when none answers in time, UserError when librdkafka refuses the
    settings or the broker refuses the login.
    """
    try:
        _ask(settings, lambda admin, limit: admin.describe_cluster(request_timeout=limit), notice)
    except KafkaException as error:
        raise _explained(settings, error) from None


def describe_topic(settings: Settings) -> Topic:
    """Return the topic `settings.kafka_topic`; raise UserError where there is none."""
    name = settings.kafka_topic
    names = TopicCollection([name])
    try:
        found = _ask(settings, lambda admin, limit: admin.describe_topics(names, request_timeout=limit)[name])
    except KafkaException as error:
        if _code(error) == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise UserError(
                f"there is no topic {name} on {_place(settings)}: make it with `cryptometrics init-db`"
            ) from None
        raise _explained(settings, error) from None
    return Topic(found.name, str(found.topic_id), len(found.partitions))


def make_topic(settings: Settings, partitions: int) -> bool:
    """Make the topic and return True, or return False where it is there already, which stays as it is.

    Its replication factor and all else are the broker's defaults. Made twice at the same moment, one of
    the two gets False.
    """
    name = settings.kafka_topic
    topic = NewTopic(name, num_partitions=partitions, replication_factor=-1)
    try:
        _ask(settings, lambda admin, limit: admin.create_topics([topic], request_timeout=limit)[name])
    except KafkaException as error:
        if _code(error) == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise _explained(settings, error) from None
    # In a cluster of several brokers the one that is asked next may not have heard of the topic yet.
    retrying(UserError, timeout=settings.wait)(describe_topic, settings)
    return True


def delete_topic(settings: Settings) -> None:
    """Delete the topic and all that is in it, if it is there."""
    name = settings.kafka_topic
    try:
        _ask(settings, lambda admin, limit: admin.delete_topics([name], request_timeout=limit)[name])
    except KafkaException as error:
        if _code(error) != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise _explained(settings, error) from None


def offset_in(answer: Future[ListOffsetsResultInfo]) -> int:
    """Return the offset that `list_offsets` was asked for; raise KafkaException where Kafka did not say it.

    librdkafka lets a request that ran out of time succeed, with an offset that is none.
    """
    offset = answer.result().offset
    if offset < 0:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "Kafka did not say in time what it holds"))
    return int(offset)


def make_producer(settings: Settings, *, patient: bool = False) -> Producer:
    """Return a producer that delivers each message once and in order, or reports that it could not.

    patient: wait for a broker that is away without end; else a message fails after five minutes.
    """
    tuning: dict[str, Any] = {
        "compression.type": "lz4",
        "linger.ms": 1,
        # What waits for the broker is bounded: the publisher waits then, too.
        "queue.buffering.max.messages": 100_000,
        "queue.buffering.max.kbytes": 64 * 1024,
    }
    promised: dict[str, Any] = {
        "enable.idempotence": True,
        "acks": "all",
        # Java's partitioner: whoever else produces a pair reaches the same partition.
        "partitioner": "murmur2_random",
    }
    if patient:
        promised["message.timeout.ms"] = 0
    try:
        return Producer(tuning | client_conf(settings, **promised))
    except KafkaException as error:
        raise _explained(settings, error) from None


def consumer_conf(settings: Settings, group: str, instance_id: str) -> dict[str, Any]:
    """Return the settings of a worker's consumer: its offsets and its delivery are PostgreSQL's business."""
    tuning: dict[str, Any] = {
        # What is fetched ahead is bounded, too: a worker stays small whatever the backlog.
        "queued.min.messages": 100_000,
        "queued.max.messages.kbytes": 16 * 1024,
        "fetch.max.bytes": 8 * 1024 * 1024,
        "fetch.wait.max.ms": 100,
        # When that much is waiting, look again soon: after a second, the default, it has long been used up.
        "fetch.queue.backoff.ms": 5,
        # A topic that got more partitions is seen within seconds.
        "topic.metadata.refresh.interval.ms": 10_000,
    }
    promised = {
        "group.id": group,
        "group.instance.id": instance_id,
        "group.protocol": "classic",
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 1500,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # An offset that is not there is an error, never a silent jump.
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
    }
    return tuning | client_conf(settings, **promised)


def make_consumer(settings: Settings, conf: dict[str, Any]) -> Consumer:
    """Return a consumer; raise UserError where librdkafka refuses the settings."""
    try:
        return Consumer(conf)
    except KafkaException as error:
        raise _explained(settings, error) from None


def client_conf(settings: Settings, **more: Any) -> dict[str, Any]:
    """Return librdkafka's settings for a client: the user's, and `more`, which the user cannot override.

    What librdkafka has to say becomes log events of level debug instead of lines on stderr: it repeats
    itself, and what a user has to know is told by whoever waits in vain.
    """
    return {"logger": _DebugLog(), "error_cb": _log_error, **settings.kafka(), **more}


class _DebugLog:
    """What librdkafka takes for a `logging.Logger`."""

    def log(self, _level: int, _format: str, facility: str, client: str, text: str) -> None:
        log.get_logger().debug("librdkafka", facility=facility, client=client, text=text)


def _log_error(error: KafkaError) -> None:
    log.get_logger().debug("librdkafka", error=error.name(), text=error.str())


class _NoAnswerError(Exception):
    """One attempt got no answer; the text is the best reason that is known."""


def _ask(
    settings: Settings,
    request: Callable[[AdminClient, float], Future[Answer]],
    notice: Notice | None = None,
) -> Answer:
    """Return the answer to an admin request, asking again while no broker answers.

    request: makes the request of an admin client, with its limit in seconds.
    Raises KafkaException with what a broker answers, ServiceUnavailableError when none does in time.
    """
    # Why a connection fails is told to error_cb only, never to the request, which merely times out.
    heard: list[KafkaError] = []
    admin = AdminClient(client_conf(settings, error_cb=heard.append))
    deadline = time.monotonic() + settings.wait

    def attempt() -> Answer:
        heard.clear()
        probed = False
        future = request(admin, min(ATTEMPT_S, max(deadline - time.monotonic(), 0.1)))
        while not future.done():
            concurrent.futures.wait([future], timeout=0.1)
            admin.poll(0)
            for error in heard:
                if error.code() in _REFUSED:
                    raise KafkaException(error)
            if heard and not probed:
                probed = True
                _see_encryption(settings)
        try:
            return future.result()
        except KafkaException as error:
            if _code(error) not in _TRANSIENT:
                raise
            if not probed:
                _see_encryption(settings)
            raise _NoAnswerError(_reason(heard) or error.args[0].str()) from None

    try:
        return retrying(_NoAnswerError, timeout=settings.wait, notice=notice)(attempt)
    except _NoAnswerError as error:
        hint = (
            "start it with `cryptometrics up`"
            if settings.uses_local_kafka
            else "check KAFKA_BOOTSTRAP_SERVERS and KAFKA_SECURITY_PROTOCOL"
        )
        raise ServiceUnavailableError(
            f"Kafka at {_place(settings)} did not answer for {settings.wait:g} s ({error}): {hint}"
        ) from None


def _see_encryption(settings: Settings) -> None:
    """Raise UserError where both sides speak differently, or do not accept a certificate: no wait helps."""
    if problem := tls_probe.kafka_problem(settings.kafka()):
        raise UserError(f"no connection to Kafka at {_place(settings)}: {problem}") from None


def _reason(heard: list[KafkaError]) -> str | None:
    """Return why connections failed, without librdkafka's own address and state around it."""
    telling = [error.str() for error in heard if error.code() != KafkaError._ALL_BROKERS_DOWN]
    if not telling:
        return None
    return telling[-1].partition("/bootstrap: ")[2].partition(" (after ")[0] or telling[-1]


def _explained(settings: Settings, error: KafkaException) -> CryptometricsError:
    """Return what Kafka's or librdkafka's refusal means to a user."""
    what = error.args[0].str().strip()
    if _code(error) == KafkaError._INVALID_ARG:
        what = _unreadable_file(settings) or what.replace(*_WRONG_KEY)
        return UserError(f"the Kafka settings are not valid (KAFKA_* in the environment or .env): {what}")
    if _code(error) in _REFUSED:
        return UserError(
            f"Kafka at {_place(settings)} refuses (check KAFKA_SASL_* and the user's ACLs): "
            f"{_reason([error.args[0]])}"
        )
    return CryptometricsError(f"Kafka at {_place(settings)} answers: {what}")


def _unreadable_file(settings: Settings) -> str | None:
    """Return which file of the settings cannot be read: librdkafka says only that OpenSSL could not."""
    for name, value in settings.kafka().items():
        if name.startswith("ssl.") and name.endswith(".location") and value != "probe":
            try:
                Path(str(value)).stat()
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                return f"cannot read KAFKA_{name.upper().replace('.', '_')} ({value}): {reason}"
    return None


def _code(error: KafkaException) -> int:
    code: int = error.args[0].code()
    return code


def _place(settings: Settings) -> str:
    return str(settings.kafka()["bootstrap.servers"])
