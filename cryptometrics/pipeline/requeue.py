"""RejectedMessage messages back on the topic, after what was wrong with them or with us is mended.

Kafka and PostgreSQL share no transaction. So a message is marked as on its way, published, and marked as
arrived when Kafka has acknowledged it. What a crash leaves on its way is published by the next call, once
more perhaps; the books show both.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from cryptometrics.errors import UserError
from cryptometrics.store import rejects
from cryptometrics.text import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import psycopg
    from confluent_kafka import KafkaError, Message, Producer

    from cryptometrics.store.rejects import RejectedMessage, RejectFilter

PORTION = 200
"""Messages marked, published and marked again together: what a crash may publish twice."""


@dataclass
class Requeued:
    """How it stands."""

    finished: int = 0
    """Messages of an earlier call that had not come to its end."""
    sent: int = 0
    refused: dict[int, str] = field(default_factory=dict)
    """Id → why Kafka does not take it; it is marked as it was before."""
    undecided: int = 0
    """Messages without an answer in time; the next call publishes them again."""


def requeue(
    connection: psycopg.Connection,
    producer: Producer,
    chosen: RejectFilter | None,
    *,
    again: bool = False,
    patience: float = 30.0,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Requeued], None] = lambda _: None,
) -> Requeued:
    """Publish the chosen ones on their topic with their own key and value, first what was left on its way.

    chosen: None finishes what was left and does no more.
    again: send those once more that went back before, instead of passing them over.
    patience: seconds without an answer of Kafka after which nothing more is sent.
    stop: asked between portions; what is in hand is finished.
    Raises UserError, having sent nothing, where an id does not exist or, without `again`, went back before,
    and where another call is at work.
    """
    if not rejects.lock(connection):
        raise UserError("another `cryptometrics rejects requeue` is at work: wait until it has ended")
    if chosen is not None and chosen.ids is not None:
        _refuse_impossible(connection, chosen.ids, again=again)
    sender = _Sender(connection, producer, patience, Requeued())
    last, after = rejects.last_id(connection), 0
    while not stop() and not sender.result.undecided and (left := rejects.begun(connection, PORTION)):
        sender.result.finished += sender.send(left)
        progress(sender.result)
    while chosen is not None and not stop() and not sender.result.undecided:
        portion = rejects.begin(connection, chosen, after=after, last=last, again=again, limit=PORTION)
        if not portion:
            break
        after = portion[-1].id
        sender.result.sent += sender.send(portion)
        progress(sender.result)
    return sender.result


def _refuse_impossible(connection: psycopg.Connection, ids: Sequence[int], *, again: bool) -> None:
    found = {each.id: each for each in rejects.newest(connection, rejects.RejectFilter(ids=ids), len(ids))}
    if missing := [str(number) for number in ids if number not in found]:
        raise UserError(f"there is no rejected message {listed(missing)}: see `cryptometrics rejects list`")
    before = [str(each.id) for each in found.values() if each.requeued_at is not None]
    if before and not again:
        raise UserError(f"requeued before: {listed(before)}; --again sends them once more")


@dataclass
class _Sender:
    connection: psycopg.Connection
    producer: Producer
    patience: float
    result: Requeued

    def send(self, portion: Sequence[RejectedMessage]) -> int:
        """Publish what is marked, wait for the answers, mark each by its answer; return how many arrived."""
        arrived: list[int] = []
        refused: dict[int, str] = {}
        unanswered = {each.id for each in portion}

        def answered(number: int, error: KafkaError | None, _message: Message) -> None:
            unanswered.discard(number)
            if error is None:
                arrived.append(number)
            elif error.code() > 0:  # the broker says no; what librdkafka itself gives up may have arrived
                refused[number] = error.str()

        for each in portion:
            try:
                if not self._produce(each, partial(answered, each.id)):
                    break
            except KafkaException as error:  # it never was on its way
                unanswered.discard(each.id)
                refused[each.id] = str(error)
        self._wait(unanswered)
        with self.connection.transaction():
            rejects.finish(self.connection, arrived)
            rejects.give_up(self.connection, list(refused))
        self.result.refused |= refused
        self.result.undecided += len(portion) - len(arrived) - len(refused)
        return len(arrived)

    def _produce(self, each: RejectedMessage, answered: Callable[[KafkaError | None, Message], None]) -> bool:
        """Hand a message to the client, waiting while it is full; return whether it had room in time."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                # Of a topic that was made again the old books say NAME@ID.
                topic = each.topic.partition("@")[0]
                self.producer.produce(topic, each.value, each.key, on_delivery=answered)
            except BufferError:
                if time.monotonic() > deadline:
                    return False
                self.producer.poll(0.1)
            else:
                return True

    def _wait(self, unanswered: set[int]) -> None:
        waiting, heard = len(unanswered), time.monotonic()
        while unanswered and time.monotonic() - heard < self.patience:
            self.producer.poll(0.1)
            if len(unanswered) != waiting:
                waiting, heard = len(unanswered), time.monotonic()
        if unanswered:
            self.producer.purge()
            self.producer.poll(0)
