"""Find open transactions, which hold back every reader of committed records, and report them.

A reader gets nothing beyond the last stable offset, at which the oldest open transaction begins. Usually
that moves on within seconds. A publisher that died leaves its transaction open until Kafka aborts it.
"""

from __future__ import annotations

import concurrent.futures
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import KafkaException

from cryptometrics import log
from cryptometrics.kafka import errors
from cryptometrics.kafka.partition_ends import ANSWER_S, offset_in, request_ends
from cryptometrics.times import Interval, iso

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from confluent_kafka.admin import AdminClient

    from cryptometrics.kafka.partition_ends import Answer, Place

ASK_EVERY_S = 3.0
REPORT_AFTER_S = 10.0
"""A transaction is reported once it has been open for so long: working publishers commit sooner."""


class OpenTransaction(NamedTuple):
    """The oldest open transaction of a partition."""

    offset: int
    """Where it begins: the last stable offset. Readers wait here."""
    messages: int
    """The number of offsets that readers wait for, at least; those of other publishers are among them."""
    since: datetime
    """When it was first seen."""


class EndsProbe:
    """Asks Kafka for the ends of partitions without waiting, and finds open transactions by them.

    The end of all records is asked for first, and the end of the committed ones after its answer. Only so a
    lower committed end proves an open transaction: in the other order, records may arrive in between.
    """

    def __init__(self, admin: AdminClient, limit: float) -> None:
        """limit: seconds Kafka has for each of the two answers."""
        self._admin = admin
        self._limit = limit
        self._asked: dict[Place, Answer] = {}
        self._asked_committed: dict[Place, Answer] = {}
        self.ends: dict[Place, int] = {}
        """The newest known ends, open transactions included."""
        self.open: dict[Place, OpenTransaction | None] = {}
        """The open transaction of each partition, or None, as of `answered_at`; only known ones."""
        self.answered_at = datetime.now(UTC)

    def ask(self, places: Collection[Place]) -> bool:
        """Ask for these ends, unless an answer is pending; return whether it did."""
        if self._asked or self._asked_committed or not places:
            return False
        self._asked = request_ends(self._admin, places, self._limit)
        return True

    def listen(self, wait: float = 0.0) -> bool:
        """Read the answers that arrive within `wait` seconds each; return whether `ends` are new.

        Raises KafkaException if Kafka did not answer.
        """
        has_ends = _have_arrived(self._asked, wait)
        if has_ends:
            answers, self._asked = self._asked, {}
            self.ends = {place: offset_in(answer) for place, answer in answers.items()}
            self._asked_committed = request_ends(self._admin, answers, self._limit, committed=True)
        if _have_arrived(self._asked_committed, wait):
            answers, self._asked_committed = self._asked_committed, {}
            self._compare({place: offset_in(answer) for place, answer in answers.items()})
        return has_ends

    def _compare(self, committed: dict[Place, int]) -> None:
        self.answered_at = datetime.now(UTC)
        self.open = {
            place: OpenTransaction(offset, messages, self._since(place, offset)) if messages > 0 else None
            for place, offset in committed.items()
            for messages in [self.ends[place] - offset]
        }

    def _since(self, place: Place, offset: int) -> datetime:
        known = self.open.get(place)
        return known.since if known is not None and known.offset == offset else self.answered_at


def _have_arrived(answers: dict[Place, Answer], wait: float) -> bool:
    return bool(answers) and not concurrent.futures.wait(answers.values(), wait).not_done


class TransactionMonitor:
    """Logs each open transaction that holds back a reader of a topic, once, and its end."""

    def __init__(self, admin: AdminClient, topic: str, address: str, **context: object) -> None:
        """address: Kafka's, for the command that the log recommends. context: part of each event."""
        self._probe = EndsProbe(admin, ANSWER_S)
        self._topic = topic
        self._address = address
        self._log = log.get_logger(**context)
        self._interval = Interval(ASK_EVERY_S)
        self._reported: dict[int, OpenTransaction] = {}

    def poll(self, partitions: Collection[int]) -> None:
        """Report on the partitions that are being read, by Kafka's last answer; ask again when it is time."""
        self._listen(0)
        self._report(partitions, REPORT_AFTER_S)
        if self._interval.elapsed():
            self._ask(partitions)

    def check(self, partitions: Collection[int]) -> None:
        """Ask now, and report every open transaction, however new: for a reader that is about to end."""
        self._listen(ANSWER_S)  # an earlier request may be pending
        self._ask(partitions)
        self._listen(ANSWER_S)
        self._report(partitions, 0.0)

    def seconds(self, partitions: Iterable[int]) -> dict[int, float]:
        """Return how long each partition has been held back: 0 without an open transaction.

        Omits a partition whose end Kafka has not reported.
        """
        return {partition: self._age(found) for partition, found in self._known(partitions).items()}

    def _known(self, partitions: Iterable[int]) -> dict[int, OpenTransaction | None]:
        places = {partition: (self._topic, partition) for partition in sorted(partitions)}
        return {n: self._probe.open[place] for n, place in places.items() if place in self._probe.open}

    def _age(self, transaction: OpenTransaction | None) -> float:
        """Return the seconds until Kafka's last answer, not until now: it may have ended since."""
        return (self._probe.answered_at - transaction.since).total_seconds() if transaction else 0.0

    def _ask(self, partitions: Iterable[int]) -> None:
        self._probe.ask([(self._topic, partition) for partition in partitions])

    def _listen(self, wait: float) -> None:
        try:
            self._probe.listen(wait)
        except KafkaException as error:
            self._log.debug("ends_unknown", error=errors.text(error))

    def _report(self, partitions: Collection[int], after: float) -> None:
        """Log the end of what was logged, then what has been open for `after` seconds and is not logged."""
        known = self._known(partitions)
        for partition, reported in list(self._reported.items()):
            if partition not in partitions:
                del self._reported[partition]  # the worker that reads it now reports it
            elif partition in known and not _is_same(reported, known[partition]):
                del self._reported[partition]
                age = round(self._age(reported))
                self._log.info("open_transaction_ended", partition=partition, seconds=age)
        for partition, found in known.items():
            if found is not None and partition not in self._reported and self._age(found) >= after:
                self._reported[partition] = found
                self._log.warning(
                    "open_transaction",
                    partition=partition,
                    offset=found.offset,
                    messages=found.messages,
                    since=iso(found.since, timespec="seconds"),
                    hint=self._hint(partition, found.offset),
                )

    def _hint(self, partition: int, offset: int) -> str:
        return (
            "what follows it cannot be read before it ends: Kafka aborts it after its publisher's "
            "transaction.timeout.ms; to abort it now: kafka-transactions.sh --bootstrap-server "
            f"{self._address} abort --topic {self._topic} --partition {partition} --start-offset {offset}"
        )


def _is_same(reported: OpenTransaction, found: OpenTransaction | None) -> bool:
    return found is not None and found.offset == reported.offset
