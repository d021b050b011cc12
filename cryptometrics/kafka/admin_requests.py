"""Make requests of Kafka's admin API, and wait until a broker answers."""

from __future__ import annotations

import concurrent.futures
import time
from typing import TYPE_CHECKING, TypeVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from cryptometrics import tls_probe
from cryptometrics.errors import ServiceUnavailableError, UserError
from cryptometrics.kafka import errors
from cryptometrics.kafka.client import client_conf
from cryptometrics.retry import retrying

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import KafkaError

    from cryptometrics.config import Settings

    Answer = TypeVar("Answer")
    Notice = Callable[[BaseException, float], None]

ATTEMPT_S = 2.0
"""Seconds for one request, the connection included; meanwhile librdkafka reconnects by itself."""


def wait_for_kafka(settings: Settings, notice: Notice | None = None) -> None:
    """Return when a broker answers; wait at most `settings.wait` seconds.

    notice: called with each failed attempt and the seconds until the next.
    Raises ServiceUnavailableError when no broker answers in time, UserError when librdkafka refuses the
    settings or the broker refuses the login.
    """
    try:
        request(settings, lambda admin, limit: admin.describe_cluster(request_timeout=limit), notice)
    except KafkaException as error:
        raise errors.explained(settings, error) from None


def request(
    settings: Settings,
    send: Callable[[AdminClient, float], concurrent.futures.Future[Answer]],
    notice: Notice | None = None,
) -> Answer:
    """Return the answer to an admin request, sending it again while no broker answers.

    send: sends the request with an admin client and a limit in seconds.
    Raises KafkaException with the broker's refusal, ServiceUnavailableError when no broker answers in time.
    """
    # Only error_cb learns why a connection fails; the request merely times out.
    heard: list[KafkaError] = []
    deadline = time.monotonic() + settings.wait

    def attempt() -> Answer:
        heard.clear()
        probed = False
        # A new client each time: one that knows a broker as the controller waits for it while it is away.
        admin = AdminClient(client_conf(settings, error_cb=heard.append))
        future = send(admin, min(ATTEMPT_S, max(deadline - time.monotonic(), 0.1)))
        while not future.done():
            concurrent.futures.wait([future], timeout=0.1)
            admin.poll(0)
            for error in heard:
                if errors.is_refused(error):
                    raise KafkaException(error)
            if heard and not probed:
                probed = True
                _check_encryption(settings)
        try:
            return future.result()
        except KafkaException as error:
            if not errors.is_transient(error):
                raise
            if not probed:
                _check_encryption(settings)
            raise _NoAnswerError(errors.connection_failure(heard) or errors.text(error)) from None

    try:
        return retrying(_NoAnswerError, timeout=settings.wait, notice=notice)(attempt)
    except _NoAnswerError as error:
        hint = (
            "start it with `cryptometrics up`"
            if settings.uses_local_kafka
            else "check KAFKA_BOOTSTRAP_SERVERS and KAFKA_SECURITY_PROTOCOL"
        )
        raise ServiceUnavailableError(
            f"Kafka at {settings.kafka_address} did not answer for {settings.wait:g} s ({error}): {hint}"
        ) from None


class _NoAnswerError(Exception):
    """One attempt got no answer; the text is the best known reason."""


def _check_encryption(settings: Settings) -> None:
    """Raise UserError where TLS settings or certificates do not match: waiting cannot help."""
    if problem := tls_probe.kafka_problem(settings.kafka()):
        raise UserError(f"no connection to Kafka at {settings.kafka_address}: {problem}") from None
