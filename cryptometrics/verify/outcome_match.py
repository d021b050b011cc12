"""Compare rejected messages, gap records, duplicates and holes with the messages of the topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.times import from_microseconds, to_microseconds
from cryptometrics.verify.duplicate_check import Duplicate
from cryptometrics.verify.findings import FindingKind
from cryptometrics.verify.message_decoder import GapMessage, InvalidMessageError, read
from cryptometrics.verify.message_match import MAX_CLOCK_DIFFERENCE, valid_quotes
from cryptometrics.verify.outcome_details import created_at, digest, gap_fingerprint

if TYPE_CHECKING:
    from datetime import datetime

    from confluent_kafka import Message

    from cryptometrics.verify.duplicate_check import DuplicateCheck
    from cryptometrics.verify.findings import Findings, TopicPartition
    from cryptometrics.verify.message_decoder import QuoteMessage
    from cryptometrics.verify.offset_books import OffsetBook
    from cryptometrics.verify.partition_messages import PartitionMessages
    from cryptometrics.verify.stored_outcomes import OtherOutcome, OutcomeRanges

REFUSED_BY_POSTGRES = "refused_by_postgres"


class OutcomeMatch:
    """Compares the outcomes that are not rows; `DuplicateCheck` looks up the duplicates later."""

    def __init__(self, findings: Findings, duplicates: DuplicateCheck) -> None:
        self._findings = findings
        self._duplicates = duplicates

    def compare(self, messages: PartitionMessages, outcomes: OutcomeRanges) -> None:
        """Compare the outcomes of some offsets whose messages are at hand."""
        duplicates: list[tuple[range, int]] = []
        """Where their messages are, and when they were recorded."""
        where = messages.book.topic_partition
        for outcome in outcomes.others():
            places, lacking = messages.between(outcome.first, outcome.last)
            if outcome.kind == "duplicates":
                duplicates.append((places, outcome.recorded))
            elif places:
                self._compare(messages, outcome, places)
            if outcome.kind != "holes":
                first = max(outcome.first, messages.begin)
                self._findings.add_offsets(FindingKind.NOT_ON_TOPIC, where, first, first + lacking - 1)
        if duplicates:
            self._add_duplicates(messages, duplicates)

    def valid(
        self, where: TopicPartition, message: Message, recorded: int, offset: int
    ) -> QuoteMessage | GapMessage | None:
        """Return the quote or gap record in a message; report a message that has none."""
        try:
            return read(message.key(), message.value(), _moment(recorded) + MAX_CLOCK_DIFFERENCE)
        except InvalidMessageError as error:
            self._findings.add_offsets(FindingKind.NOT_VALID, where, offset, column=error.reason)
            return None

    def _compare(self, messages: PartitionMessages, outcome: OtherOutcome, places: range) -> None:
        where = messages.book.topic_partition
        for place in places:
            offset, message = int(messages.offsets[place]), messages.messages[place]
            if outcome.kind == "rejected":
                self._compare_rejected(where, outcome, message, offset)
            elif outcome.kind == "gaps":
                self._compare_gap(where, outcome, message, offset)
            elif outcome.detail == "hole":
                self._findings.add_offsets(FindingKind.NO_HOLE, where, offset)

    def _add_duplicates(self, messages: PartitionMessages, duplicates: list[tuple[range, int]]) -> None:
        """Add the messages that were counted as duplicates, those of a known layout as columns."""
        places = np.concatenate([np.arange(each.start, each.stop) for each, _ in duplicates])
        recorded = np.repeat([at for _, at in duplicates], [len(each) for each, _ in duplicates])
        table = messages.table
        is_valid = valid_quotes(table, places, recorded) & table.has_trade_id[places]
        of_table = places[is_valid]
        self._duplicates.add(
            messages.book,
            map(
                Duplicate,
                [table.venues.texts[number].decode() for number in table.venue[of_table].tolist()],
                [table.pairs.texts[number].decode() for number in table.pair[of_table].tolist()],
                table.trade_id[of_table].tolist(),
                table.time[of_table].tolist(),
                messages.offsets[of_table].tolist(),
            ),
        )
        for place, at in zip(places[~is_valid].tolist(), recorded[~is_valid].tolist(), strict=True):
            self._add_duplicate(messages.book, at, messages.messages[place], int(messages.offsets[place]))

    def _compare_gap(
        self, where: TopicPartition, outcome: OtherOutcome, message: Message, offset: int
    ) -> None:
        found = self.valid(where, message, outcome.recorded, offset)
        if isinstance(found, GapMessage):
            if gap_fingerprint(found) != outcome.detail:
                self._findings.add_offsets(FindingKind.DIFFERS, where, offset, column="gap")
        elif found is not None:
            self._findings.add_offsets(FindingKind.NOT_VALID, where, offset, column="gap")

    def _add_duplicate(self, book: OffsetBook, recorded: int, message: Message, offset: int) -> None:
        where = book.topic_partition
        found = self.valid(where, message, recorded, offset)
        if isinstance(found, GapMessage):
            self._findings.add_offsets(FindingKind.NOT_VALID, where, offset, column="unknown_type")
        elif found is not None and found.trade_id is None:
            self._findings.add_offsets(FindingKind.NO_DUPLICATE, where, offset)
        elif found is not None and found.trade_id is not None:
            time = to_microseconds(found.time)
            self._duplicates.add(book, [Duplicate(found.venue, found.pair, found.trade_id, time, offset)])

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


def _moment(microseconds: int) -> datetime:
    """Return `recorded_at`: a clock's time, so Python can represent it."""
    return from_microseconds(microseconds)
