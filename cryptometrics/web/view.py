"""What every viewer sees at one moment, and what has changed since the one before. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptometrics.web.shapes import AlertRow, PairRow, PipelineSummary, PortfolioSummary

PARTS = ("alerts", "portfolios", "pipeline")
"""Sent whole when anything in them has changed; of the pairs, only the rows that have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The live state of one group."""

    as_of: str
    group: str
    pairs: Sequence[PairRow]
    alerts: Sequence[AlertRow]
    portfolios: Sequence[PortfolioSummary]
    pipeline: PipelineSummary

    def snapshot(self) -> dict[str, Any]:
        """Return all of it."""
        return {
            "as_of": self.as_of,
            "group": self.group,
            "pairs": self.pairs,
            **{name: getattr(self, name) for name in PARTS},
            "resumed": False,
        }

    def has_same_markets(self, other: View) -> bool:
        """Return whether both show the same markets."""
        return _by_market(self).keys() == _by_market(other).keys()

    def changes_since(self, before: View) -> dict[str, Any] | None:
        """Return what has changed since an earlier view of the same markets; None if nothing has."""
        known = _by_market(before)
        changed = [row for row in self.pairs if _lasting(row) != _lasting(known.get(_market(row), {}))]
        parts = {name: getattr(self, name) for name in PARTS if getattr(self, name) != getattr(before, name)}
        if not changed and not parts:
            return None
        return {"as_of": self.as_of, "pairs": changed, **parts}


def _market(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["venue"], row["pair"]


def _by_market(view: View) -> dict[tuple[str, str], PairRow]:
    return {_market(row): row for row in view.pairs}


def _lasting(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without its age, which changes by itself: whoever shows it counts on."""
    return {name: value for name, value in row.items() if name != "age_seconds"}
