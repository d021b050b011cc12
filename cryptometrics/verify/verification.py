"""A verification from its beginning to its end, group by group, in one snapshot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptometrics.errors import UserError
from cryptometrics.store.connection import snapshot
from cryptometrics.text import listed
from cryptometrics.verify import gap_check, minutes, pruned, recompute
from cryptometrics.verify import offset_books as offsets
from cryptometrics.verify.findings import Finding, Findings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from cryptometrics.config import Settings

_GROUPS = """
SELECT consumer_group FROM consumer_offsets UNION SELECT consumer_group FROM session_extremes ORDER BY 1
"""

# What is sorted goes through files beyond this much memory. Every join is of a great table with a small one,
# for which hashes are best, while the planner, which knows a growing table badly, may choose otherwise.
_BOUNDED = """
SET LOCAL work_mem = '64MB';
SET LOCAL enable_nestloop = off;
SET LOCAL enable_mergejoin = off;
SET LOCAL enable_sort = off
"""

# Before anything fixes the moment that is seen: what is dropped later stays visible until we have ended, and
# what was dropped before has left its counts.
_NOTHING_DROPPED = "LOCK TABLE crypto_metrics IN ACCESS SHARE MODE"

CHECKS = {
    "counts": offsets.check_counts,
    "every day": offsets.check_days,
    "every offset": offsets.check_offsets,
    "every row": recompute.check_rows,
    "trades": recompute.check_trades,
    "sessions": recompute.check_sessions,
    "pairs": recompute.check_pairs,
    "minutes": minutes.check_windows,
    "gaps": gap_check.check_gaps,
}
"""What is checked without the topic, under the names that the progress shows."""


@dataclass(frozen=True, slots=True)
class GroupReport:
    """What was found of one group."""

    group: str
    books: list[offsets.Book]
    findings: list[Finding]
    notes: list[str] = field(default_factory=list)
    """What is worth knowing and not wrong."""
    unchecked: int = 0
    """Offsets that could not be compared with the topic."""

    @property
    def offsets(self) -> int:
        """How many offsets were verified."""
        return sum(book.offsets for book in self.books)


def verify(
    connection: psycopg.Connection,
    *,
    group: str | None = None,
    settings: Settings | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[GroupReport]:
    """Verify every group, or one, and yield what was found of each.

    All is seen as of one moment, so it may run while workers write.

    settings: read the topic again, too, from the Kafka that these name.
    progress: told what is being done.
    Raises UserError where there is no such group.
    """
    with snapshot(connection):
        connection.execute(_NOTHING_DROPPED)
        connection.execute(_BOUNDED)
        groups = [name for (name,) in connection.execute(_GROUPS)]
        if group is not None:
            if group not in groups:
                there = f"there are {listed(groups)}" if groups else "nothing has been processed yet"
                raise UserError(f"there is no group {group}; {there}")
            groups = [group]
        for name in groups:
            yield _verify_group(connection, name, settings, progress)


def _verify_group(
    connection: psycopg.Connection, group: str, settings: Settings | None, progress: Callable[[str], None]
) -> GroupReport:
    findings = Findings(group)
    books = offsets.read_books(connection, group)
    count = sum(book.offsets for book in books.books)
    for name, check in CHECKS.items():
        progress(f"group {group}: checking {name} of {count:,} offsets")
        check(connection, books, findings)
    notes = pruned.notes_of_pruned_days(connection, books)
    notes += offsets.notes_of_losses(connection, group) + recompute.notes_of_scattered_pairs(
        connection, books
    )
    unchecked = 0
    if settings is not None:
        from cryptometrics.verify.topic_check import TopicCheck

        topic = TopicCheck(
            connection,
            settings,
            books,
            findings,
            lambda done: progress(f"group {group}: {done:,} of {count:,} offsets compared with the topic"),
        )
        progress(f"group {group}: reading the topic again, {count:,} offsets")
        topic.run()
        notes += topic.notes
        unchecked = topic.unchecked
    return GroupReport(group, books.books, findings.all(), notes, unchecked)
