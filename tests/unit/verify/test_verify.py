"""Where outcomes do not touch: every way of it, against a plain count; and what is kept of findings."""

from __future__ import annotations

from collections import Counter
from datetime import date
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.verify.findings import MAX_EXAMPLES, FindingKind, Findings, TopicPartition
from cryptometrics.verify.offset_check import OutcomeRange, check_outcomes
from cryptometrics.verify.pruned import PrunedDay, check_pruned_ranges, pruned_ranges

PARTITION = TopicPartition("t", 0)

outcomes = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4)).map(lambda f: (f[0], f[0] + f[1])))


def uneven(
    partition: TopicPartition, ranges: list[tuple[int, int]], begin: int, end: int
) -> list[OutcomeRange]:
    """Return what the query returns."""
    ranges = sorted(ranges)
    befores = [None, *(max(last for _, last in ranges[:n]) for n in range(1, len(ranges)))]
    every = [
        OutcomeRange(partition, first, last, before, number == len(ranges) - 1)
        for number, ((first, last), before) in enumerate(zip(ranges, befores, strict=False))
    ]
    return [
        p
        for p in every
        if p.before is None or p.is_last or p.first != p.before + 1 or p.first < begin or p.last >= end
    ]


@given(outcomes, st.integers(0, 30), st.integers(0, 10))
def test_every_offset_is_checked(ranges: list[tuple[int, int]], begin: int, length: int) -> None:
    end = begin + length
    findings = Findings("g")
    check_outcomes(uneven(PARTITION, ranges, begin, end), {PARTITION: (begin, end)}, {}, findings)
    times = Counter(offset for first, last in ranges for offset in range(first, last + 1))
    within = range(begin, end)
    expected = {
        FindingKind.MISSING: sum(times[offset] == 0 for offset in within),
        FindingKind.OUTSIDE: sum(count for offset, count in times.items() if offset not in within),
        FindingKind.TWICE: sum(max(times[offset] - 1, 0) for offset in within),
    }
    found = {finding.kind: finding.count for finding in findings.all()}
    assert set(found) == {kind for kind, count in expected.items() if count}
    assert found.get(FindingKind.MISSING, 0) == expected[FindingKind.MISSING]
    assert found.get(FindingKind.OUTSIDE, 0) == expected[FindingKind.OUTSIDE]
    assert found.get(FindingKind.TWICE, 0) == expected[FindingKind.TWICE]


def test_without_any_outcome_all_is_missing_and_without_books_all_is_outside() -> None:
    other = TopicPartition("t", 1)
    findings = Findings("g")
    check_outcomes(uneven(other, [(3, 5)], 3, 3), {PARTITION: (10, 13)}, {}, findings)
    assert [(f.kind, f.partition, f.first) for f in findings.all()] == [
        (FindingKind.OUTSIDE, other, [3, 4, 5]),
        (FindingKind.MISSING, PARTITION, [10, 11, 12]),
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
    found = pruned_ranges(days)
    findings = Findings("g")
    check_outcomes(uneven(PARTITION, ranges, begin, end), {PARTITION: (begin, end)}, found, findings)
    check_pruned_ranges(found, findings)
    covered = {offset for first, last in ranges for offset in range(first, last + 1)}
    missing = set(range(begin, end)) - covered
    inside = {offset for first, last in pruned for offset in range(first, last + 1)}
    counts = {finding.kind: finding.count for finding in findings.all()}
    assert counts.get(FindingKind.MISSING, 0) == len(missing - inside)
    assert (FindingKind.PRUNED in counts) == (len(missing & inside) != rows)
