"""Compute the points of step lines and bands from a reduced series.

Prices become floats here and nowhere before; times become matplotlib's floats of days since 1970.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from itertools import count as counting
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.market.pauses import after_gaps
from cryptometrics.times import EPOCH

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from decimal import Decimal

    from cryptometrics.store.tick_series import BucketValues, Series

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)

MAX_BARS = 150
"""Bars of tick rates in a chart."""


def day_number(moment: datetime) -> float:
    """Return matplotlib's number of a moment, accurate to about a microsecond."""
    return (moment - EPOCH) / DAY


def gaps(series: Series) -> list[tuple[datetime, datetime]]:
    """Return the gaps, each from the last tick before it to the first tick after it."""
    return [(series.last_at[i - 1], series.first_at[i]) for i in _after_gaps(series)]


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


def quote_band(series: Series) -> tuple[list[float], list[float], list[float]]:
    """Return the points of a step band from the lowest bid to the highest ask of each bucket.

    NaN breaks it at a gap.
    """
    bid, ask = series.metrics["bid"], series.metrics["ask"]
    after_gap = set(_after_gaps(series))
    times, low, high = [], [], []
    for i in range(len(series.ticks)):
        times += [day_number(series.first_at[i]), day_number(series.last_at[i])]
        low += [float(bid.low[i]), float(bid.last[i])]
        high += [float(ask.high[i]), float(ask.last[i])]
        if i + 1 in after_gap:
            times.append(times[-1])
            low.append(math.nan)
            high.append(math.nan)
    return times, low, high


def in_bps(series: Series, values: Sequence[Decimal]) -> list[Decimal]:
    """Return a running extreme of the spread in basis points of the mid price at which it was set."""
    mids = series.metrics["mid_price"].last
    found: list[Decimal] = []
    for i, value in enumerate(values):
        is_same = i > 0 and value == values[i - 1] and i not in series.session_starts
        found.append(found[-1] if is_same else 10_000 * value / mids[i])
    return found


class RateBars(NamedTuple):
    """Ticks per second in bars of equal width; a bar without ticks is left out."""

    width: timedelta
    starts: list[datetime]
    rates: list[float]


def tick_rates(series: Series) -> RateBars:
    """Return the ticks per second in at most MAX_BARS bars, each of whole buckets."""
    buckets = (series.end - series.start) / series.width
    factor = next(factor for factor in _round_numbers() if factor * MAX_BARS >= buckets)
    width = factor * series.width
    ticks: dict[int, int] = {}
    for first_at, count in zip(series.first_at, series.ticks, strict=True):
        number = (first_at - EPOCH) // width
        ticks[number] = ticks.get(number, 0) + count
    # A single tick has no rate; a second is what people mean by now.
    seconds = max(width, SECOND).total_seconds()
    return RateBars(
        width, [EPOCH + number * width for number in ticks], [count / seconds for count in ticks.values()]
    )


def _round_numbers() -> Iterator[int]:
    """Yield 1, 2, 5, 10, 20, 50 and so on."""
    for power in counting():
        yield from (digit * 10**power for digit in (1, 2, 5))


def _after_gaps(series: Series) -> list[int]:
    return after_gaps(series.first_at, series.last_at, series.ticks, series.session_starts)
