"""Evaluate alert rules on a batch, and put the result into the batch, to be stored in its transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from cryptometrics.alerts.evaluator import Evaluator, ObservedGap, ObservedRecord, subject_of
from cryptometrics.alerts.observed_ticks import Quote, TickRun
from cryptometrics.kafka.record import created
from cryptometrics.market.venues import Market

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cryptometrics.alerts.channels import Recipients
    from cryptometrics.alerts.evaluator import StoredStates
    from cryptometrics.alerts.rules import Rule
    from cryptometrics.kafka import record
    from cryptometrics.store.batch_transaction import Batch

Observed: TypeAlias = "Quote | TickRun"
"""A tick, or many ticks of one pair and session, as rules see them."""


class Alerting:
    """Evaluates batch after batch. Its state is dropped in doubt and loaded again, like a worker's cache."""

    def __init__(
        self,
        rules: Sequence[Rule],
        load: Callable[[Iterable[Market]], Mapping[Market, StoredStates]],
        recipients: Recipients,
    ) -> None:
        """load: returns the stored state of pairs and partitions. recipients: where alerts are sent."""
        self._load = load
        self._recipients = recipients
        self._evaluator = Evaluator(rules)

    def drop(self, partitions: Iterable[int]) -> None:
        """Drop partitions and their pairs."""
        self._evaluator.drop(partitions)

    def drop_all(self) -> None:
        """Drop everything."""
        self._evaluator.drop_all()

    def evaluate(self, messages: Sequence[record.Record], observed: Iterable[Observed], batch: Batch) -> None:
        """Evaluate a batch and put what has changed into it.

        messages: of the batch; observed: its ticks, market by market.
        """
        evaluator = self._evaluator
        by_market: dict[Market, list[Observed | ObservedGap]] = {}
        gaps = (
            ObservedGap(Market(g.venue, g.pair), g.ends, g.trades_missed, g.partition, g.offset)
            for g in batch.gaps
        )
        for each in (*observed, *gaps) if evaluator.has_pair_rules else ():
            by_market.setdefault(each.market, []).append(each)
        partition_of = {market: of[0].partition for market, of in by_market.items()}
        if evaluator.has_record_rules:
            partition_of |= {subject_of(partition): partition for partition in batch.parts}
        if unknown := evaluator.unknown(partition_of):
            for market, past in self._load(unknown).items():
                evaluator.load(market, partition_of[market], past)
        for of in by_market.values():
            self._evaluate_pair(of)
        if evaluator.has_record_rules:
            rejected = {(each.partition, each.offset) for each in batch.rejected}
            for message in messages:
                place = message.partition(), message.offset()
                evaluator.record(ObservedRecord(*place, created(message), place in rejected))
        transitions, batch.alert_states = evaluator.take()
        batch.alerts = sorted(transitions, key=lambda each: (each.partition, each.offset))
        batch.recipients = self._recipients

    def _evaluate_pair(self, observed: list[Observed | ObservedGap]) -> None:
        evaluator, first = self._evaluator, observed[0]
        if len(observed) == 1 and isinstance(first, TickRun) and evaluator.skip(first):
            return
        for each in in_topic_order(observed):
            if isinstance(each, ObservedGap):
                evaluator.gap(each)
            else:
                evaluator.quote(each)


def in_topic_order(observed: list[Observed | ObservedGap]) -> list[Quote | ObservedGap]:
    """Return what was observed of a pair one by one, in the order of the topic."""
    single: list[Quote | ObservedGap] = []
    for each in observed:
        if isinstance(each, TickRun):
            single += each.quotes()
        else:
            single.append(each)
    single.sort(key=lambda each: each.offset)  # ticks are measured session by session
    return single
