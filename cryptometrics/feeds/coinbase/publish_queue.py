"""The way from a live feed to Kafka: it never waits, and what it holds is bounded.

The producer's queue is the buffer. When Kafka has been away for so long that it is full, the outbox says so;
the feed then stops reading, which is a gap like any other, until half of the queue is delivered.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from cryptometrics.errors import CryptometricsError
from cryptometrics.kafka.publisher import Published

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from confluent_kafka import KafkaError, Producer
    from confluent_kafka import Message as Delivered

    from cryptometrics.kafka.publisher import Message

DRAIN_S = 10.0
"""Seconds that what is sent is waited for in the end."""


class Outbox:
    """Puts messages on the topic in their order, and counts what Kafka has of them."""

    def __init__(self, producer: Producer, topic: str) -> None:
        """Begin empty; the producer has to be one that waits for Kafka without end."""
        self._producer = producer
        self._topic = topic
        self._held: deque[Message] = deque()
        self._waiting_at_most = 0
        self._start = self._last_heard = time.monotonic()
        self._heard = 0
        self.state = Published()
        self.full = False
        """Whether nothing more should come; what comes all the same is kept."""

    def put(self, messages: Iterable[Message]) -> None:
        """Take messages; raise CryptometricsError where Kafka refuses one for good."""
        self._held.extend(messages)
        self._send()

    def pump(self) -> None:
        """Hear what Kafka has got and go on; to be called often. Raises CryptometricsError as `put` does."""
        self._producer.poll(0)
        self._send()
        if self.full and not self._held and self.state.waiting <= self._waiting_at_most // 2:
            self.full = False
        state, now = self.state, time.monotonic()
        if state.acknowledged != self._heard or not state.waiting:
            self._heard, self._last_heard = state.acknowledged, now
        state.seconds, state.silence = now - self._start, now - self._last_heard
        if state.failed:
            raise CryptometricsError(
                f"Kafka refuses what the feed publishes ({state.failure}): nothing more is read; "
                "what is missing will be a gap when the feed starts again"
            )

    def drain(self, stop: Callable[[], bool]) -> None:
        """Wait for what is sent, DRAIN_S at most; what is only queued then shall not arrive later.

        stop: asked meanwhile; on yes the waiting ends.
        """
        deadline = time.monotonic() + DRAIN_S
        while (self.state.waiting or self._held) and time.monotonic() < deadline and not stop():
            self._producer.poll(0.1)
            self._send()
        if self.state.waiting:
            self._producer.purge(in_flight=False)
            self._producer.poll(0)
        self.state.failed += len(self._held)
        self.state.sent += len(self._held)

    def _send(self) -> None:
        held, state = self._held, self.state
        while held:
            key, value = held[0]
            try:
                self._producer.produce(self._topic, value, key, on_delivery=self._delivered)
            except BufferError:
                if not self.full:
                    self.full, self._waiting_at_most = True, state.waiting
                return
            except KafkaException as error:
                raise CryptometricsError(
                    f"Kafka refuses what the feed publishes: {error.args[0].str()}"
                ) from None
            held.popleft()
            state.sent += 1

    def _delivered(self, error: KafkaError | None, _message: Delivered) -> None:
        if error is None:
            self.state.acknowledged += 1
        else:
            self.state.failed += 1
            self.state.failure = self.state.failure or error.str()
