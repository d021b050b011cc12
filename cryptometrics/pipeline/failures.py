"""What an error means to a worker: start over from what the database says, or end."""

from __future__ import annotations

import psycopg
from confluent_kafka import KafkaError, KafkaException

from cryptometrics.errors import CryptometricsError
from cryptometrics.store.batch_transaction import FencedError
from cryptometrics.store.database_errors import explained, is_refusal, is_transient, one_line

GONE = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_TOPIC}
"""Kafka's errors of a topic, or a partition of it, that is not there any more."""
FINAL = {KafkaError.TOPIC_AUTHORIZATION_FAILED}
"""Kafka's errors that stay however often one tries."""


def restart_reason(error: Exception) -> str:
    """Return why to read again from the database, or raise what no repetition can mend."""
    if isinstance(error, FencedError) or is_transient(error) or is_refusal(error):
        return one_line(error)
    if isinstance(error, psycopg.Error) and (meaning := explained(error)):
        raise meaning from None
    if isinstance(error, KafkaException) and error.args[0].code() not in GONE | FINAL:
        return str(error.args[0].str())
    if isinstance(error, KafkaException):
        raise CryptometricsError(f"Kafka refuses to go on: {error.args[0].str()}") from None
    raise error
