"""Verify the groups one after the other, in one snapshot of the database."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptometrics.errors import UserError
from cryptometrics.store.connection import snapshot
from cryptometrics.text import listed
from cryptometrics.verify import gap_check, offset_check, portfolio_check, risk_check
from cryptometrics.verify.findings import Finding, Findings
from cryptometrics.verify.offset_books import OffsetBook, read_books
from cryptometrics.verify.row_pass import check_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from cryptometrics.config import Settings

_GROUPS = """
SELECT consumer_group FROM consumer_offsets UNION SELECT consumer_group FROM session_extremes ORDER BY 1
"""

# Larger sorts use files. Every join is of a large table with a small one, for which a hash join is best; the
# planner, whose statistics of a growing table are poor, may choose otherwise.
_BOUNDED = """
SET LOCAL work_mem = '64MB';
SET LOCAL enable_nestloop = off;
SET LOCAL enable_mergejoin = off;
SET LOCAL enable_sort = off
"""

# Taken before the snapshot: days cannot be dropped until the verification ends, and those dropped before
# have left their counts.
_NOTHING_DROPPED = "LOCK TABLE crypto_metrics IN ACCESS SHARE MODE"

CHECKS = {
    "gaps": gap_check.check_gaps,
    "risk figures": risk_check.check_risk,
    "portfolios": portfolio_check.check_portfolios,
}
"""The checks of derived tables, by the names that the progress line shows."""


@dataclass(frozen=True, slots=True)
class GroupReport:
    """The result for one group."""

    group: str
    books: list[OffsetBook]
    findings: list[Finding]
    notes: list[str] = field(default_factory=list)
    """Facts worth knowing that are not errors."""
    unchecked: int = 0
    """Offsets that could not be compared with the topic."""

    @property
    def offsets(self) -> int:
        """Number of offsets that were verified."""
        return sum(book.offsets for book in self.books)


def verify(
    connection: psycopg.Connection,
    *,
    group: str | None = None,
    settings: Settings | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[GroupReport]:
    """Verify all groups, or the one named, and yield a report for each.

    Everything is read from one snapshot, so workers may keep writing.

    settings: if given, also read the topic again, from the Kafka that they name.
    progress: called with a description of the current step.
    Raises UserError if the group does not exist.
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
    books = read_books(connection, group)
    count = sum(book.offsets for book in books.books)
    with contextlib.ExitStack() as stack:
        topic = None
        if settings is not None:
            from cryptometrics.verify.topic_check import TopicCheck

            topic = stack.enter_context(contextlib.closing(TopicCheck(settings, books, findings)))
        what = "compared with the topic" if topic is not None else "checked"
        progress(f"group {group}: reading {count:,} offsets")
        scattered = check_rows(
            connection,
            books,
            findings,
            lambda done: progress(f"group {group}: {done:,} of {count:,} offsets {what}"),
            topic,
        )
    for name, check in CHECKS.items():
        progress(f"group {group}: checking {name}")
        check(connection, books, findings)
    notes = offset_check.notes_on_pruned_days(connection, books)
    notes += offset_check.notes_on_losses(connection, group)
    notes += scattered
    notes += risk_check.notes_on_stale_risk(connection, group)
    notes += portfolio_check.notes_on_portfolios(findings)
    notes += topic.notes if topic is not None else []
    unchecked = topic.unchecked if topic is not None else 0
    return GroupReport(group, books.books, findings.all(), notes, unchecked)
