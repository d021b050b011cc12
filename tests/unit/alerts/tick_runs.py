"""Make runs of ticks in columns, as the worker measures them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from cryptometrics.alerts.observed_ticks import TickRun
from cryptometrics.market import metrics
from cryptometrics.market.table_metrics import measure
from tests.tables import decode_messages

START = datetime(2026, 7, 1, 12, tzinfo=UTC)


def run_of(*ticks: tuple[float, str, str], first: int = 0) -> TickRun:
    """Return a run of BTC-USD on partition 3, from offset `first` on: second after START, bid and ask."""
    values = []
    for second, bid, ask in ticks:
        time = (START + timedelta(seconds=second)).isoformat()
        fields = {"type": "ticker", "product_id": "BTC-USD", "time": time, "best_bid": bid, "best_ask": ask}
        values.append((b"BTC-USD", json.dumps(fields).encode()))
    table, _ = decode_messages(values, START + timedelta(days=1), partition=3, first=first)
    (of_pair,) = table.by_pair()
    (of_day,) = of_pair.by_session("day")
    measured = measure(of_day, metrics.open_session(table.tick(0)))
    assert measured is not None
    return TickRun(measured)
