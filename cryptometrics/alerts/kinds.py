"""The kinds of alert rules: one table with everything that is specific to a kind. Pure.

To add a kind, add an entry to `KINDS`. An entry that lacks a part does not import.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

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


@dataclass(frozen=True)
class OnFigures:
    """The rule measures a risk figure of each complete minute, in per cent."""

    columns: tuple[str, ...]
    """Columns of `crypto_risk`; if there are several, the rule's `estimator` names one of `ESTIMATORS`."""
    ranges: tuple[str, ...]
    """The ranges over which the figure is known; the last one is the default."""


Source: TypeAlias = OnQuotes | OnGaps | OnRecords | OnSilence | OnFigures

Owner: TypeAlias = Literal["process", "risk", "limits"]
"""Who evaluates a rule, and ends its alerts when the rule is gone: a command with the rules of its file, or
the part of `risk --follow` that compares portfolios with their limits."""

LIMIT = "limit"
"""The kind of an alert about the limit of a portfolio, which is in no rule file: see `limit_rules`."""
LIMIT_PREFIX = "limit."
"""How the rules of limits are named; no rule of a file may begin so."""

ESTIMATORS = {"realized": "volatility", "ewma": "volatility_ewma"}
"""The estimators that a rule about volatility may name, and their columns."""


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
    def owner(self) -> Owner:
        """The command that evaluates rules of the kind."""
        return "risk" if isinstance(self.source, OnFigures) else "process"

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys specific to the kind."""
        return self.required + self.optional


FIELDS = (
    *("value", "fall", "number", "change", "first", "second"),
    *("level", "resolve_below", "within", "hold", "range", "estimator"),
)
"""Fields of a message.

`value` is a ratio, `fall` the same with a minus, and `number` a count. `change` is the ratio, with a sign,
from the price `first` to the price `second`. `hold` is empty or ` for 10s`.
"""


def _above_level(
    source: Source, required: tuple[str, ...], optional: tuple[str, ...], what: str, unit: str = "%"
) -> RuleKind:
    firing = f"{what}, above {{level}} {unit}{{hold}}"
    return RuleKind(source, required, optional, firing, f"{what}, not above {{resolve_below}} {unit}")


def _above_figure(
    columns: tuple[str, ...], ranges: tuple[str, ...], optional: tuple[str, ...], what: str
) -> RuleKind:
    return _above_level(OnFigures(columns, ranges), ("level",), (*_OF_FIGURES, *optional), what)


_OF_FIGURES = ("pairs", "venues", "resolve_below", "for", "range", "min_coverage")
_RANGES = ("15m", "1h", "24h")
_OF_QUOTES = ("pairs", "venues", "resolve_below", "for")

KINDS: dict[str, RuleKind] = {
    "spread_bps": _above_level(
        OnQuotes(lambda _within: Spread()),
        ("level",),
        _OF_QUOTES,
        "spread {value} bps ({first} / {second})",
        "bps",
    ),
    "mid_move_pct": _above_level(
        OnQuotes(MidMove), ("level", "within"), _OF_QUOTES, "{change} % in {within} ({first} → {second})"
    ),
    "session_high_pct": _above_level(
        OnQuotes(lambda _within: SessionExtreme(high=True)),
        ("level",),
        _OF_QUOTES,
        "bid {change} % from the session's high ({first} → {second})",
    ),
    "session_low_pct": _above_level(
        OnQuotes(lambda _within: SessionExtreme(high=False)),
        ("level",),
        _OF_QUOTES,
        "ask {change} % from the session's low ({first} → {second})",
    ),
    "rejected_pct": _above_level(
        OnRecords(RejectedShare),
        ("level", "within"),
        ("resolve_below", "for", "ticks"),
        "{value} % of the ticks rejected in {within}",
    ),
    "stale": RuleKind(
        OnSilence(),
        ("for",),
        (
            "pairs",
            "venues",
        ),
        "no tick for {number} s",
        "ticks arrive again",
    ),
    "gap": RuleKind(
        OnGaps(), (), ("pairs", "venues", "level"), "the feed missed {number} trades", "ticks arrive again"
    ),
    "volatility_pct": _above_figure(
        tuple(ESTIMATORS.values()),
        _RANGES,
        ("estimator",),
        "{estimator} volatility over {range} {value} % a year",
    ),
    "drawdown_pct": _above_figure(("drawdown",), _RANGES, (), "price {fall} % from its highest of {range}"),
    # Shorter ranges have too few returns for a quantile at 0.99.
    "value_at_risk_pct": _above_figure(
        ("value_at_risk",), ("24h",), (), "value at risk (1h, 0.99) over {range} {value} %"
    ),
    "expected_shortfall_pct": _above_figure(
        ("expected_shortfall",), ("24h",), (), "expected shortfall (1h, 0.99) over {range} {value} %"
    ),
}


def owner_of(kind: str) -> Owner:
    """Return the owner of a kind; one that this version does not know is of `process`."""
    if kind == LIMIT:
        return "limits"
    return KINDS[kind].owner if kind in KINDS else "process"
