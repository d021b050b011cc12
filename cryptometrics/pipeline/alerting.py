"""The rules' part in a worker: a batch is judged, and what comes of it is written with the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.alerts.evaluator import Evaluator, ObservedGap, ObservedRecord, subject_of
from cryptometrics.kafka.record import created
from cryptometrics.pipeline.runs import Run, in_turn
from cryptometrics.store import alerts as store

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import psycopg

    from cryptometrics.alerts.rules import Rule
    from cryptometrics.kafka import record
    from cryptometrics.pipeline.runs import Seen
    from cryptometrics.store.batch_transaction import Batch


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
        seen: Iterable[Seen],
        batch: Batch,
    ) -> None:
        """Judge a batch and put what has changed into it.

        messages: what it was made of; seen: its ticks, pair by pair.
        """
        evaluator = self._evaluator
        by_pair: dict[str, list[Seen]] = {}
        gaps = (ObservedGap(g.pair, g.ends, g.trades_missed, g.partition, g.offset) for g in batch.gaps)
        for each in (*seen, *gaps) if evaluator.has_pair_rules else ():
            by_pair.setdefault(each.pair, []).append(each)
        known_in = {pair: of[0].partition for pair, of in by_pair.items()}
        if evaluator.has_record_rules:
            known_in |= {subject_of(partition): partition for partition in batch.parts}
        if unknown := evaluator.unknown(known_in):
            for name, past in store.recall(connection, self._group, unknown).items():
                evaluator.load(name, known_in[name], past)
        for of in by_pair.values():
            self._judge_pair(of)
        if evaluator.has_record_rules:
            rejected = {(each.partition, each.offset) for each in batch.rejected}
            for message in messages:
                place = message.partition(), message.offset()
                evaluator.record(ObservedRecord(*place, created(message), place in rejected))
        transitions, batch.alert_states = evaluator.take()
        batch.alerts = sorted(transitions, key=lambda news: (news.partition, news.offset))
        batch.notify = self._notify

    def _judge_pair(self, seen: list[Seen]) -> None:
        evaluator, first = self._evaluator, seen[0]
        if len(seen) == 1 and isinstance(first, Run) and evaluator.skip(first):
            return
        for each in in_turn(seen):
            if isinstance(each, ObservedGap):
                evaluator.gap(each)
            else:
                evaluator.quote(each)
