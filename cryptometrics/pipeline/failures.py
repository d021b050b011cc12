"""What an error means to a worker: start over from what the database says, or end."""

from __future__ import annotations

import psycopg
from confluent_kafka import KafkaException

from cryptometrics.errors import CryptometricsError
from cryptometrics.kafka import errors
from cryptometrics.store.batch_transaction import FencedError
from cryptometrics.store.database_errors import explained, is_refusal, is_transient, one_line


def restart_reason(error: Exception) -> str:
    """Return why to read again from the database, or raise what no repetition can mend."""
    if isinstance(error, FencedError) or is_transient(error) or is_refusal(error):
        return one_line(error)
    if isinstance(error, psycopg.Error) and (meaning := explained(error)):
        raise meaning from None
    if isinstance(error, KafkaException) and not errors.is_final(error):
        return errors.text(error)
    if isinstance(error, KafkaException):
        raise CryptometricsError(f"Kafka refuses to go on: {errors.text(error)}") from None
    raise error
