"""Read the topic again, and compare each stored outcome with the message at its offset.

Outcomes and messages both come in the order of the offsets, so memory stays flat. Only outcomes and quotes
are compared: `row_check` recomputes the numbers that follow from the quotes. Rows whose message has a known
layout are compared as columns; each that does not match there is compared once more by itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.errors import UserError
from cryptometrics.kafka.topic import describe_topic
from cryptometrics.verify.duplicate_check import DuplicateCheck
from cryptometrics.verify.findings import FindingKind
from cryptometrics.verify.message_decoder import GapMessage
from cryptometrics.verify.message_match import (
    QUOTE_COLUMNS,
    matching_rows,
    stored_quote,
)
from cryptometrics.verify.message_table import MessageReader
from cryptometrics.verify.minute_trades import MinuteTrades
from cryptometrics.verify.outcome_match import OutcomeMatch
from cryptometrics.verify.partition_messages import PartitionMessages
from cryptometrics.verify.topic_reader import TopicReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg
    from confluent_kafka import Message

    from cryptometrics.config import Settings
    from cryptometrics.verify.findings import Findings
    from cryptometrics.verify.offset_books import GroupBooks, OffsetBook
    from cryptometrics.verify.pair_rows import PairRows
    from cryptometrics.verify.stored_outcomes import OutcomeRanges


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
        self._messages: PartitionMessages | None = None
        self._columns = MessageReader()
        self._trades = MinuteTrades()
        self._duplicates = DuplicateCheck()
        self._outcomes = OutcomeMatch(findings, self._duplicates)
        self.notes: list[str] = []
        self.unchecked = 0
        """Offsets whose messages the topic no longer holds."""

    def close(self) -> None:
        """Close the consumer and the temporary files."""
        self._reader.close()
        self._trades.close()
        self._duplicates.close()

    def add(self, outcomes: OutcomeRanges, rows: Sequence[PairRows]) -> None:
        """Compare the outcomes of some offsets, which follow those before; rows: those of OUTCOMES[0].

        Raises ServiceUnavailableError if Kafka stops responding.
        """
        book = self._by_partition.get(outcomes.partition)
        if book is None:
            return  # offset_check reports rows without a book
        if self._messages is None or self._messages.book is not book:
            self._messages = self._open(book)
        messages = self._messages
        if messages.begin >= messages.end:
            return
        messages.read(int(outcomes.firsts[0]), int(outcomes.lasts.max()))
        for of_pair in rows:
            self._compare_rows(messages, of_pair)
        self._outcomes.compare(messages, outcomes)
        messages.drop_before(int(outcomes.firsts[-1]))

    def finish(self, connection: psycopg.Connection) -> None:
        """Compare what all messages amount to, once all outcomes were added."""
        self._duplicates.check(connection, self._books, self._findings)
        self._trades.check(connection, self._books.group, self._findings)

    def _open(self, book: OffsetBook) -> PartitionMessages:
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
        reader = self._reader.open(book.topic_partition, begin, end)
        return PartitionMessages(book, begin, end, reader, self._columns)

    def _topic_id(self, book: OffsetBook) -> str | None:
        """Return the current id of the topic; None if it does not exist or the book is closed."""
        if book.ends is not None:
            return None
        try:
            return describe_topic(replace(self._settings, kafka_topic=book.topic)).id
        except UserError:
            return None

    def _compare_rows(self, messages: PartitionMessages, rows: PairRows) -> None:
        offsets = rows.offsets
        places, is_there = messages.places(offsets)
        for offset in offsets[~is_there & (offsets >= messages.begin) & (offsets < messages.end)].tolist():
            self._findings.add_offsets(FindingKind.NOT_ON_TOPIC, rows.partition, offset)
        if not is_there.any():
            return
        matches = matching_rows(rows, messages.table, places) & is_there
        self._trades.add_rows(rows, messages.table, places, matches)
        for row in np.flatnonzero(is_there & ~matches).tolist():
            self._compare_row(rows, row, messages.messages[places[row]])

    def _compare_row(self, rows: PairRows, row: int, message: Message) -> None:
        """Compare one row with its message, value by value."""
        offset = int(rows.offsets[row])
        found = self._outcomes.valid(rows.partition, message, int(rows.recorded[row]), offset)
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
