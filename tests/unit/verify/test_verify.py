"""Where outcomes do not touch: every way of it, against a plain count; and what is kept of findings."""

from __future__ import annotations

from collections import Counter
from datetime import date
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.verify.findings import MAX_EXAMPLES, FindingKind, Findings, TopicPartition
from cryptometrics.verify.offset_books import GroupBooks, OffsetBook
from cryptometrics.verify.offset_check import OffsetLedger
from cryptometrics.verify.pruned import PrunedDay
from cryptometrics.verify.stored_outcomes import OUTCOMES, OutcomeRanges

PARTITION = TopicPartition("t", 0)

outcomes = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4)).map(lambda f: (f[0], f[0] + f[1])))


def book(begin: int, end: int) -> OffsetBook:
    """Return the book of PARTITION; it counts every offset as a hole, so only counts may be wrong."""
    return OffsetBook(
        topic="t",
        topic_id="id",
        partition=0,
        first_offset=begin,
        next_offset=end,
        metrics=0,
        rejected=0,
        gaps=0,
        duplicates=0,
        holes=end - begin,
        sizes_from=0,
        era=1,
        begins=None,
        ends=None,
    )


def outcome_ranges(partition: TopicPartition, ranges: list[tuple[int, int]]) -> OutcomeRanges:
    """Return ranges of holes, in the order of the query."""
    firsts, lasts = np.array(sorted(ranges), np.int64).reshape(-1, 2).T
    return OutcomeRanges(partition, firsts, lasts, np.full(len(firsts), OUTCOMES.index("holes")), firsts, {})


def checked(
    ranges: list[tuple[int, int]], begin: int, end: int, cut: int, pruned: list[PrunedDay] | None = None
) -> dict[FindingKind, int]:
    """Return how often each kind was found; the ranges come in two parts."""
    findings = Findings("g")
    ledger = OffsetLedger(GroupBooks("g", [book(begin, end)], pruned or []), findings)
    for part in (sorted(ranges)[:cut], sorted(ranges)[cut:]):
        if part:
            ledger.add(outcome_ranges(PARTITION, part))
    ledger.finish()
    return {finding.kind: finding.count for finding in findings.all()}


@given(outcomes, st.integers(0, 30), st.integers(0, 10), st.integers(0, 20))
def test_every_offset_is_checked(ranges: list[tuple[int, int]], begin: int, length: int, cut: int) -> None:
    end = begin + length
    times = Counter(offset for first, last in ranges for offset in range(first, last + 1))
    within = range(begin, end)
    expected = {
        FindingKind.MISSING: sum(times[offset] == 0 for offset in within),
        FindingKind.OUTSIDE: sum(count for offset, count in times.items() if offset not in within),
        FindingKind.TWICE: sum(max(times[offset] - 1, 0) for offset in within),
        FindingKind.COUNT: int(times.total() != length),
    }
    assert checked(ranges, begin, end, cut) == {kind: count for kind, count in expected.items() if count}


def test_without_any_outcome_all_is_missing_and_without_books_all_is_outside() -> None:
    other = TopicPartition("t", 1)
    findings = Findings("g")
    ledger = OffsetLedger(GroupBooks("g", [book(10, 13)]), findings)
    ledger.add(outcome_ranges(other, [(3, 5)]))
    ledger.finish()
    assert [(f.kind, f.partition, f.first) for f in findings.all()] == [
        (FindingKind.OUTSIDE, other, [3, 4, 5]),
        (FindingKind.MISSING, PARTITION, [10, 11, 12]),
        (FindingKind.COUNT, PARTITION, ["3 counted, 0 stored"]),
    ]


def test_findings_keep_the_first_and_count_all() -> None:
    findings = Findings("g")
    findings.add_offsets(FindingKind.MISSING, PARTITION, 5, 4)
    assert findings.all() == []
    findings.add_offsets(FindingKind.MISSING, PARTITION, 7)
    findings.add_offsets(FindingKind.MISSING, PARTITION, 100, 10**15)
    (finding,) = findings.all()
    assert finding.count == 10**15 - 98
    assert len(finding.first) == MAX_EXAMPLES
    assert finding.first[:2] == [7, 100]
    assert all(isinstance(a, int) and isinstance(b, int) and a < b for a, b in pairwise(finding.first))


@given(outcomes, st.integers(0, 10), st.integers(0, 40), outcomes, st.integers(0, 40))
def test_where_rows_were_pruned_as_many_offsets_are_missing(
    ranges: list[tuple[int, int]], begin: int, length: int, pruned: list[tuple[int, int]], rows: int
) -> None:
    end = begin + length
    days = [
        PrunedDay(topic="t", partition=0, day=date.min, rows=0, first=first, last=last)
        for first, last in sorted(pruned)
    ]
    days.append(PrunedDay(topic="t", partition=0, day=date.min, rows=rows, first=99, last=99))
    counts = checked(ranges, begin, end, len(ranges) // 2, days)
    covered = {offset for first, last in ranges for offset in range(first, last + 1)}
    missing = set(range(begin, end)) - covered
    inside = {offset for first, last in pruned for offset in range(first, last + 1)}
    assert counts.get(FindingKind.MISSING, 0) == len(missing - inside)
    assert (FindingKind.PRUNED in counts) == (len(missing & inside) != rows)
