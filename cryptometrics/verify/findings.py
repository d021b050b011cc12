"""What a verification finds: counted however often it occurs, shown by its first examples. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

EXAMPLES = 10
"""Examples kept of each finding: the first ones."""


class Kind(enum.StrEnum):
    """What is wrong; the value is what stands in the JSON."""

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
    NOT_ON_TOPIC = "not_on_topic"
    DIFFERS = "differs"
    NOT_VALID = "not_valid"
    VALID = "valid"
    NO_DUPLICATE = "no_duplicate"
    NO_HOLE = "no_hole"


MEANING = {
    Kind.SUM: "the fates do not add up to next_offset - first_offset",
    Kind.COUNT: "consumer_offsets counts other than the tables hold",
    Kind.MISSING: "offsets without a fate",
    Kind.TWICE: "offsets with more than one fate",
    Kind.OUTSIDE: "offsets with a fate that were not read by the books",
    Kind.PRUNED: "pruned rows that are not as many as the offsets that lack a fate where they were",
    Kind.DAY: "days of which metric_days says other than crypto_metrics holds",
    Kind.ROW: "rows whose value is not what follows from the quotes",
    Kind.UNKNOWN_TO_STATE: "rows that the state of their session or pair does not know",
    Kind.REPEATED: "rows of a pair, trade_id and time that another row has",
    Kind.SESSION: "sessions whose value is not what their rows say",
    Kind.PAIR: "pairs whose state is not what their rows say",
    Kind.WINDOW: "minutes whose value is not what their rows say",
    Kind.GAP: "gaps whose value is not what the rows before them say",
    Kind.NOT_ON_TOPIC: "offsets with a fate, but without a message on the topic",
    Kind.DIFFERS: "offsets whose stored value is not the message's",
    Kind.NOT_VALID: "rows, duplicates and gaps whose message is no valid tick or gap",
    Kind.VALID: "rejected messages that are not wrong in the way that is stored",
    Kind.NO_DUPLICATE: "offsets counted as duplicates that repeat no row before them",
    Kind.NO_HOLE: "offsets counted as holes that hold a message",
}


class Place(NamedTuple):
    """A partition of a topic; the topic is None of a row that no books account for."""

    topic: str | None
    partition: int

    def __str__(self) -> str:
        return f"{self.topic or '(no topic)'}[{self.partition}]"


@dataclass(slots=True)
class Finding:
    """One thing that is wrong, in one partition or (None) in what belongs to no single one."""

    kind: Kind
    group: str
    place: Place | None
    column: str | None
    """Whose value is wrong, where it is one value."""
    count: int = 0
    first: list[int | str] = field(default_factory=list)
    """The first offending offsets, or what else is offending, in words."""


class Findings:
    """Collects what is wrong with one group, in memory that does not grow with how much it is."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._found: dict[tuple[Kind, Place | None, str | None], Finding] = {}

    def offsets(
        self, kind: Kind, place: Place, first: int, last: int | None = None, column: str | None = None
    ) -> None:
        """Note an offset, or those from `first` to `last`; nothing where `last` lies before `first`."""
        count = 1 if last is None else last - first + 1
        if count > 0:
            finding = self._finding(kind, place, column)
            finding.count += count
            room = EXAMPLES - len(finding.first)
            finding.first += range(first, first + min(count, room))

    def words(self, kind: Kind, text: str, place: Place | None = None, column: str | None = None) -> None:
        """Note what is no offset."""
        finding = self._finding(kind, place, column)
        finding.count += 1
        if len(finding.first) < EXAMPLES:
            finding.first.append(text)

    def all(self) -> list[Finding]:
        """Return the findings in the order in which they were made."""
        return list(self._found.values())

    def _finding(self, kind: Kind, place: Place | None, column: str | None) -> Finding:
        key = kind, place, column
        if key not in self._found:
            self._found[key] = Finding(kind, self._group, place, column)
        return self._found[key]
