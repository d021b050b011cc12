from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from cryptometrics.market.venues import Market
from cryptometrics.store.tick_series import BucketValues, Series
from cryptometrics.web.api.market import METRICS, quote_points

START = datetime(2024, 1, 5, 10, tzinfo=UTC)
WIDTH = timedelta(seconds=10)


def series(seconds: list[int]) -> Series:
    """Return a series with a tick at each of these times."""
    times = [START + timedelta(seconds=each) for each in seconds]
    prices = [Decimal(100)] * len(times)
    return Series(
        market=Market("coinbase", "BTC-USD"),
        group="g1",
        sessions=[],
        start=START,
        end=times[-1] + WIDTH,
        width=WIDTH,
        first_at=times,
        last_at=times,
        ticks=[1] * len(times),
        locked=[0] * len(times),
        metrics={name: BucketValues(prices, prices, prices) for name in METRICS},
    )


def test_a_point_without_values_begins_a_silence() -> None:
    points = quote_points(series([0, 1, 2, 3, 400, 401]))
    start = int(START.timestamp() * 1000)
    assert [point[0] - start for point in points] == [0, 1000, 2000, 3000, 13_000, 400_000, 401_000]  # type: ignore[operator]
    assert [point[0] for point in points if set(point[1:]) == {None}] == [start + 13_000]


def test_usual_pauses_have_no_point() -> None:
    assert all(None not in point for point in quote_points(series([0, 40, 80, 120])))
