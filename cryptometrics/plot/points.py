"""Compute the points of step lines and bands from a reduced series.

Prices become floats here and nowhere before; times become matplotlib's floats of days since 1970.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryptometrics.times import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.store.tick_series import BucketValues, Series

DAY = timedelta(days=1)

MIN_GAP = timedelta(minutes=1)
GAP_FACTOR = 20
"""A silence is a gap if it is longer than the mean pause by this factor: rarely traded pairs pause often."""


def day_number(moment: datetime) -> float:
    """Return matplotlib's number of a moment, accurate to about a microsecond."""
    return (moment - EPOCH) / DAY


def gaps(series: Series) -> list[tuple[datetime, datetime]]:
    """Return the gaps, each from the last tick before it to the first tick after it."""
    min_gap = _min_gap(series)
    return [
        (before, after)
        for before, after in zip(series.last_at[:-1], series.first_at[1:], strict=True)
        if after - before > min_gap
    ]


def steps(series: Series, values: BucketValues) -> tuple[list[float], list[float]]:
    """Return the points of a step line through the last value of each bucket; NaN breaks it at a gap.

    A quote holds until the next one. Before a gap it is drawn for the width of its bucket, so that a single
    tick between two gaps is visible.
    """
    times, points = [], []
    for i, hold in enumerate(_holds(series)):
        times.append(day_number(series.last_at[i]))
        points.append(float(values.last[i]))
        if hold is not None:
            times += [day_number(hold)] * 2
            points += [points[-1], math.nan]
    return times, points


def band(series: Series, values: BucketValues) -> tuple[list[float], list[float], list[float]]:
    """Return the points of a step band from the lowest to the highest value of each bucket.

    Its height is zero between the last tick of a bucket and the first tick of the next.
    """
    times, low, high = [], [], []
    for i in range(len(series.ticks)):
        last = float(values.last[i])
        times += [day_number(series.first_at[i]), day_number(series.last_at[i])]
        low += [float(values.low[i]), last]
        high += [float(values.high[i]), last]
    return times, low, high


def _holds(series: Series) -> Iterator[datetime | None]:
    """Yield for each bucket before a gap the end of its last value; None for the others."""
    min_gap = _min_gap(series)
    for before, after in zip(series.last_at[:-1], series.first_at[1:], strict=True):
        yield before + min(series.width, after - before) if after - before > min_gap else None
    yield None


def _min_gap(series: Series) -> timedelta:
    mean_pause = (series.last_at[-1] - series.first_at[0]) / max(1, len(series.ticks) - 1)
    return max(MIN_GAP, GAP_FACTOR * mean_pause)
