"""What becomes of sessions that begin or end near the bounds of a run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from cryptometrics.beam.folding import PartialAggregate
from cryptometrics.beam.job import Job, Shape
from cryptometrics.beam.pipeline import MergeSessions
from tests.aggregates import of_tick

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Beam's imports warn of their own

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
GAP = timedelta(seconds=30)


def sessions(*seconds: float, begun: float = 10_000, **bounds: float) -> list[tuple[float, int, bool]]:
    """Return of each session of these ticks where it begins, its ticks, and whether it is complete."""
    its = {name: NOON + timedelta(seconds=second) for name, second in (bounds | {"begun": begun}).items()}
    job = Job("g1", "test", Shape(None, gap=GAP), timedelta(), **its)  # type: ignore[arg-type]
    parts = []
    for offset, second in enumerate(seconds):
        time = NOON + timedelta(seconds=second)
        parts.append(PartialAggregate(of_tick((time, 0, offset), Decimal(100), Decimal(101)), time, None))
    return [
        ((row.start - NOON).total_seconds(), row.aggregate.ticks, row.complete)
        for row in MergeSessions(job).process(("BTC-USD", parts))
    ]


def test_a_session_that_has_not_ended_when_the_run_begins_is_not_complete() -> None:
    assert sessions(0, 20, 60, begun=90) == [(0, 2, True), (60, 1, True)]
    assert sessions(0, 20, 60, begun=89) == [(0, 2, True), (60, 1, False)]


def test_a_session_to_which_ticks_beyond_a_bound_may_belong_is_not_written() -> None:
    assert sessions(0, 20, 60, since=-30, until=90) == [(0, 2, True), (60, 1, True)]
    assert sessions(0, 20, 60, since=-29, until=90) == [(60, 1, True)]
    assert sessions(0, 20, 60, since=-30, until=89) == [(0, 2, True)]
