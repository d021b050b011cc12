"""Classify Kafka's errors, and explain to a user the ones that retries cannot help."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException

from cryptometrics.errors import CryptometricsError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptometrics.config import Settings

    Error = KafkaError | KafkaException

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
_FORBIDDEN = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}
_REFUSED = _FORBIDDEN | {
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
_GONE = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_TOPIC}
# A consumer's fatal() is always False in an event, so the code has to decide.
_FATAL = {KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID}

_WRONG_KEY = (
    "ssl.key.location failed:",
    "KAFKA_SSL_KEY_LOCATION is not a private key, or KAFKA_SSL_KEY_PASSWORD is not its password:",
)


def stopped() -> KafkaException:
    """Return the error while the local Kafka is stopped; another attempt may succeed."""
    why = "the local Kafka is stopped: start it with `cryptometrics up`"
    return KafkaException(KafkaError(KafkaError._TRANSPORT, why))


def is_transient(error: Error) -> bool:
    """Return whether another attempt may succeed: no broker answered, or the broker is not ready yet."""
    return _code(error) in _TRANSIENT


def is_forbidden(error: Error) -> bool:
    """Return whether the user lacks the right to read the topic or to use the group."""
    return _code(error) in _FORBIDDEN


def is_refused(error: Error) -> bool:
    """Return whether Kafka refuses the login or lacks a right for it: waiting cannot help."""
    return _code(error) in _REFUSED


def is_gone(error: Error) -> bool:
    """Return whether the topic, or a partition of it, does not exist."""
    return _code(error) in _GONE


def is_final(error: Error) -> bool:
    """Return whether a running consumer must end: the topic is gone, or may not be read."""
    return is_gone(error) or _code(error) == KafkaError.TOPIC_AUTHORIZATION_FAILED


def is_fatal(error: Error) -> bool:
    """Return whether the consumer is unusable: another member took its place, or librdkafka gave up."""
    return _code(error) in _FATAL


def is_partition_end(error: Error) -> bool:
    """Return whether this is the event that a partition has been read to its end."""
    return _code(error) == KafkaError._PARTITION_EOF


def is_offset_missing(error: Error) -> bool:
    """Return whether Kafka does not hold the requested offset."""
    return _code(error) == KafkaError._AUTO_OFFSET_RESET


def is_from_broker(error: Error) -> bool:
    """Return whether the broker itself answered; librdkafka's own errors leave the outcome unknown."""
    return _code(error) > 0


def already_exists(error: Error) -> bool:
    """Return whether the topic to be created exists."""
    return _code(error) == KafkaError.TOPIC_ALREADY_EXISTS


def text(error: Error) -> str:
    """Return Kafka's own words for an error."""
    return _kafka_error(error).str().strip()


def connection_failure(errors: Iterable[KafkaError]) -> str | None:
    """Return the last reason why a connection failed, without librdkafka's address and state around it."""
    reasons = [error.str() for error in errors if error.code() != KafkaError._ALL_BROKERS_DOWN]
    if not reasons:
        return None
    return reasons[-1].partition("/bootstrap: ")[2].partition(" (after ")[0] or reasons[-1]


def explained(settings: Settings, error: KafkaException) -> CryptometricsError:
    """Return the error to show to a user for a refusal of Kafka or librdkafka."""
    if _code(error) == KafkaError._INVALID_ARG:
        problem = _unreadable_file(settings) or text(error).replace(*_WRONG_KEY)
        return UserError(f"the Kafka settings are not valid (KAFKA_* in the environment or .env): {problem}")
    if is_refused(error):
        return UserError(
            f"Kafka at {settings.kafka_address} refuses (check KAFKA_SASL_* and the user's ACLs): "
            f"{connection_failure([_kafka_error(error)])}"
        )
    return CryptometricsError(f"Kafka at {settings.kafka_address} answers: {text(error)}")


def _unreadable_file(settings: Settings) -> str | None:
    """Return which file of the settings cannot be read: librdkafka reports only that OpenSSL failed."""
    for name, value in settings.kafka().items():
        if name.startswith("ssl.") and name.endswith(".location") and value != "probe":
            try:
                Path(str(value)).stat()
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                return f"cannot read KAFKA_{name.upper().replace('.', '_')} ({value}): {reason}"
    return None


def _kafka_error(error: Error) -> KafkaError:
    if isinstance(error, KafkaException):
        inner: KafkaError = error.args[0]
        return inner
    return error


def _code(error: Error) -> int:
    code: int = _kafka_error(error).code()
    return code
