"""What is kept of ticks that came too late. `tests/integration/test_beam_lateness.py` merges windows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cryptometrics.beam.merge_windows import MAX_LATE_WINDOWS, CountTooLate
from tests.unit.beam.test_follow_topic import Cell

pytestmark = pytest.mark.filterwarnings("ignore")  # Beam's imports warn of their own


def test_ticks_too_late_are_summed_for_each_of_the_newest_windows() -> None:
    counts, counting = Cell(), CountTooLate()

    def add(minute: int, ticks: int) -> tuple[int, int]:
        start = datetime(2026, 7, 1, tzinfo=UTC) + timedelta(minutes=minute)
        ((window, so_far),) = counting.process(("coinbase BTC-USD", (start.isoformat(), ticks)), counts)
        assert window == f"coinbase BTC-USD {start.isoformat()}"
        return minute, so_far

    assert add(0, 3) == (0, 3)
    assert add(1, 2) == (1, 2)
    assert add(0, 4) == (0, 7)
    for minute in range(2, MAX_LATE_WINDOWS + 1):
        add(minute, 1)
    size = len(counts.read())
    assert add(1, 1) == (1, 3)
    add(MAX_LATE_WINDOWS + 1, 1)
    assert len(counts.read()) == size
    assert add(MAX_LATE_WINDOWS, 1) == (MAX_LATE_WINDOWS, 2)
