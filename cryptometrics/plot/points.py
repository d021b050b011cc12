"""Compute the points of step lines and bands from a reduced series.

Prices become floats here and nowhere before; times become matplotlib's floats of days since 1970.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryptometrics.times import EPOCH

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cryptometrics.store.tick_series import BucketValues, Series

DAY = timedelta(days=1)

MIN_GAP = timedelta(minutes=1)
GAP_FACTOR = 20
"""A silence is a gap if it is longer than the usual pause by this factor: rarely traded pairs pause often."""
USUAL = 0.75
"""Share of the pauses that are not longer than the usual one: ticks often come in bursts."""


def day_number(moment: datetime) -> float:
    """Return matplotlib's number of a moment, accurate to about a microsecond."""
    return (moment - EPOCH) / DAY


def gaps(series: Series) -> list[tuple[datetime, datetime]]:
    """Return the gaps, each from the last tick before it to the first tick after it."""
    return [(series.last_at[i - 1], series.first_at[i]) for i in _after_gaps(series)]


def after_gaps(
    first_at: Sequence[datetime],
    last_at: Sequence[datetime],
    ticks: Sequence[int],
    session_starts: Collection[int] = (),
) -> list[int]:
    """Return the indexes of the buckets that begin after a gap.

    first_at, last_at: times of the first and the last tick of each bucket. The pause before a session is no
    usual one.
    """
    pauses = [after - before for before, after in zip(last_at[:-1], first_at[1:], strict=True)]
    counted = [(pause, 1) for number, pause in enumerate(pauses, start=1) if number not in session_starts]
    counted += [
        ((last - first) / (count - 1), count - 1)
        for first, last, count in zip(first_at, last_at, ticks, strict=True)
        if count > 1
    ]
    min_gap = max(MIN_GAP, GAP_FACTOR * _usual(counted))
    return [number for number, pause in enumerate(pauses, start=1) if pause > min_gap]


def steps(
    series: Series, values: BucketValues, session_starts: Collection[int] = ()
) -> tuple[list[float], list[float]]:
    """Return the points of a step line through the last value of each bucket; NaN breaks it at a gap.

    A value holds until the next one. Before a gap it is drawn for the width of its bucket, so that a single
    tick between two gaps is visible. session_starts: buckets before which the line breaks, too.
    """
    after_gap = set(_after_gaps(series))
    times, points = [], []
    for i, last_at in enumerate(series.last_at):
        times.append(day_number(last_at))
        points.append(float(values.last[i]))
        if i + 1 in after_gap or i + 1 in session_starts:
            pause = max(series.first_at[i + 1] - last_at, timedelta())
            hold = last_at + (min(series.width, pause) if i + 1 in after_gap else pause)
            times += [day_number(hold)] * 2
            points += [points[-1], math.nan]
    return times, points


def band(series: Series, values: BucketValues) -> tuple[list[float], list[float], list[float]]:
    """Return the points of a step band from the lowest to the highest value of each bucket.

    Its height is zero between the last tick of a bucket and the first tick of the next.
    NaN breaks it at a gap.
    """
    after_gap = set(_after_gaps(series))
    times, low, high = [], [], []
    for i in range(len(series.ticks)):
        last = float(values.last[i])
        times += [day_number(series.first_at[i]), day_number(series.last_at[i])]
        low += [float(values.low[i]), last]
        high += [float(values.high[i]), last]
        if i + 1 in after_gap:
            times.append(times[-1])
            low.append(math.nan)
            high.append(math.nan)
    return times, low, high


def _after_gaps(series: Series) -> list[int]:
    return after_gaps(series.first_at, series.last_at, series.ticks, series.session_starts)


def _usual(pauses: list[tuple[timedelta, int]]) -> timedelta:
    """Return the usual one of (pause, how often); zero without pauses."""
    left = USUAL * sum(count for _, count in pauses)
    for pause, count in sorted(pauses):
        left -= count
        if left <= 0:
            return pause
    return timedelta()
