"""The rules' part in a worker: a batch is judged, and what comes of it is written with the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.alerts.evaluate import Evaluator, Record, subject_of
from cryptometrics.alerts.meters import Quote
from cryptometrics.pipeline.record import created
from cryptometrics.store import alerts as store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import psycopg

    from cryptometrics.alerts.rules import Rule
    from cryptometrics.metrics import Measured, Session
    from cryptometrics.pipeline import record
    from cryptometrics.store.batch import Batch
    from cryptometrics.ticks import Tick


class Alerting:
    """Judges batch after batch. Like all that a worker remembers, it is dropped in doubt and read again."""

    def __init__(self, rules: Sequence[Rule], group: str, *, notify: bool) -> None:
        """notify: whether there is a webhook to tell alerts to."""
        self._group = group
        self._notify = notify
        self._evaluator = Evaluator(rules)

    def drop(self, partitions: Iterable[int]) -> None:
        """Forget partitions and their pairs."""
        self._evaluator.drop(partitions)

    def drop_all(self) -> None:
        """Forget everything."""
        self._evaluator.drop_all()

    def judge(
        self,
        connection: psycopg.Connection,
        messages: Sequence[record.Record],
        quotes: Sequence[Quote],
        batch: Batch,
    ) -> None:
        """Judge a batch and put what has changed into it.

        quotes: its ticks, in the order of the topic; messages: what it was made of.
        """
        evaluator = self._evaluator
        partitions = (
            {subject_of(number): number for number in batch.parts} if evaluator.judges_records else {}
        )
        pairs = {quote.pair: quote.partition for quote in quotes} if evaluator.judges_pairs else {}
        known_in = partitions | pairs
        if unknown := evaluator.unknown(known_in):
            for name, past in store.recall(connection, self._group, unknown).items():
                evaluator.recall(name, known_in[name], past)
        if pairs:
            judge = evaluator.quote
            for quote in quotes:
                judge(quote)
        if partitions:
            for each in _records(messages, batch):
                evaluator.record(each)
        batch.alerts, batch.alert_states = evaluator.take()
        batch.notify = self._notify


def _records(messages: Iterable[record.Record], batch: Batch) -> Iterator[Record]:
    """Return what the batch has made of its messages: those from before a seek are none of it."""
    rejected = {(each.partition, each.offset) for each in batch.rejected}
    for message in messages:
        partition, offset = message.partition(), message.offset()
        part = batch.parts.get(partition)
        if part is None or offset < part.expected:
            continue
        yield Record(partition, offset, created(message), (partition, offset) in rejected)


def quote_of(
    tick: Tick, measured: Measured, name: str, session: Session, partition: int, offset: int
) -> Quote:
    """Return a tick as the rules see it; session: of this name, brought forward by the tick."""
    return Quote(
        tick.pair,
        tick.time,
        tick.bid,
        tick.ask,
        measured.mid_price,
        measured.spread,
        name,
        session.highest_bid,
        session.lowest_ask,
        partition,
        offset,
    )
