"""What the rules see of a tick is the same, whether it was measured by itself or in columns."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics import metrics
from cryptometrics.columns.decode import decode
from cryptometrics.columns.measure import measure
from cryptometrics.pipeline.alerting import quote_of, quotes_of

START = datetime(2026, 7, 1, 12, tzinfo=UTC)
prices = st.decimals(Decimal("0.01"), Decimal(99_999), places=6)


@given(st.lists(st.tuples(prices, prices), min_size=1, max_size=40))
def test_columns_and_single_ticks_say_the_same(bids_and_asks: list[tuple[Decimal, Decimal]]) -> None:
    values: list[bytes | None] = [
        json.dumps(
            {
                "type": "ticker",
                "product_id": "BTC-USD",
                "best_bid": f"{min(both):f}",
                "best_ask": f"{max(both):f}",
                "time": (START + timedelta(milliseconds=number)).isoformat(),
            }
        ).encode()
        for number, both in enumerate(bids_and_asks)
    ]
    columns, rejected = decode([b"BTC-USD"] * len(values), values, START + timedelta(hours=1))
    assert not rejected
    offsets = np.arange(100, 100 + len(values))
    measured = measure(columns, np.arange(len(values)), metrics.opened(columns.tick(0)))
    assert measured is not None
    found = quotes_of(measured, "BTC-USD", columns.time, "day", 3, offsets)
    session = metrics.opened(columns.tick(0))
    for place, quote in enumerate(found):
        tick = columns.tick(place)
        assert quote == quote_of(tick, metrics.measure(tick, session), "day", session, 3, 100 + place)
    assert len(found) == len(values)
