"""Read the topic again, and compare each stored outcome with the message at its offset.

Outcomes and messages both come in the order of the offsets, so memory stays flat. Only outcomes and quotes
are compared: `row_check` recomputes the numbers that follow from the quotes. Rows whose message has a known
layout are compared as columns; each that does not match there is compared once more by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.errors import UserError
from cryptometrics.kafka.topic import describe_topic
from cryptometrics.times import from_microseconds
from cryptometrics.verify.duplicate_check import DuplicateCheck
from cryptometrics.verify.findings import FindingKind
from cryptometrics.verify.message_decoder import GapMessage, InvalidMessageError, read
from cryptometrics.verify.message_match import (
    MAX_CLOCK_DIFFERENCE,
    QUOTE_COLUMNS,
    matching_rows,
    stored_quote,
)
from cryptometrics.verify.message_table import MessageReader
from cryptometrics.verify.minute_trades import MinuteTrades
from cryptometrics.verify.outcome_details import created_at, digest, gap_fingerprint
from cryptometrics.verify.topic_reader import TopicReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    import psycopg
    from confluent_kafka import Message
    from numpy.typing import NDArray

    from cryptometrics.config import Settings
    from cryptometrics.verify.copy_blocks import Integers
    from cryptometrics.verify.findings import Findings, TopicPartition
    from cryptometrics.verify.message_decoder import QuoteMessage
    from cryptometrics.verify.message_table import MessageTable
    from cryptometrics.verify.offset_books import GroupBooks, OffsetBook
    from cryptometrics.verify.pair_rows import PairRows
    from cryptometrics.verify.stored_outcomes import OtherOutcome, OutcomeRanges

REFUSED_BY_POSTGRES = "refused_by_postgres"


@dataclass(slots=True)
class _Partition:
    """A partition that is being read: which offsets Kafka still holds, and the messages at hand."""

    book: OffsetBook
    begin: int
    end: int
    batches: Iterator[list[Message]]
    messages: list[Message] = field(default_factory=list)
    offsets: Integers = field(default_factory=lambda: np.zeros(0, np.int64))

    def receive_until(self, offset: int) -> None:
        """Receive the messages up to an offset."""
        while not len(self.offsets) or self.offsets[-1] < min(offset, self.end - 1):
            received = next(self.batches, None)
            if received is None:
                return
            self.messages += received
            new = np.fromiter((message.offset() for message in received), np.int64, len(received))
            self.offsets = np.concatenate((self.offsets, new))

    def drop_before(self, offset: int) -> None:
        """Forget the messages before an offset."""
        count = int(np.searchsorted(self.offsets, offset))
        del self.messages[:count]
        self.offsets = self.offsets[count:]


class TopicCheck:
    """Compares the stored outcomes of one group with its topics; must be closed."""

    def __init__(
        self,
        settings: Settings,
        books: GroupBooks,
        findings: Findings,
    ) -> None:
        self._settings = settings
        self._books = books
        self._findings = findings
        self._by_partition = {book.topic_partition: book for book in books.books}
        self._reader = TopicReader(settings)
        self._topic_ids: dict[str, str | None] = {}
        self._partition: _Partition | None = None
        self._columns = MessageReader()
        self._trades = MinuteTrades()
        self._duplicates = DuplicateCheck()
        self.notes: list[str] = []
        self.unchecked = 0
        """Offsets whose messages the topic no longer holds."""

    def close(self) -> None:
        """Close the consumer and the temporary files."""
        self._reader.close()
        self._duplicates.close()

    def add(self, outcomes: OutcomeRanges, rows: Sequence[PairRows]) -> None:
        """Compare the outcomes of some offsets, which follow those before; rows: those of OUTCOMES[0].

        Raises ServiceUnavailableError if Kafka stops responding.
        """
        book = self._by_partition.get(outcomes.partition)
        if book is None:
            return  # offset_check reports rows without a book
        if self._partition is None or self._partition.book is not book:
            self._partition = self._open(book)
        partition = self._partition
        if partition.begin >= partition.end:
            return
        partition.receive_until(int(outcomes.lasts.max()))
        table = self._columns.read(
            [message.key() for message in partition.messages],
            [message.value() for message in partition.messages],
        )
        for of_pair in rows:
            self._compare_rows(partition, of_pair, table)
        for outcome in outcomes.others():
            self._compare_outcome(partition, outcome)
        partition.drop_before(int(outcomes.firsts[-1]))

    def finish(self, connection: psycopg.Connection) -> None:
        """Compare what all messages amount to, once all outcomes were added."""
        self._duplicates.check(connection, self._books, self._findings)
        self._trades.check(connection, self._books.group, self._findings)

    def _open(self, book: OffsetBook) -> _Partition:
        """Begin with a partition, and note which of its offsets cannot be compared."""
        if book.topic not in self._topic_ids:
            self._topic_ids[book.topic] = self._topic_id(book)
        first = begin = self._books.start_of(book)
        end = book.next_offset
        has_topic = self._topic_ids[book.topic] == book.topic_id
        if has_topic:
            low, high = self._reader.held(book.topic_partition)
            begin, end = max(begin, low), min(end, high)
        else:
            begin = end
        unchecked = book.next_offset - first - max(end - begin, 0)
        if unchecked:
            why = "Kafka no longer holds them" if has_topic else "the topic no longer exists"
            self.notes.append(
                f"{book.topic_partition}: not checked against the topic: {unchecked} offsets ({why})"
            )
            self.unchecked += unchecked
        return _Partition(book, begin, end, self._reader.read(book.topic_partition, begin, end))

    def _topic_id(self, book: OffsetBook) -> str | None:
        """Return the current id of the topic; None if it does not exist or the book is closed."""
        if book.ends is not None:
            return None
        try:
            return describe_topic(replace(self._settings, kafka_topic=book.topic)).id
        except UserError:
            return None

    def _places(self, partition: _Partition, rows: PairRows) -> tuple[Integers, NDArray[np.bool_]]:
        """Return where the message of each row is, and whether there is one; report those without."""
        offsets = rows.offsets
        places = np.minimum(np.searchsorted(partition.offsets, offsets), max(len(partition.offsets) - 1, 0))
        if not len(partition.offsets):
            is_there = np.zeros(len(offsets), np.bool_)
        else:
            is_there = partition.offsets[places] == offsets
        lacking = ~is_there & (offsets >= partition.begin) & (offsets < partition.end)
        for offset in offsets[lacking].tolist():
            self._findings.add_offsets(FindingKind.NOT_ON_TOPIC, rows.partition, offset)
        return places, is_there

    def _compare_rows(self, partition: _Partition, rows: PairRows, table: MessageTable) -> None:
        places, is_there = self._places(partition, rows)
        if not is_there.any():
            return
        matches = matching_rows(rows, table, places) & is_there
        self._trades.add_rows(rows, table, places, matches)
        for row in np.flatnonzero(is_there & ~matches).tolist():
            self._compare_row(rows, row, partition.messages[places[row]])

    def _compare_row(self, rows: PairRows, row: int, message: Message) -> None:
        """Compare one row with its message, value by value."""
        offset = int(rows.offsets[row])
        found = self._valid(rows.partition, message, int(rows.recorded[row]), offset)
        if found is None:
            return
        if isinstance(found, GapMessage):
            self._findings.add_offsets(FindingKind.NOT_VALID, rows.partition, offset, column="unknown_type")
            return
        is_known = not rows.is_before_sizes[row]
        if not is_known:
            found = found._replace(bid_size=None, ask_size=None)
        self._trades.add(found, known=is_known)
        for column, true, stored in zip(QUOTE_COLUMNS, found, stored_quote(rows, row), strict=False):
            if true != stored:
                self._findings.add_offsets(FindingKind.DIFFERS, rows.partition, offset, column=column)

    def _compare_outcome(self, partition: _Partition, outcome: OtherOutcome) -> None:
        """Compare an outcome that is no row with its messages."""
        where = partition.book.topic_partition
        first, last = max(outcome.first, partition.begin), min(outcome.last, partition.end - 1)
        if first > last:
            return
        begin, end = np.searchsorted(partition.offsets, [first, last + 1]).tolist()
        for place in range(begin, end):
            offset, message = int(partition.offsets[place]), partition.messages[place]
            if outcome.kind == "rejected":
                self._compare_rejected(where, outcome, message, offset)
            elif outcome.kind == "gaps":
                self._compare_gap(where, outcome, message, offset)
            elif outcome.detail == "duplicate":
                self._add_duplicate(partition.book, outcome, message, offset)
            elif outcome.detail == "hole":
                self._findings.add_offsets(FindingKind.NO_HOLE, where, offset)
        if outcome.kind != "holes":
            self._findings.add_offsets(FindingKind.NOT_ON_TOPIC, where, first, last - (end - begin))

    def _compare_gap(
        self, where: TopicPartition, outcome: OtherOutcome, message: Message, offset: int
    ) -> None:
        found = self._valid(where, message, outcome.recorded, offset)
        if isinstance(found, GapMessage):
            if gap_fingerprint(found) != outcome.detail:
                self._findings.add_offsets(FindingKind.DIFFERS, where, offset, column="gap")
        elif found is not None:
            self._findings.add_offsets(FindingKind.NOT_VALID, where, offset, column="gap")

    def _add_duplicate(self, book: OffsetBook, outcome: OtherOutcome, message: Message, offset: int) -> None:
        where = book.topic_partition
        found = self._valid(where, message, outcome.recorded, offset)
        if isinstance(found, GapMessage):
            self._findings.add_offsets(FindingKind.NOT_VALID, where, offset, column="unknown_type")
        elif found is not None and found.trade_id is None:
            self._findings.add_offsets(FindingKind.NO_DUPLICATE, where, offset)
        elif found is not None:
            self._duplicates.add(book, found, offset)

    def _compare_rejected(
        self, where: TopicPartition, outcome: OtherOutcome, message: Message, offset: int
    ) -> None:
        key, value, created, reason = outcome.detail.split(" ", 3)
        for column, true, stored in (
            ("key", digest(message.key()), key),
            ("value", digest(message.value()), value),
            ("kafka_timestamp", created_at(message), created),
        ):
            if true != stored:
                self._findings.add_offsets(FindingKind.DIFFERS, where, offset, column=column)
        if reason == REFUSED_BY_POSTGRES:
            return  # it may be valid: only PostgreSQL knows why it refused it
        try:
            read(message.key(), message.value(), _moment(outcome.recorded) - MAX_CLOCK_DIFFERENCE)
        except InvalidMessageError as error:
            if error.reason == reason:
                return
        self._findings.add_offsets(FindingKind.VALID, where, offset, column=reason)

    def _valid(
        self, where: TopicPartition, message: Message, recorded: int, offset: int
    ) -> QuoteMessage | GapMessage | None:
        """Return the quote or gap record in a message; report a message that has none."""
        try:
            return read(message.key(), message.value(), _moment(recorded) + MAX_CLOCK_DIFFERENCE)
        except InvalidMessageError as error:
            self._findings.add_offsets(FindingKind.NOT_VALID, where, offset, column=error.reason)
            return None


def _moment(microseconds: int) -> datetime:
    """Return `recorded_at`; it is a clock's time, so it has a form in Python."""
    return from_microseconds(microseconds)
