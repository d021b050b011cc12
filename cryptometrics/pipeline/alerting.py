"""The rules' part in a worker: a batch is judged, and what comes of it is written with the batch."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from cryptometrics.alerts.evaluate import Evaluator, Gap, Record, subject_of
from cryptometrics.alerts.meters import Quote
from cryptometrics.columns.decode import moment
from cryptometrics.pipeline.record import created
from cryptometrics.store import alerts as store

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import psycopg

    from cryptometrics.alerts.rules import Rule
    from cryptometrics.columns import measure as columns
    from cryptometrics.columns.texts import Ints
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
        seen: Sequence[Quote | Gap],
        batch: Batch,
    ) -> None:
        """Judge a batch and put what has changed into it.

        messages: what it was made of; seen: its ticks and the gaps among them, of each pair in the order of
        the topic.
        """
        evaluator = self._evaluator
        partitions = (
            {subject_of(number): number for number in batch.parts} if evaluator.judges_records else {}
        )
        pairs = {each.pair: each.partition for each in seen} if evaluator.judges_pairs else {}
        known_in = partitions | pairs
        if unknown := evaluator.unknown(known_in):
            for name, past in store.recall(connection, self._group, unknown).items():
                evaluator.recall(name, known_in[name], past)
        if pairs:
            for each in seen:
                if isinstance(each, Quote):
                    evaluator.quote(each)
                else:
                    evaluator.gap(each)
        if partitions:
            rejected = {(each.partition, each.offset) for each in batch.rejected}
            for message in messages:
                place = message.partition(), message.offset()
                evaluator.record(Record(*place, created(message), place in rejected))
        batch.alerts, batch.alert_states = evaluator.take()
        batch.notify = self._notify


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


def quotes_of(
    measured: columns.Measured, pair: str, times: Ints, name: str, partition: int, offsets: Ints
) -> list[Quote]:
    """Return the ticks of a pair and its session of this name as the rules see them, from their columns."""
    numbers = (
        measured.bid, measured.ask, measured.mid_price, measured.spread, measured.highest_bid,
        measured.lowest_ask,
    )  # fmt: skip
    unit = Decimal(1).scaleb(-measured.scale)
    decimals = (_decimals(column.units.tolist(), unit) for column in numbers)
    bid, ask, mid_price, spread, highest_bid, lowest_ask = decimals
    return [
        Quote(pair, moment(time), *prices, name, *extremes, partition, offset)
        for time, prices, extremes, offset in zip(
            times.tolist(),
            zip(bid, ask, mid_price, spread, strict=True),
            zip(highest_bid, lowest_ask, strict=True),
            offsets.tolist(),
            strict=True,
        )
    ]


def _decimals(units: list[int], unit: Decimal) -> list[Decimal]:
    """Return numbers as decimals; each once, as extremes seldom change and prices come again."""
    known = {number: number * unit for number in set(units)}
    return [known[number] for number in units]
