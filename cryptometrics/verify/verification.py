"""Verify the groups one after the other, in one snapshot of the database."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cryptometrics.errors import UserError
from cryptometrics.store.connection import snapshot
from cryptometrics.text import listed
from cryptometrics.verify import gap_check, offset_check, portfolio_check, risk_check
from cryptometrics.verify.findings import Finding, Findings
from cryptometrics.verify.mark import Mark, load_mark, partition_mark, pruned_rows
from cryptometrics.verify.offset_books import GroupBooks, OffsetBook, read_books
from cryptometrics.verify.row_pass import RowPass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

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


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReport:
    """The result for one group."""

    group: str
    books: list[OffsetBook]
    findings: list[Finding]
    offsets: int
    """Number of offsets that were verified."""
    notes: list[str] = field(default_factory=list)
    """Facts worth knowing that are not errors."""
    unchecked: int = 0
    """Offsets that could not be compared with the topic."""
    since: datetime | None = None
    """When the offsets before were proved, if only those after were verified."""
    mark: Mark | None = None
    """What the next run may start from, if nothing was found and it was asked for."""


def verify(
    connection: psycopg.Connection,
    *,
    group: str | None = None,
    settings: Settings | None = None,
    since_last: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[GroupReport]:
    """Verify all groups, or the one named, and yield a report for each.

    Everything is read from one snapshot, so workers may keep writing.

    settings: if given, also read the topic again, from the Kafka that they name.
    since_last: start from the mark of each group, and return the next mark in the report.
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
            yield _verify_group(connection, name, settings, progress, since_last=since_last)


def _verify_group(
    connection: psycopg.Connection,
    group: str,
    settings: Settings | None,
    progress: Callable[[str], None],
    *,
    since_last: bool = False,
) -> GroupReport:
    findings = Findings(group)
    books = read_books(connection, group)
    mark, notes = _usable_mark(connection, books, since_last=since_last, with_topic=settings is not None)
    if mark is not None and since_last:
        starts = {part.topic_partition: part.next_offset for part in mark.partitions}
        books = replace(books, starts=starts)
    count = sum(book.next_offset - books.start_of(book) for book in books.books)
    with contextlib.ExitStack() as stack:
        topic = None
        if settings is not None:
            from cryptometrics.verify.topic_check import TopicCheck

            topic = stack.enter_context(contextlib.closing(TopicCheck(settings, books, findings)))
        rows = RowPass(connection, books, findings, topic=topic, mark=mark, with_digests=since_last)
        stack.enter_context(contextlib.closing(rows))
        what = "compared with the topic" if topic is not None else "checked"
        progress(f"group {group}: reading {count:,} offsets")
        rows.run(lambda done: progress(f"group {group}: {done:,} of {count:,} offsets {what}"))
    for name, check in CHECKS.items():
        progress(f"group {group}: checking {name}")
        check(connection, books, findings)
    notes += offset_check.notes_on_pruned_days(connection, books)
    notes += offset_check.notes_on_losses(connection, group)
    notes += rows.state.notes()
    notes += risk_check.notes_on_stale_risk(connection, group)
    notes += portfolio_check.notes_on_portfolios(findings)
    notes += topic.notes if topic is not None else []
    found = findings.all()
    return GroupReport(
        group=group,
        books=books.books,
        findings=found,
        offsets=count,
        notes=notes,
        unchecked=topic.unchecked if topic is not None else 0,
        since=mark.verified_at if mark is not None and books.starts else None,
        mark=_next_mark(connection, books, rows, with_topic=topic is not None)
        if since_last and not found
        else None,
    )


def _usable_mark(
    connection: psycopg.Connection, books: GroupBooks, *, since_last: bool, with_topic: bool
) -> tuple[Mark | None, list[str]]:
    """Return the mark of a group, if what it says can still be true, and a note if it cannot."""
    mark = load_mark(connection, books.group)
    if mark is None:
        return None, []
    problem = mark.does_not_hold(books)
    if problem is None and since_last and with_topic and not mark.with_topic:
        problem = "the last run did not read the topic"
    if problem is None:
        return mark, []
    return None, [f"everything was verified, because {problem}"] if since_last else []


def _next_mark(connection: psycopg.Connection, books: GroupBooks, rows: RowPass, *, with_topic: bool) -> Mark:
    (now,) = connection.execute("SELECT now()").fetchone() or (None,)
    assert now is not None  # noqa: S101  (now() is never NULL)
    digests = rows.digests()
    return Mark(
        verified_at=now,
        with_topic=with_topic,
        pruned_rows=pruned_rows(books),
        partitions=[partition_mark(book, digests[book.topic_partition]) for book in books.books],
        state=rows.state.dump(),
    )
