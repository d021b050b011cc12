"""Publish records: hand them to a producer, count every delivery, keep to a rate and to bounded memory."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from cryptometrics.kafka import errors
from cryptometrics.kafka.client import LocalProducer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from confluent_kafka import KafkaError, Producer
    from confluent_kafka import Message as Delivered

    Message = tuple[bytes | None, bytes | None]
    """Key and value of a record."""
    Report = Callable[[str | None], None]

PACE_S = 0.01
"""Seconds between two portions at a given rate: messages due in between go together."""
MAX_WAIT_S = 0.1
"""Seconds a wait lasts before `stop` and progress are looked at again."""
DRAIN_S = 10.0
"""Seconds a stopped publisher waits for acknowledgements."""


@dataclass
class Published:
    """Counts of a publisher so far."""

    sent: int = 0
    """Messages handed to the producer."""
    acknowledged: int = 0
    """Messages the broker has stored."""
    failed: int = 0
    """Messages the producer has given up."""
    failure: str | None = None
    """Why the first of them failed."""
    seconds: float = 0.0
    """Time since the start."""
    silence: float = 0.0
    """Seconds since the broker's last answer, while messages wait for one."""

    @property
    def waiting(self) -> int:
        """Messages whose delivery is not decided yet."""
        return self.sent - self.acknowledged - self.failed

    @property
    def rate(self) -> float:
        """Messages acknowledged per second."""
        return self.acknowledged / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class _Batch:
    """The records of one call of `send`, kept as long as the local Kafka may still move."""

    number: int
    topic: str
    report: Report | None
    messages: Sequence[Message] = ()
    returned: Counter[Message] = field(default_factory=Counter)
    """The records that a replaced producer has given back."""

    def undelivered(self) -> list[Message]:
        """Return the records given back, in the order of the batch."""
        left, found = self.returned, []
        self.returned = Counter()
        for message in self.messages:
            if left[message]:
                left[message] -= 1
                found.append(message)
        return found


class Publisher:
    """Hands messages to a producer and counts their deliveries; only `send_all` and `drain` wait."""

    def __init__(
        self, producer: Producer, topic: str, progress: Callable[[Published], None] = lambda _: None
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._progress = progress
        self._start = self._answered_at = time.monotonic()
        self._answered = 0
        self._batches = 0
        self._returned: dict[int, _Batch] | None = None
        """Batches that a replaced producer returns records of; None unless one is being replaced."""
        self.state = Published()

    def send(
        self, messages: Sequence[Message], *, topic: str | None = None, report: Report | None = None
    ) -> int:
        """Hand over messages until the producer's queue is full; return how many it took.

        topic: another topic than the publisher's own.
        report: called once a message's outcome is certain, with None or the reason why it is not stored.
        A message that the client refuses at once counts as sent and failed, and ends the call.
        """
        if not self.state.waiting:
            self._answered_at = time.monotonic()
        taken = self._send(messages, topic or self._topic, report)
        self.state.sent += taken
        return taken

    def _send(self, messages: Sequence[Message], topic: str, report: Report | None) -> int:
        self._batches += 1
        batch = _Batch(self._batches, topic, report)
        produce, delivered = self._producer.produce, partial(self._delivered, batch)
        taken = 0
        try:
            for key, value in messages:
                produce(topic, value, key, on_delivery=delivered)
                taken += 1
        except BufferError:
            pass
        except KafkaException as error:
            taken += 1
            self._fail(errors.text(error))
            if report is not None:
                report(errors.text(error))
        if isinstance(self._producer, LocalProducer):
            batch.messages = list(messages[:taken])
        return taken

    def send_all(self, messages: Sequence[Message], stop: Callable[[], bool] = lambda: False) -> None:
        """Hand over all messages, waiting while the queue is full, until one fails or `stop` says so."""
        while (messages := messages[self.send(messages) :]) and not self.state.failed:
            # The queue is full: the broker is away, or slower than we are.
            self.poll(MAX_WAIT_S)
            if self.state.failed or stop():
                return

    def poll(self, seconds: float) -> None:
        """Serve delivery reports, waiting at most `seconds` for the first one, and show the progress."""
        self._producer.poll(seconds)
        if isinstance(self._producer, LocalProducer) and (successor := self._producer.successor()):
            self._continue_with(successor)
        state, now = self.state, time.monotonic()
        answered = state.acknowledged + state.failed
        if answered != self._answered or not state.waiting:
            self._answered, self._answered_at = answered, now
        state.seconds, state.silence = now - self._start, now - self._answered_at
        self._progress(state)

    def drain(self, limit: float) -> None:
        """Wait for deliveries, at most `limit` seconds; then discard what is still queued.

        Messages in flight may still arrive. Queued ones must not: they are reported as failed.
        """
        deadline = time.monotonic() + limit
        while self.state.waiting and time.monotonic() < deadline:
            self.poll(MAX_WAIT_S)
        if self.state.waiting:
            self.discard(in_flight=False)

    def discard(self, *, in_flight: bool) -> None:
        """Fail what is queued and, if asked for, stop waiting for what is in flight."""
        self._producer.purge(in_flight=in_flight)
        self.poll(0)

    def _continue_with(self, successor: LocalProducer) -> None:
        """Replace the producer; what it has not delivered is published by its successor, in the same order.

        An acknowledgement can be lost when a broker stops. Its record is then published twice, and readers
        recognise the duplicate by its `trade_id`.
        """
        self._returned = {}
        self._producer.purge()
        deadline = time.monotonic() + DRAIN_S
        while self._missing() and time.monotonic() < deadline:
            self._producer.poll(MAX_WAIT_S)  # what was in flight comes back last
        if missing := self._missing():
            self.state.failed += missing - 1
            self._fail("its client did not return it")
        returned, self._returned = self._returned, None
        self._producer = successor
        for _, batch in sorted(returned.items()):
            self._send(batch.undelivered(), batch.topic, batch.report)

    def _missing(self) -> int:
        """Return how many records the replaced producer has neither delivered nor given back yet."""
        returned = (self._returned or {}).values()
        return self.state.waiting - sum(batch.returned.total() for batch in returned)

    def _delivered(self, batch: _Batch, error: KafkaError | None, message: Delivered) -> None:
        if error is None:
            self.state.acknowledged += 1
        elif self._returned is not None:
            batch.returned[message.key(), message.value()] += 1
            self._returned[batch.number] = batch
            return
        else:
            self._fail(error.str())
        # What librdkafka itself has given up may have arrived.
        if batch.report is not None and (error is None or errors.is_from_broker(error)):
            batch.report(None if error is None else error.str())

    def _fail(self, reason: str) -> None:
        self.state.failed += 1
        self.state.failure = self.state.failure or reason


def publish(
    producer: Producer,
    topic: str,
    blocks: Iterable[Sequence[Message | None]],
    *,
    rate: float = 0.0,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Published], None] = lambda _: None,
) -> Published:
    """Publish all messages, wait for their delivery, and return the counts.

    blocks: the messages; None takes its time at the rate, and nothing is sent.
    rate: messages per second; 0: as fast as the broker takes them.
    stop: checked at least every MAX_WAIT_S; once true, nothing more is sent, and unacknowledged messages
    are waited for at most DRAIN_S.
    progress: called as often.

    While the broker is away this waits, and the producer's queue bounds the memory. The first message that
    cannot be delivered ends it; the counts show that.
    """
    publisher = Publisher(producer, topic, progress)
    state = publisher.state
    for portion in _paced(publisher, blocks, rate, stop):
        publisher.send_all(portion, stop)
        publisher.poll(0)
        if state.failed:
            break
    while state.waiting and not (state.failed or stop()):
        publisher.poll(MAX_WAIT_S)  # librdkafka's delivery.timeout.ms ends this
    publisher.drain(DRAIN_S)
    return state


def _paced(
    publisher: Publisher,
    blocks: Iterable[Sequence[Message | None]],
    rate: float,
    stop: Callable[[], bool],
) -> Iterator[list[Message]]:
    """Yield the messages when they are due: number n, n / rate seconds after the start.

    Delays are made up for, so that the rate holds over time, however long a single wait takes.
    """
    start, number = time.monotonic(), 0
    for block in blocks:
        taken = 0
        if not block:  # a feed that has nothing yet: let delivery reports and progress go on
            yield []
        while taken < len(block):
            if stop():
                return
            due = len(block)
            if rate:
                due = int((time.monotonic() - start) * rate) + 1 - number
            if due <= taken:
                _wait_until(start + (number + taken) / rate, publisher, stop)
                continue
            yield [message for message in block[taken:due] if message is not None]
            taken = min(due, len(block))
        number += len(block)


def _wait_until(due: float, publisher: Publisher, stop: Callable[[], bool]) -> None:
    """Wait until a moment, and at least for one portion."""
    until = max(due, time.monotonic() + PACE_S)
    while (left := until - time.monotonic()) > 0 and not stop():
        # Not poll(left): below a millisecond that does not wait at all.
        time.sleep(min(left, MAX_WAIT_S))
        publisher.poll(0)
