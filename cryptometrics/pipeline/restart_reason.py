"""Decides what an error means to a worker: start over from the database, or end."""

from __future__ import annotations

import psycopg
from confluent_kafka import KafkaException

from cryptometrics.errors import CryptometricsError
from cryptometrics.kafka import errors
from cryptometrics.store.batch_transaction import FencedError
from cryptometrics.store.database_errors import explained, is_refusal, is_transient, one_line


def message(error: BaseException) -> str:
    """Return what a service says, in one line for the log."""
    return errors.text(error) if isinstance(error, KafkaException) else one_line(error)


def restart_reason(error: Exception) -> str:
    """Return the reason to start over, for the log; raise the error if starting over cannot help."""
    if isinstance(error, FencedError) or is_transient(error) or is_refusal(error):
        return one_line(error)
    if isinstance(error, psycopg.Error) and (meaning := explained(error)):
        raise meaning from None
    if isinstance(error, KafkaException):
        if errors.is_final(error):
            raise CryptometricsError(f"Kafka refuses to go on: {errors.text(error)}") from None
        return errors.text(error)
    raise error
