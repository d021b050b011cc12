"""The kinds of alert rules: one table with everything that is specific to a kind. Pure.

To add a kind, add an entry to `KINDS`. An entry that lacks a part does not import.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from cryptometrics.alerts.meters import MidMove, RejectedShare, SessionExtreme, Spread

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from cryptometrics.alerts.meters import Meter


@dataclass(frozen=True)
class OnQuotes:
    """The rule measures each quote of a pair."""

    meter: Callable[[timedelta], Meter]
    """Return a new meter; the parameter is the rule's `within`."""


@dataclass(frozen=True)
class OnGaps:
    """The rule fires on a gap record of a pair and resolves with the pair's next tick."""


@dataclass(frozen=True)
class OnRecords:
    """The rule measures the records of a partition, rejected ones included."""

    meter: Callable[[timedelta, int], RejectedShare]
    """Return a new meter; the parameters are the rule's `within` and `ticks`."""


@dataclass(frozen=True)
class OnSilence:
    """The rule fires when no tick of a pair was stored for the time `for`, by the wall clock."""


Source: TypeAlias = OnQuotes | OnGaps | OnRecords | OnSilence


@dataclass(frozen=True)
class RuleKind:
    """A kind of rule. Every part is required."""

    source: Source
    """What the rule is evaluated on, and with which meter."""
    required: tuple[str, ...]
    optional: tuple[str, ...]
    """Keys of the rule's table, beside those that every rule may have."""
    firing: str
    resolved: str
    """Messages; they may refer to the fields of `FIELDS`."""

    def __post_init__(self) -> None:
        for message in (self.firing, self.resolved):
            message.format_map(dict.fromkeys(FIELDS, ""))  # an unknown field fails here, at import

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys specific to the kind."""
        return self.required + self.optional


FIELDS = ("value", "level", "resolve_below", "within", "hold")
"""Fields of a message; `hold` is empty or ` for 10s`."""


def _above_level(source: Source, required: tuple[str, ...], optional: tuple[str, ...], what: str) -> RuleKind:
    firing, resolved = what + ", above {level}{hold}", what + ", not above {resolve_below}"
    return RuleKind(source, required, optional, firing, resolved)


_OF_QUOTES = ("pairs", "venues", "resolve_below", "for")

KINDS: dict[str, RuleKind] = {
    "spread_bps": _above_level(
        OnQuotes(lambda _within: Spread()), ("level",), _OF_QUOTES, "spread is {value} bps"
    ),
    "mid_move_pct": _above_level(
        OnQuotes(MidMove), ("level", "within"), _OF_QUOTES, "mid price moved by {value} % within {within}"
    ),
    "session_high_pct": _above_level(
        OnQuotes(lambda _within: SessionExtreme(high=True)),
        ("level",),
        _OF_QUOTES,
        "bid is {value} % above the session's high",
    ),
    "session_low_pct": _above_level(
        OnQuotes(lambda _within: SessionExtreme(high=False)),
        ("level",),
        _OF_QUOTES,
        "ask is {value} % below the session's low",
    ),
    "rejected_pct": _above_level(
        OnRecords(RejectedShare),
        ("level", "within"),
        ("resolve_below", "for", "ticks"),
        "{value} % of the ticks rejected within {within}",
    ),
    "stale": RuleKind(
        OnSilence(),
        ("for",),
        (
            "pairs",
            "venues",
        ),
        "no tick for {value} s",
        "ticks arrive again",
    ),
    "gap": RuleKind(
        OnGaps(), (), ("pairs", "venues", "level"), "the feed missed {value} trades", "ticks arrive again"
    ),
}
