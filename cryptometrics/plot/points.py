"""From a reduced series to the points of step lines and bands.

Here, and nowhere before, prices become floats; times become matplotlib's, floats of days since 1970.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryptometrics.times import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.store.tick_series import Series, Values

DAY = timedelta(days=1)

SHORTEST_GAP = timedelta(minutes=1)
GAP_FACTOR = 20
"""A silence is a gap when it is this much longer than the mean pause between two points: of a pair that
trades now and then a long pause says nothing."""


def day_number(moment: datetime) -> float:
    """Return matplotlib's number of a moment, good to about a microsecond."""
    return (moment - EPOCH) / DAY


def gaps(series: Series) -> list[tuple[datetime, datetime]]:
    """Return the silences, from the last tick before to the first one after each."""
    shortest = _shortest_gap(series)
    return [
        (before, after)
        for before, after in zip(series.last_at[:-1], series.first_at[1:], strict=True)
        if after - before > shortest
    ]


def steps(series: Series, values: Values) -> tuple[list[float], list[float]]:
    """Return the points of a step line through the last value of each bucket; NaN breaks it at a gap.

    A quote holds until the next one, but nobody knows how far into a gap: there it is drawn for the width
    of its bucket, so that a lone tick between two gaps can be seen.
    """
    times, points = [], []
    for i, hold in enumerate(_holds(series)):
        times.append(day_number(series.last_at[i]))
        points.append(float(values.last[i]))
        if hold is not None:
            times += [day_number(hold)] * 2
            points += [points[-1], math.nan]
    return times, points


def band(series: Series, values: Values) -> tuple[list[float], list[float], list[float]]:
    """Return the points of a step band from the lowest to the highest value within each bucket.

    It has a height from the first to the last tick of a bucket, and none from there to the next.
    """
    times, low, high = [], [], []
    for i in range(len(series.ticks)):
        last = float(values.last[i])
        times += [day_number(series.first_at[i]), day_number(series.last_at[i])]
        low += [float(values.low[i]), last]
        high += [float(values.high[i]), last]
    return times, low, high


def _holds(series: Series) -> Iterator[datetime | None]:
    """Yield, for each bucket before a gap, until when its last value is drawn; None for the others."""
    shortest = _shortest_gap(series)
    for before, after in zip(series.last_at[:-1], series.first_at[1:], strict=True):
        yield before + min(series.width, after - before) if after - before > shortest else None
    yield None


def _shortest_gap(series: Series) -> timedelta:
    mean_pause = (series.last_at[-1] - series.first_at[0]) / max(1, len(series.ticks) - 1)
    return max(SHORTEST_GAP, GAP_FACTOR * mean_pause)
