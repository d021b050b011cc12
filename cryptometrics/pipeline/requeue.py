"""Publish rejected messages again, after their cause has been fixed.

Kafka and PostgreSQL share no transaction. So a message is marked as being requeued, published, and marked as
requeued when Kafka has acknowledged it. After a crash the next call publishes what was in between, perhaps
for the second time; the books show both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from cryptometrics.errors import UserError
from cryptometrics.kafka.publisher import MAX_WAIT_S, Publisher
from cryptometrics.store import rejects
from cryptometrics.text import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import psycopg
    from confluent_kafka import Producer

    from cryptometrics.kafka.publisher import Report
    from cryptometrics.store.rejects import RejectedMessage, RejectFilter

PORTION = 200
"""Messages marked and published together; a crash may publish them twice."""


@dataclass
class Requeued:
    """What a call has done so far."""

    finished: int = 0
    """Messages that an earlier call left unfinished."""
    sent: int = 0
    refused: dict[int, str] = field(default_factory=dict)
    """Id → why Kafka refuses the message; its marks are as before."""
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
    """Publish the chosen messages on their topics, after those that an earlier call left unfinished.

    chosen: None only finishes the earlier call.
    again: also publish messages that were requeued before, instead of skipping them.
    patience: seconds without an answer of Kafka after which nothing more is sent.
    stop: checked between portions; the current portion is finished.
    Raises UserError, having sent nothing, if an id does not exist, if it was requeued before (without
    `again`), or if another call is running.
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
        """Publish marked messages, wait, mark each by its outcome, and return how many arrived."""
        publisher = Publisher(self.producer, "")
        arrived: list[int] = []
        refused: dict[int, str] = {}

        def note(number: int, problem: str | None) -> None:
            if problem is None:
                arrived.append(number)
            else:
                refused[number] = problem

        for each in portion:
            if not self._hand_over(publisher, each, partial(note, each.id)):
                break
        while publisher.state.waiting and publisher.state.silence < self.patience:
            publisher.poll(MAX_WAIT_S)
        if publisher.state.waiting:
            publisher.discard(in_flight=True)
        with self.connection.transaction():
            rejects.finish(self.connection, arrived)
            rejects.give_up(self.connection, list(refused))
        self.result.refused |= refused
        self.result.undecided += len(portion) - len(arrived) - len(refused)
        return len(arrived)

    def _hand_over(self, publisher: Publisher, each: RejectedMessage, report: Report) -> bool:
        """Return whether the producer took a message in time; wait while its queue is full."""
        # After a topic was made again, the closed books call it NAME@ID.
        topic = each.topic.partition("@")[0]
        while not publisher.send([(each.key, each.value)], topic=topic, report=report):
            if publisher.state.silence >= self.patience:
                return False
            publisher.poll(MAX_WAIT_S)
        return True
