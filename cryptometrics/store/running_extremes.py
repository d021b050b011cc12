"""Follow the extremes of sessions over time.

A stored row has its session's extremes in the order of the topic, so the row with the newest time may lack an
extreme that came late. Over time, an extreme follows from the quotes up to each moment.
"""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime
    from decimal import Decimal

    from cryptometrics.store.stored_sessions import SessionRow

    Choice = Callable[[Decimal, Decimal], Decimal]


class Extreme(NamedTuple):
    """An extreme of a session."""

    better: Choice
    """Returns the more extreme one of two values."""
    worse: Choice


EXTREMES = {
    "highest_bid": Extreme(max, min),
    "lowest_ask": Extreme(min, max),
    "max_spread": Extreme(max, min),
}
"""The extremes by the name of their metric."""


def running(
    metric: str,
    values: Sequence[Decimal],
    session_of: Sequence[int],
    sessions: Sequence[SessionRow],
    before: Sequence[Decimal | None],
) -> list[Decimal]:
    """Return the extreme of its session so far at each of the `values`, which are in order of time.

    values: the most extreme quote of each bucket. session_of: the index of each bucket's session. before: the
    extreme of each session before the first bucket; None if the session begins there. No value is more
    extreme than that of its session, even if a bucket has quotes of another one.
    """
    better, worse = EXTREMES[metric]
    best = list(before)
    found = []
    for value, number in zip(values, session_of, strict=True):
        so_far = best[number]
        bounded = worse(value, getattr(sessions[number], metric))
        best[number] = reached = bounded if so_far is None else better(so_far, bounded)
        found.append(reached)
    return found


def extreme_before(
    metric: str, session: SessionRow, start: datetime, otherwise: Iterable[Decimal]
) -> Decimal | None:
    """Return the extreme of a session before `start`; None if the session begins there.

    otherwise: values for a session whose extreme was set later; it had reached the least extreme of them
    before `start`.
    """
    if session.first_at >= start:
        return None
    at: datetime = getattr(session, f"{metric}_at")
    extreme: Decimal = getattr(session, metric)
    reached = list(otherwise)
    if at >= start and not reached:
        return None
    return extreme if at < start else functools.reduce(EXTREMES[metric].worse, reached, extreme)


def session_starts(session_of: Sequence[int]) -> list[int]:
    """Return the indexes of the buckets that belong to another session than the one before."""
    return [number for number, (one, other) in enumerate(pairwise(session_of), start=1) if one != other]
