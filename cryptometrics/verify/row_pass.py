"""Check everything that follows from the stored rows and offsets, in one pass over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.times import from_microseconds
from cryptometrics.verify.findings import FindingKind
from cryptometrics.verify.gap_check import StartCheck
from cryptometrics.verify.minute_check import check_minutes
from cryptometrics.verify.minute_sums import MinuteSums
from cryptometrics.verify.offset_check import DayCounts, OffsetLedger
from cryptometrics.verify.outcome_digest import OutcomeDigest
from cryptometrics.verify.pair_rows import PairRowsOf
from cryptometrics.verify.proved_counts import check_proved_counts
from cryptometrics.verify.row_check import RowCheck
from cryptometrics.verify.row_state import RowState
from cryptometrics.verify.state_check import StateCheck, check_pairs, check_sessions, incomplete_sessions
from cryptometrics.verify.stored_outcomes import OUTCOMES, StoredOutcomes
from cryptometrics.verify.trade_check import RepeatedTrades

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from cryptometrics.verify.findings import Findings, TopicPartition
    from cryptometrics.verify.mark import Mark
    from cryptometrics.verify.offset_books import GroupBooks
    from cryptometrics.verify.pair_rows import PairRows
    from cryptometrics.verify.topic_check import TopicCheck


class RowPass:
    """One pass over the outcomes of a group; must be closed."""

    def __init__(
        self,
        connection: psycopg.Connection,
        books: GroupBooks,
        findings: Findings,
        *,
        topic: TopicCheck | None = None,
        mark: Mark | None = None,
        with_digests: bool = False,
    ) -> None:
        """Prepare the pass.

        topic: also compares every outcome with its message.
        mark: what was proved before. If `books.starts` says so, only what comes after it is checked;
        otherwise everything, and that the mark covers the same as then.
        with_digests: whether to return fingerprints of the outcomes.
        """
        self._connection, self._books, self._findings = connection, books, findings
        self._topic, self._mark = topic, mark
        self._is_partial = bool(books.starts)
        self._has_digests = with_digests or mark is not None
        self.state = RowState.load(mark.state) if mark is not None and self._is_partial else RowState()
        """What the rows amount to."""
        self._outcomes = StoredOutcomes(connection, books, details=topic is not None or self._has_digests)
        proved = None
        if mark is not None and self._is_partial:
            proved = {
                part.topic_partition: [getattr(part, outcome) for outcome in OUTCOMES]
                for part in mark.partitions
            }
        self._ledger, self._days = OffsetLedger(books, findings, proved), DayCounts()
        self._pairs = PairRowsOf(self._outcomes.series, self.state.markets)
        self._trades, self._minutes = RepeatedTrades(), MinuteSums()
        self._rows = RowCheck(findings, incomplete_sessions(connection, books), self.state.sessions)
        self._known = StateCheck(connection, books, findings)
        self._starts = StartCheck(connection, books, findings, self.state.markets)
        self._digests: dict[TopicPartition, OutcomeDigest] = {}

    def close(self) -> None:
        """Delete the temporary files."""
        self._minutes.close()

    def run(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Read and check all outcomes; progress: called with the number that were read."""
        done = 0
        for ranges, stored in self._outcomes.blocks():
            rows_of = {rows.partition: rows for rows in stored}
            for part in ranges:
                self._ledger.add(part)
                done += len(part.firsts)
                rows = rows_of.pop(part.partition, None)
                pairs: list[PairRows] = []
                if rows is not None:
                    self._days.add(rows)
                    pairs += self._pairs.split(rows)
                for pair in pairs:
                    self._add(pair)
                if self._topic is not None:
                    self._topic.add(part, pairs)
                if self._has_digests:
                    digest = self._digest(part.partition)
                    digest.add_others(part)
                    if rows is not None:
                        digest.add_rows(rows, self._outcomes.series)
            progress(done)
        self._finish()

    def digests(self) -> dict[TopicPartition, bytes]:
        """Return the fingerprint of each partition."""
        for book in self._books.books:
            self._digest(book.topic_partition)
        return {where: digest.value() for where, digest in self._digests.items()}

    def _add(self, rows: PairRows) -> None:
        for step in (self._rows, self._known, self._trades, self._starts, self._minutes):
            step.add(rows)
        self.state.partitions[rows.era, rows.market.pair].add(rows.partition.partition)

    def _digest(self, partition: TopicPartition) -> OutcomeDigest:
        if partition not in self._digests:
            part = self._mark.by_partition().get(partition) if self._mark is not None else None
            if part is None:
                digest = OutcomeDigest()
            elif self._is_partial:
                digest = OutcomeDigest(part.digest)
            else:
                digest = OutcomeDigest(end=part.next_offset)
            self._digests[partition] = digest
        return self._digests[partition]

    def _finish(self) -> None:
        """Check what all outcomes amount to."""
        connection, books, findings = self._connection, self._books, self._findings
        self._ledger.finish()
        self._starts.finish()
        if self._mark is None:
            self._days.check(connection, books, findings)
        elif self._is_partial:
            check_proved_counts(connection, books, findings, self._mark)
            minutes = [from_microseconds(start) for start in sorted(self._minutes.starts())]
            pairs = PairRowsOf(self._outcomes.series)
            for before in self._outcomes.before(minutes):
                for rows in pairs.split(before):
                    self._minutes.add(rows, is_late_known=False)
        else:
            self._days.check(connection, books, findings)
            self._check_mark(self._mark)
        self._trades.check(connection, books, findings)
        check_sessions(connection, books, findings, self.state.sessions)
        check_pairs(connection, books, findings, self.state.markets)
        check_minutes(connection, books, findings, self._minutes)
        if self._topic is not None:
            self._topic.finish(connection)

    def _check_mark(self, mark: Mark) -> None:
        """Find the partitions in which something changed that was proved before."""
        digests = self.digests()
        for part in mark.partitions:
            if digests.get(part.topic_partition) != part.digest:
                text = f"offsets {part.first_offset} to {part.next_offset - 1}"
                self._findings.add_text(FindingKind.MARK, text, part.topic_partition)
