from __future__ import annotations

from datetime import timedelta

from cryptometrics.web.rows import with_breaks

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


def test_missing_rows_break_a_series() -> None:
    points = [[0, "1", 2.0], [MINUTE_MS, "1", 2.0], [3 * HOUR_MS, "1", None]]
    broken = [MINUTE_MS + 1, None, None]
    assert with_breaks(points, timedelta(minutes=1)) == [points[0], points[1], broken, points[2]]


def test_wide_buckets_break_nothing() -> None:
    points = [[0, "1"], [3 * HOUR_MS, "1"]]
    assert with_breaks(points, timedelta(hours=2)) == points


def test_a_series_may_be_empty() -> None:
    assert with_breaks([], timedelta(minutes=1)) == []
