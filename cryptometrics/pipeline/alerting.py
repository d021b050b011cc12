"""Evaluate alert rules on a batch, and put the result into the batch, to be stored in its transaction.

Most ticks change nothing. Ticks that were measured in columns therefore reach the rules as a run of one pair,
which shows how far its values go; it is taken apart only where that may matter.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from cryptometrics.alerts.evaluator import Evaluator, ObservedGap, ObservedRecord, subject_of
from cryptometrics.alerts.meters import Quote
from cryptometrics.kafka.record import created
from cryptometrics.times import from_microseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from cryptometrics.alerts.evaluator import StoredStates
    from cryptometrics.alerts.rules import Rule
    from cryptometrics.kafka import record
    from cryptometrics.market.metrics import Session, TickMetrics
    from cryptometrics.market.table_metrics import PairMetrics
    from cryptometrics.market.ticks import Tick
    from cryptometrics.store.batch_transaction import Batch

Observed: TypeAlias = "Quote | MetricsRun"
"""A tick, or many ticks of one pair and session, as rules see them."""


class MetricsRun:
    """Measured ticks of one pair and session, in the order of the topic."""

    def __init__(self, metrics: PairMetrics) -> None:
        self._metrics = metrics
        self.pair = metrics.ticks.pair
        self.session = str(metrics.ticks.session)
        self.partition = metrics.ticks.partition

    @property
    def in_order(self) -> bool:
        """Whether event times never decrease."""
        return bool((np.diff(self._metrics.ticks.time) >= 0).all())

    @property
    def first(self) -> datetime:
        """The time of the first tick."""
        return from_microseconds(int(self._metrics.ticks.time[0]))

    @property
    def last(self) -> datetime:
        """The time of the last tick."""
        return from_microseconds(int(self._metrics.ticks.time[-1]))

    @property
    def widest(self) -> float:
        """The largest spread in basis points of its mid price, to a float's precision."""
        metrics = self._metrics
        return float((metrics.spread.units / metrics.mid_price.units).max()) * 10_000

    @property
    def highest_bid(self) -> float:
        """The highest bid, to a float's precision."""
        return float(self._metrics.bid.units.max()) / 10.0**self._metrics.scale

    @property
    def lowest_ask(self) -> float:
        """The lowest ask, to a float's precision."""
        return float(self._metrics.ask.units.min()) / 10.0**self._metrics.scale

    def mids(self, width_us: int) -> list[tuple[int, Decimal, Decimal]]:
        """Return the number, lowest and highest mid price of each time slot; the ticks must be in order.

        width_us: of a slot, in microseconds; slots are numbered from 1970.
        """
        metrics = self._metrics
        numbers, mids = metrics.ticks.time // width_us, metrics.mid_price.units
        begins = np.flatnonzero(np.diff(numbers, prepend=-1))
        unit = Decimal(1).scaleb(-metrics.scale)
        lows, highs = (extreme.reduceat(mids, begins).tolist() for extreme in (np.minimum, np.maximum))
        return [
            (number, low * unit, high * unit)
            for number, low, high in zip(numbers[begins].tolist(), lows, highs, strict=True)
        ]

    def quotes(self) -> list[Quote]:
        """Return the ticks one by one."""
        metrics = self._metrics
        numbers = (
            metrics.bid, metrics.ask, metrics.mid_price, metrics.spread, metrics.highest_bid,
            metrics.lowest_ask,
        )  # fmt: skip
        unit = Decimal(1).scaleb(-metrics.scale)
        decimals = (_decimals(column.units.tolist(), unit) for column in numbers)
        times, offsets = metrics.ticks.time.tolist(), metrics.ticks.offset.tolist()
        pair, session, partition = self.pair, self.session, self.partition
        return [
            Quote(pair, from_microseconds(time), bid, ask, mid, spread, session, high, low, partition, offset)
            for time, offset, bid, ask, mid, spread, high, low in zip(times, offsets, *decimals, strict=True)
        ]


class Alerting:
    """Evaluates batch after batch. Its state is dropped in doubt and loaded again, like a worker's cache."""

    def __init__(
        self,
        rules: Sequence[Rule],
        load: Callable[[Iterable[str]], Mapping[str, StoredStates]],
        *,
        notify: bool,
    ) -> None:
        """load: returns the stored state of pairs and partitions. notify: whether a webhook is configured."""
        self._load = load
        self._notify = notify
        self._evaluator = Evaluator(rules)

    def drop(self, partitions: Iterable[int]) -> None:
        """Drop partitions and their pairs."""
        self._evaluator.drop(partitions)

    def drop_all(self) -> None:
        """Drop everything."""
        self._evaluator.drop_all()

    def evaluate(self, messages: Sequence[record.Record], observed: Iterable[Observed], batch: Batch) -> None:
        """Evaluate a batch and put what has changed into it.

        messages: of the batch; observed: its ticks, pair by pair.
        """
        evaluator = self._evaluator
        by_pair: dict[str, list[Observed | ObservedGap]] = {}
        gaps = (ObservedGap(g.pair, g.ends, g.trades_missed, g.partition, g.offset) for g in batch.gaps)
        for each in (*observed, *gaps) if evaluator.has_pair_rules else ():
            by_pair.setdefault(each.pair, []).append(each)
        partition_of = {pair: of[0].partition for pair, of in by_pair.items()}
        if evaluator.has_record_rules:
            partition_of |= {subject_of(partition): partition for partition in batch.parts}
        if unknown := evaluator.unknown(partition_of):
            for name, past in self._load(unknown).items():
                evaluator.load(name, partition_of[name], past)
        for of in by_pair.values():
            self._evaluate_pair(of)
        if evaluator.has_record_rules:
            rejected = {(each.partition, each.offset) for each in batch.rejected}
            for message in messages:
                place = message.partition(), message.offset()
                evaluator.record(ObservedRecord(*place, created(message), place in rejected))
        transitions, batch.alert_states = evaluator.take()
        batch.alerts = sorted(transitions, key=lambda each: (each.partition, each.offset))
        batch.notify = self._notify

    def _evaluate_pair(self, observed: list[Observed | ObservedGap]) -> None:
        evaluator, first = self._evaluator, observed[0]
        if len(observed) == 1 and isinstance(first, MetricsRun) and evaluator.skip(first):
            return
        for each in in_topic_order(observed):
            if isinstance(each, ObservedGap):
                evaluator.gap(each)
            else:
                evaluator.quote(each)


def quote_of(tick: Tick, metrics: TickMetrics, session: str, state: Session, place: tuple[int, int]) -> Quote:
    """Return one tick as rules see it; state: of its session, the tick included."""
    return Quote(
        tick.pair, tick.time, tick.bid, tick.ask, metrics.mid_price, metrics.spread, session,
        state.highest_bid, state.lowest_ask, *place,
    )  # fmt: skip


def in_topic_order(observed: list[Observed | ObservedGap]) -> list[Quote | ObservedGap]:
    """Return what was observed of a pair one by one, in the order of the topic."""
    single: list[Quote | ObservedGap] = []
    for each in observed:
        if isinstance(each, MetricsRun):
            single += each.quotes()
        else:
            single.append(each)
    single.sort(key=lambda each: each.offset)  # ticks are measured session by session
    return single


def _decimals(units: list[int], unit: Decimal) -> list[Decimal]:
    """Return numbers as decimals; each once, as extremes seldom change and prices repeat."""
    known = {number: number * unit for number in set(units)}
    return [known[number] for number in units]
