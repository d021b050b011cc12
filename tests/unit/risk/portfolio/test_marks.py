"""What a quote makes of a position, and which day a moment belongs to."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cryptometrics.risk.portfolio.marks import start_of_day


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 7, 1, 12, 34, 56, 789, tzinfo=UTC),
        datetime(2026, 7, 1, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 7, 1, tzinfo=UTC),
    ],
)
def test_a_day_begins_at_midnight_exactly(moment: datetime) -> None:
    assert start_of_day(moment) == datetime(2026, 7, 1, tzinfo=UTC)
