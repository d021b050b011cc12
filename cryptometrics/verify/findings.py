"""Collect what a verification finds: every occurrence is counted, the first ones are kept. Pure."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_EXAMPLES = 10
"""Examples kept of each finding: the first ones."""


class FindingKind(enum.StrEnum):
    """What is wrong; the value is the `kind` of the JSON output."""

    SUM = "sum"
    COUNT = "count"
    MISSING = "missing"
    TWICE = "twice"
    OUTSIDE = "outside"
    PRUNED = "pruned"
    DAY = "day"
    ROW = "row"
    UNKNOWN_TO_STATE = "unknown_to_state"
    REPEATED = "repeated"
    SESSION = "session"
    PAIR = "pair"
    WINDOW = "window"
    GAP = "gap"
    RISK = "risk"
    PORTFOLIO = "portfolio"
    NOT_ON_TOPIC = "not_on_topic"
    DIFFERS = "differs"
    NOT_VALID = "not_valid"
    VALID = "valid"
    NO_DUPLICATE = "no_duplicate"
    NO_HOLE = "no_hole"
    MARK = "mark"


MEANING = {
    FindingKind.SUM: "the outcomes do not add up to next_offset - first_offset",
    FindingKind.COUNT: "a count in consumer_offsets differs from the rows in its table",
    FindingKind.MISSING: "offsets without an outcome",
    FindingKind.TWICE: "offsets with more than one outcome",
    FindingKind.OUTSIDE: "offsets with an outcome outside the range that was read",
    FindingKind.PRUNED: (
        "the number of pruned rows differs from the number of unaccounted offsets in their ranges"
    ),
    FindingKind.DAY: "days whose counts in metric_days differ from the rows of crypto_metrics",
    FindingKind.ROW: "rows with a value that does not follow from the quotes",
    FindingKind.UNKNOWN_TO_STATE: "rows that are missing from the state of their session or pair",
    FindingKind.REPEATED: "rows with the same pair, trade_id and time as another row",
    FindingKind.SESSION: "sessions with a value that does not follow from their rows",
    FindingKind.PAIR: "pairs whose state does not follow from their rows",
    FindingKind.WINDOW: "minutes with a value that does not follow from their rows",
    FindingKind.GAP: "gaps with a value that does not follow from the rows before them",
    FindingKind.RISK: "rows of crypto_risk that do not follow from their minutes",
    FindingKind.PORTFOLIO: "rows of portfolio_risk that do not follow from their version, quotes and minutes",
    FindingKind.NOT_ON_TOPIC: "offsets with an outcome but without a message on the topic",
    FindingKind.DIFFERS: "offsets whose stored value differs from the message",
    FindingKind.NOT_VALID: "rows, duplicates and gaps whose message is not a valid tick or gap",
    FindingKind.VALID: "rejected messages without the fault that is stored as the reason",
    FindingKind.NO_DUPLICATE: "offsets counted as duplicates that do not repeat an earlier row",
    FindingKind.NO_HOLE: "offsets counted as holes that hold a message",
    FindingKind.MARK: "outcomes that changed since `verify --since-last` proved them",
}


class TopicPartition(NamedTuple):
    """A partition of a topic; the topic is None for rows that no group's offsets account for."""

    topic: str | None
    partition: int

    def __str__(self) -> str:
        return f"{self.topic or '(no topic)'}[{self.partition}]"


@dataclass(slots=True)
class Finding:
    """One kind of error, in one partition or, if that is None, in data of no single partition."""

    kind: FindingKind
    group: str
    partition: TopicPartition | None
    column: str | None
    """The column with the wrong value, if it is a single one."""
    count: int = 0
    first: list[int | str] = field(default_factory=list)
    """The first offending offsets, or descriptions of other data."""


class Findings:
    """Collects the errors of one group in bounded memory."""

    def __init__(self, group: str) -> None:
        self._group = group
        self.not_checked: Counter[str] = Counter()
        """How many rows were left out, by the reason."""
        self._found: dict[tuple[FindingKind, TopicPartition | None, str | None], Finding] = {}

    def add_offsets(
        self,
        kind: FindingKind,
        partition: TopicPartition,
        first: int,
        last: int | None = None,
        column: str | None = None,
    ) -> None:
        """Add one offset, or those from `first` to `last`; none if `last` is less than `first`."""
        count = 1 if last is None else last - first + 1
        if count > 0:
            finding = self._finding(kind, partition, column)
            finding.count += count
            room = MAX_EXAMPLES - len(finding.first)
            finding.first += range(first, first + min(count, room))

    def add_text(
        self,
        kind: FindingKind,
        text: str,
        partition: TopicPartition | None = None,
        column: str | None = None,
    ) -> None:
        """Add a finding that is not an offset."""
        finding = self._finding(kind, partition, column)
        finding.count += 1
        if len(finding.first) < MAX_EXAMPLES:
            finding.first.append(text)

    def all(self) -> list[Finding]:
        """Return the findings in the order of their first occurrence."""
        return list(self._found.values())

    def _finding(self, kind: FindingKind, partition: TopicPartition | None, column: str | None) -> Finding:
        key = kind, partition, column
        if key not in self._found:
            self._found[key] = Finding(kind, self._group, partition, column)
        return self._found[key]
