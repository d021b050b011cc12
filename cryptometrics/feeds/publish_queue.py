"""Publish a live feed without ever waiting, in bounded memory.

The producer's queue is the buffer. When Kafka has been away so long that it is full, `full` becomes true;
the feed then stops reading, which is a gap like any other, until half of the queue is delivered.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cryptometrics.errors import CryptometricsError
from cryptometrics.kafka.publisher import DRAIN_S, MAX_WAIT_S, Published, Publisher

if TYPE_CHECKING:
    from collections.abc import Iterable

    from confluent_kafka import Producer

    from cryptometrics.kafka.publisher import Message


class PublishQueue:
    """Publishes messages in their order and counts their deliveries."""

    def __init__(self, producer: Producer, topic: str) -> None:
        """Begin empty; the producer must be one that waits for Kafka without limit."""
        self._publisher = Publisher(producer, topic)
        self._held: list[Message] = []
        self._waiting_when_full = 0
        self.full = False
        """Whether the feed should stop reading; messages that come all the same are kept."""

    @property
    def state(self) -> Published:
        """The counts so far."""
        return self._publisher.state

    def put(self, messages: Iterable[Message]) -> None:
        """Publish messages; raise CryptometricsError if Kafka refuses one."""
        self._held.extend(messages)
        self._send()
        self._check()

    def pump(self) -> None:
        """Serve delivery reports and publish what is held; call it often. Raises as `put` does."""
        self._publisher.poll(0)
        self._send()
        if self.full and not self._held and self.state.waiting <= self._waiting_when_full // 2:
            self.full = False
        self._check()

    def drain(self) -> None:
        """Wait at most DRAIN_S for deliveries; then discard what is still queued."""
        deadline = time.monotonic() + DRAIN_S
        while self._held and time.monotonic() < deadline:
            self._publisher.poll(MAX_WAIT_S)
            self._send()
        self._publisher.drain(deadline - time.monotonic())
        self.state.failed += len(self._held)
        self.state.sent += len(self._held)

    def _send(self) -> None:
        del self._held[: self._publisher.send(self._held)]
        if self._held and not self.full:
            self.full, self._waiting_when_full = True, self.state.waiting

    def _check(self) -> None:
        if self.state.failed:
            raise CryptometricsError(
                f"Kafka refuses what the feed publishes ({self.state.failure}): nothing more is read; "
                "what is missing will be a gap when the feed starts again"
            )
