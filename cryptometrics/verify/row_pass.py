"""Check everything that follows from the stored rows and offsets, in one pass over them."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptometrics.verify.gap_check import StartCheck
from cryptometrics.verify.minute_check import check_minutes
from cryptometrics.verify.minute_sums import MinuteSums
from cryptometrics.verify.offset_check import DayCounts, OffsetLedger
from cryptometrics.verify.pair_rows import PairRowsOf
from cryptometrics.verify.row_check import RowCheck
from cryptometrics.verify.state_check import StateCheck, check_pairs, check_sessions, incomplete_sessions
from cryptometrics.verify.stored_outcomes import StoredOutcomes
from cryptometrics.verify.trade_check import RepeatedTrades

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from cryptometrics.verify.findings import Findings
    from cryptometrics.verify.offset_books import GroupBooks
    from cryptometrics.verify.pair_rows import PairRows
    from cryptometrics.verify.topic_check import TopicCheck


def check_rows(
    connection: psycopg.Connection,
    books: GroupBooks,
    findings: Findings,
    progress: Callable[[int], None] = lambda _: None,
    topic: TopicCheck | None = None,
) -> list[str]:
    """Check offsets, days, rows, trades, sessions, pairs, minutes and starts; return the notes on them.

    topic: also compares every outcome with its message.
    progress: called with the number of outcomes that were read.
    """
    outcomes = StoredOutcomes(connection, books, details=topic is not None)
    ledger, days = OffsetLedger(books, findings), DayCounts()
    rows = RowCheck(findings, incomplete_sessions(connection, books))
    state, trades = StateCheck(connection, books, findings), RepeatedTrades()
    starts, places = StartCheck(connection, books, findings), PairPlaces()
    pairs, done = PairRowsOf(outcomes.series), 0
    with contextlib.closing(MinuteSums()) as minutes:
        for ranges, stored in outcomes.blocks():
            by_partition = {of_partition.partition: of_partition for of_partition in stored}
            for part in ranges:
                ledger.add(part)
                of_partition = by_partition.pop(part.partition, None)
                of_pairs: list[PairRows] = []
                if of_partition is not None:
                    days.add(of_partition)
                    of_pairs += pairs.split(of_partition)
                for of_pair in of_pairs:
                    for step in (rows, state, trades, starts, places, minutes):
                        step.add(of_pair)
                if topic is not None:
                    topic.add(part, of_pairs)
                done += len(part.firsts)
            progress(done)
        ledger.finish()
        starts.finish()
        days.check(connection, books, findings)
        trades.check(connection, books, findings)
        check_sessions(connection, books, findings, rows.sessions)
        check_pairs(connection, books, findings, state.highest_trade_ids)
        check_minutes(connection, books, findings, minutes)
        if topic is not None:
            topic.finish(connection)
    return places.notes()


@dataclass(slots=True)
class PairPlaces:
    """The partitions in which each pair has rows."""

    _partitions: dict[tuple[int, str], set[int]] = field(default_factory=lambda: defaultdict(set))

    def add(self, rows: PairRows) -> None:
        """Add some rows."""
        self._partitions[rows.era, rows.market.pair].add(rows.partition.partition)

    def notes(self) -> list[str]:
        """Return a line for each pair in several partitions, which is right if the topic has grown."""
        return [
            f"{pair} is in partitions {', '.join(map(str, sorted(partitions)))}: right if the topic got more "
            "partitions, otherwise its producers use different partitioners"
            for (_, pair), partitions in sorted(self._partitions.items())
            if len(partitions) > 1
        ]
