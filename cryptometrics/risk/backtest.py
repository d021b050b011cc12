"""Walk through the past: forecast a value at risk from what was known, then see what was lost.

Forecasts are a horizon apart, so that their losses do not overlap, and each uses only the minutes up to its
own moment. A moment without a forecast, or whose loss is not known, is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.risk import ewma
from cryptometrics.risk.columns import Column, require_confidence, require_equal_length
from cryptometrics.risk.coverage_tests import (
    CoverageTest,
    TrafficLight,
    christoffersen,
    conditional_coverage,
    kupiec,
    traffic_light,
)
from cryptometrics.risk.horizon import tail_risk_of_minutes
from cryptometrics.risk.minutes import log_returns
from cryptometrics.risk.pair_minutes import MAX_MINUTES_BEFORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cryptometrics.risk.tail_risk import Method


@dataclass(frozen=True, slots=True)
class Walk:
    """Forecasts and what came of them, oldest first. Losses are positive, as ratios."""

    minutes: NDArray[np.intp]
    """The index of the last minute that each forecast knew."""
    forecasts: Column
    """Value at risk over the horizon."""
    losses: Column
    """Realised over the horizon after that minute."""


@dataclass(frozen=True, slots=True)
class Backtest:
    """How forecasts at one confidence held. The tests are None without enough forecasts."""

    forecasts: int
    failures: int
    expected: float
    """Failures of a model that is right: forecasts · (1 − confidence)."""
    kupiec: CoverageTest | None
    christoffersen: CoverageTest | None
    conditional_coverage: CoverageTest | None
    traffic_light: TrafficLight | None
    worst_excess: float | None
    """The largest loss beyond its forecast, None without a failure."""


def walk(
    close: Column,
    confidence: float,
    *,
    range_minutes: int,
    horizon: int,
    method: Method,
    decay: float = ewma.RISKMETRICS_DECAY,
) -> Walk:
    """Return forecasts a horizon apart, each from the `range_minutes` returns before it, and the losses.

    `close` has one close a minute, oldest first, NaN where it is not known. The first forecast is made once
    a whole range has passed, the last one early enough for its loss to be known.
    """
    for name, minutes in (("range_minutes", range_minutes), ("horizon", horizon)):
        if minutes < 1:
            raise ValueError(f"{name} must be at least 1, not {minutes}")
    require_confidence(confidence)
    window = ewma.start_window(decay) if method == "filtered" else 0
    moments, forecasts = [], []
    for now in range(range_minutes, len(close) - horizon, horizon):
        before = _minutes_before(close, now - range_minutes, window)
        start = now - range_minutes - before
        found = tail_risk_of_minutes(
            close[start : now + 1],
            confidence,
            horizon=horizon,
            method=method,
            decay=decay,
            before=before,
        )
        if found is not None:
            moments.append(now)
            forecasts.append(found.value_at_risk)
    places = np.array(moments, dtype=np.intp)
    forecast = np.array(forecasts, dtype=np.float64)
    losses = -log_returns(close, horizon)[places] if len(places) else np.empty(0)
    left = np.isfinite(losses) & np.isfinite(forecast)
    return Walk(places[left], forecast[left], losses[left])


def _minutes_before(close: Column, start: int, returns: int) -> int:
    """Return how many minutes in the day before `start` hold so many known returns; all if too few."""
    if not returns:
        return 0
    day = close[max(0, start - MAX_MINUTES_BEFORE) : start + 1]
    backwards = np.cumsum(np.isfinite(np.diff(day))[::-1])
    return min(int(np.searchsorted(backwards, returns)) + 1, len(backwards))


def evaluate(forecasts: Column, losses: Column, confidence: float) -> Backtest:
    """Return how forecasts of value at risk held against the losses that followed, both oldest first.

    A failure is a loss beyond its forecast. Raises ValueError for columns of unequal length.
    """
    require_equal_length(forecasts=forecasts, losses=losses)
    q = require_confidence(confidence)
    failed = losses > forecasts
    count, failures = len(failed), int(failed.sum())
    return Backtest(
        forecasts=count,
        failures=failures,
        expected=count * q,
        kupiec=kupiec(count, failures, confidence),
        christoffersen=christoffersen(failed, confidence),
        conditional_coverage=conditional_coverage(failed, confidence),
        traffic_light=traffic_light(count, failures, confidence),
        worst_excess=float((losses - forecasts)[failed].max()) if failures else None,
    )
