"""A figure of one pair over time, computed as of one moment after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

from cryptometrics.risk.figures import core_figures
from cryptometrics.risk.pair_minutes import cut_to_range, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.risk.figures import FigureSettings
    from cryptometrics.risk.pair_minutes import PairMinutes

Metric: TypeAlias = Literal[
    "volatility", "volatility_ewma", "value_at_risk", "expected_shortfall", "drawdown", "max_drawdown"
]
METRICS: tuple[Metric, ...] = get_args(Metric)
"""Figures that have a history: those of `core_figures`."""


class Point(NamedTuple):
    """A figure as of the end of a minute."""

    minutes_ago: int
    """How many minutes before the end of the newest one."""
    value: float | None
    coverage: float


def history(
    minutes: PairMinutes,
    metric: Metric,
    *,
    range_minutes: int,
    step: int,
    count: int,
    settings: FigureSettings,
) -> Iterator[Point]:
    """Yield so many figures, `step` minutes apart and the newest last, each over the range before it."""
    for minutes_ago in range((count - 1) * step, -1, -step):
        found = core_figures(cut_to_range(until(minutes, minutes_ago), range_minutes), settings)
        yield Point(minutes_ago, getattr(found, metric), found.coverage)
