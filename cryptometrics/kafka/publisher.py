"""Putting messages on the topic: at a given rate, within bounded memory, every delivery counted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from confluent_kafka import KafkaError, Producer
    from confluent_kafka import Message as Delivered

    Message = tuple[bytes | None, bytes | None]
    """Key and value of a record."""

PACE_S = 0.005
"""Seconds between two portions at a given rate: messages that fall due meanwhile go together."""
LONGEST_WAIT_S = 0.1
"""Seconds until a wait looks up again, for `stop` and for progress."""
DRAIN_S = 10.0
"""Seconds that a stopped publisher still waits for acknowledgements."""


@dataclass
class Published:
    """How publishing stands."""

    sent: int = 0
    """Messages handed to the producer."""
    acknowledged: int = 0
    """Messages that the broker has, for good."""
    failed: int = 0
    """Messages that the broker does not have, for good."""
    failure: str | None = None
    """Why the first of them failed."""
    seconds: float = 0.0
    """Since the start."""
    silence: float = 0.0
    """Seconds since the broker acknowledged anything, while it has to."""

    @property
    def waiting(self) -> int:
        """Messages whose delivery is not decided yet."""
        return self.sent - self.acknowledged - self.failed

    @property
    def rate(self) -> float:
        """Messages acknowledged a second."""
        return self.acknowledged / self.seconds if self.seconds else 0.0


def publish(
    producer: Producer,
    topic: str,
    blocks: Iterable[list[Message]],
    *,
    rate: float = 0.0,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Published], None] = lambda _: None,
) -> Published:
    """Publish all messages, wait for their delivery, and return the counts.

    rate: messages a second; 0: as fast as the broker takes them.
    stop: asked every LONGEST_WAIT_S at least; on yes nothing more is sent,
    and what is unacknowledged is waited for DRAIN_S at most.
    progress: called as often.

    While the broker is away this waits, and memory stays bounded by the producer's queue. It gives up at
    the first message that cannot be delivered at all, which the caller sees in the counts.
    """
    return _Publisher(producer, topic, rate, stop, progress).run(blocks)


class _Publisher:
    def __init__(
        self,
        producer: Producer,
        topic: str,
        rate: float,
        stop: Callable[[], bool],
        progress: Callable[[Published], None],
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._rate = rate
        self._stop = stop
        self._progress = progress
        self._state = Published()
        self._start = self._last_heard = time.monotonic()
        self._heard = 0

    def run(self, blocks: Iterable[list[Message]]) -> Published:
        for portion in self._portions(blocks):
            self._send(portion)
            self._look_up(0)
            if self._state.failed:
                break
        self._drain()
        return self._state

    def _portions(self, blocks: Iterable[list[Message]]) -> Iterator[list[Message]]:
        """Yield the messages as they fall due: number n, n / rate seconds after the start.

        What is late is made up for, so that the rate holds over time whatever a single wait takes.
        """
        number = 0
        for block in blocks:
            taken = 0
            if not block:  # a feed that waits says so, that delivery reports and progress go on
                yield block
            while taken < len(block):
                if self._stop():
                    return
                due = len(block)
                if self._rate:
                    due = int((time.monotonic() - self._start) * self._rate) + 1 - number
                if due <= taken:
                    self._wait(number + taken)
                    continue
                yield block[taken:due]
                taken = min(due, len(block))
            number += len(block)

    def _send(self, portion: list[Message]) -> None:
        produce, topic, delivered, state = self._producer.produce, self._topic, self._delivered, self._state
        for key, value in portion:
            while True:
                try:
                    produce(topic, value, key, on_delivery=delivered)
                except BufferError:
                    # The queue is full: the broker is slower than we are, or away.
                    self._look_up(LONGEST_WAIT_S)
                    if state.failed or self._stop():
                        return
                except KafkaException as error:
                    # Refused on the spot: too large, the topic is gone, or the producer is broken for good.
                    state.sent += 1
                    self._fail(error.args[0])
                    return
                else:
                    state.sent += 1
                    break

    def _wait(self, number: int) -> None:
        """Wait until message `number` is due, and at least for one portion."""
        until = max(self._start + number / self._rate, time.monotonic() + PACE_S)
        while (left := until - time.monotonic()) > 0 and not self._stop():
            # Not poll(left): below a millisecond that does not wait at all.
            time.sleep(min(left, LONGEST_WAIT_S))
            self._look_up(0)

    def _drain(self) -> None:
        """Wait for what is sent: librdkafka's delivery.timeout.ms ends that, or DRAIN_S after a stop."""
        deadline: float | None = None
        while self._state.waiting:
            if deadline is None and (self._stop() or self._state.failed):
                deadline = time.monotonic() + DRAIN_S
            if deadline is not None and time.monotonic() > deadline:
                # What is in flight may still arrive. What is only queued shall not: it is told to be lost.
                self._producer.purge(in_flight=False)
                self._look_up(0)
                return
            self._look_up(LONGEST_WAIT_S)

    def _look_up(self, seconds: float) -> None:
        """Serve delivery reports, waiting for the first of them at most `seconds`, and tell how it stands."""
        self._producer.poll(seconds)
        state, now = self._state, time.monotonic()
        if state.acknowledged != self._heard or not state.waiting:
            self._heard, self._last_heard = state.acknowledged, now
        state.seconds, state.silence = now - self._start, now - self._last_heard
        self._progress(state)

    def _delivered(self, error: KafkaError | None, _message: Delivered) -> None:
        if error is None:
            self._state.acknowledged += 1
        else:
            self._fail(error)

    def _fail(self, error: KafkaError) -> None:
        self._state.failed += 1
        self._state.failure = self._state.failure or error.str()
