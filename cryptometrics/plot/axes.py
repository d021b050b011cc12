"""Axes with plain decimals, times in UTC and limits that fit the data."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from matplotlib import dates, ticker

from cryptometrics.plot.points import DAY, day_number
from cryptometrics.times import EPOCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

MARGIN = 0.06
"""Share of an axis that stays free above and below the data."""
TEXT_INCHES = 0.27
"""What stays free where a text stands above or below the data."""


class PlainFormatter(ticker.Formatter):
    """Labels with as many decimals as the ticks need, without exponent or offset."""

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Label all ticks of an axis in the same form."""
        places = _places(values)
        return [f"{round(value, places) + 0.0:,.{places}f}" for value in values]

    def __call__(self, x: float, pos: int | None = None) -> str:  # noqa: ARG002  (matplotlib's signature)
        """Label one value, for the cursor of a window."""
        return self.format_ticks([x])[0]


class TimeFormatter(ticker.Formatter):
    """Times of day in UTC, as precise as the ticks need, with the date where a day begins."""

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Label all ticks of an axis in the same form."""
        moments = [_moment(value) for value in values]
        apart = min((b - a for a, b in pairwise(moments)), default=timedelta(seconds=1))
        if apart >= timedelta(days=27):
            return [f"{moment:%b %Y}" for moment in moments]
        if apart >= timedelta(hours=23):
            return [f"{moment:%-d %b}" for moment in moments]
        if apart >= timedelta(minutes=1):
            several_days = len({moment.date() for moment in moments}) > 1
            return [
                f"{moment:%H:%M}\n{moment:%-d %b}"
                if several_days and moment.time() == datetime.min.time()
                else f"{moment:%H:%M}"
                for moment in moments
            ]
        digits = 0 if apart >= timedelta(seconds=1) else min(6, math.ceil(-math.log10(apart.total_seconds())))
        return [f"{moment:%H:%M:%S.%f}"[: 8 + digits + (digits > 0)] for moment in moments]

    def __call__(self, x: float, pos: int | None = None) -> str:  # noqa: ARG002  (matplotlib's signature)
        """Label one moment, for the cursor of a window."""
        return f"{_moment(x):%Y-%m-%d %H:%M:%S.%f}"


def time_axis(axes: Axes, start: datetime, end: datetime, *, wide: bool) -> None:
    """Set the horizontal axis to the range from `start` to `end`, labelled UTC; wide: with more labels."""
    free = max((end - start) * 0.01, timedelta(microseconds=10)) if end > start else timedelta(seconds=0.5)
    axes.set_xlim(day_number(start - free), day_number(end + free))
    locator = dates.AutoDateLocator(tz=UTC, minticks=4 if wide else 2, maxticks=9 if wide else 5)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(TimeFormatter())
    one_day = start.date() == end.date()
    axes.set_xlabel(f"time (UTC), {start:%Y-%m-%d}" if one_day else "time (UTC)")


def text_margin(axes: Axes) -> float:
    """Return the share of a panel's height that a text above or below its data needs."""
    height = axes.get_window_extent().height / axes.figure.dpi
    return min(0.4, max(MARGIN, TEXT_INCHES / height))


def value_axis(axes: Axes, low: float, high: float, *, from_zero: bool, margin: float = MARGIN) -> None:
    """Set the vertical axis to the range from `low` to `high` with a margin; from_zero: begin at zero."""
    if from_zero:
        high = high or 1.0  # only locked quotes
        low = -high * MARGIN / 2
    free = (high - low) * margin or abs(high) * 1e-4
    axes.set_ylim(low if from_zero else low - free, high + free)
    axes.yaxis.set_major_locator(ticker.MaxNLocator(nbins=6, steps=[1, 2, 5, 10], min_n_ticks=3))
    axes.yaxis.set_major_formatter(PlainFormatter())


def _moment(value: float) -> datetime:
    # A float of days may be a microsecond off: 09:59:59.999999 is 10:00:00.
    moment = EPOCH + value * DAY
    return moment.replace(microsecond=0) + timedelta(microseconds=round(moment.microsecond, -1))


def _places(values: Sequence[float]) -> int:
    """Return the fewest decimals that show these values with an error below a hundredth of their distance."""
    apart = min((abs(b - a) for a, b in pairwise(values)), default=0.0)
    exact = apart / 100 or 1e-12
    return next(
        (
            places
            for places in range(18)
            if all(abs(round(value, places) - value) <= exact for value in values)
        ),
        18,
    )
