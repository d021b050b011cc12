"""Tell a gap in the ticks of a market from the pauses that are usual for it, without any label."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

MIN_GAP = timedelta(minutes=1)
GAP_FACTOR = 20
"""A silence is a gap if it is longer than the usual pause by this factor: rarely traded pairs pause often."""
USUAL = 0.75
"""Share of the pauses that are not longer than the usual one: ticks often come in bursts."""


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


def _usual(pauses: list[tuple[timedelta, int]]) -> timedelta:
    """Return the usual one of (pause, how often); zero without pauses."""
    left = USUAL * sum(count for _, count in pauses)
    for pause, count in sorted(pauses):
        left -= count
        if left <= 0:
            return pause
    return timedelta()
