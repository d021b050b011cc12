"""What a worker, or all workers of a machine, say of themselves, for the progress line and the metrics."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

from cryptometrics.pipeline.measurements import Measurements
from cryptometrics.pipeline.writer import Fates

if TYPE_CHECKING:
    from cryptometrics.pipeline.writer import Totals

_FATES = [each.name for each in fields(Fates)]


@dataclass
class Report(Fates):
    """What was committed and measured since the start."""

    measured: Measurements = field(default_factory=Measurements)

    @classmethod
    def of(cls, totals: Totals, lags: dict[int, int]) -> Self:
        """Return that of a worker as of now; it goes on, the report does not change any more."""
        report = cls(**{name: getattr(totals, name) for name in _FATES})
        report.measured.add(totals.measured)
        report.measured.lags = {str(partition): lag for partition, lag in lags.items()}
        return report

    @property
    def lag(self) -> int:
        """How many messages are not stored yet, as far as known."""
        return sum(self.measured.lags.values())

    def add(self, other: Report) -> None:
        """Count another one in."""
        for name in _FATES:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.measured.add(other.measured)

    def as_dict(self) -> dict[str, Any]:
        """Return it for a line of JSON."""
        return {name: getattr(self, name) for name in _FATES} | {"measured": self.measured.as_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return what `as_dict` gave."""
        return cls(**data | {"measured": Measurements.from_dict(data["measured"])})
