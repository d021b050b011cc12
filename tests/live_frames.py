"""Frames of the live view, made without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from cryptometrics.market.venues import Market
from cryptometrics.store.latest_portfolios import LatestLimit, LatestPortfolio, LatestPosition
from cryptometrics.store.live_snapshot import FiringAlert, Partition, Snapshot
from cryptometrics.store.stored_sessions import SessionRow
from cryptometrics.watch.history import History
from cryptometrics.watch.screen_data import ScreenData

if TYPE_CHECKING:
    from collections.abc import Sequence

BTC = Market("coinbase", "BTC-USD")
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def row(
    pair: str = "BTC-USD",
    *,
    session: str = "2026-07-01",
    ticks: int = 10,
    bid: str = "100.00",
    seconds_old: float = 1,
    venue: str = "coinbase",
) -> SessionRow:
    return SessionRow(
        venue=venue,
        pair=pair,
        session=session,
        consumer_group="g",
        ticks=ticks,
        late=0,
        bid=Decimal(bid),
        ask=Decimal(bid) + Decimal("0.02"),
        highest_bid=Decimal("101.00"),
        highest_bid_at=NOW,
        lowest_ask=Decimal("99.00"),
        lowest_ask_at=NOW,
        max_spread=Decimal("0.50"),
        max_spread_at=NOW,
        first_at=NOW,
        last_at=NOW - timedelta(seconds=seconds_old),
    )


def frame(
    rows: Sequence[SessionRow],
    *,
    partitions: int = 6,
    alerts: Sequence[FiringAlert] = (),
    group: str = "g",
    trouble: str | None = None,
) -> ScreenData:
    parts = [Partition("t", n, 10 * n, 9 * n, n, 0, 0, 0) for n in range(partitions)]
    snapshot = Snapshot(group, NOW, list(rows), parts, list(alerts))
    history = History()
    history.add(snapshot)
    return ScreenData(snapshot, history, {("t", n): 10**n for n in range(partitions)}, trouble)


FIRING = FiringAlert("coinbase", "BTC-USD", "wide", "critical", "spread 12.3 bps above 10", NOW)

TREASURY = LatestPortfolio(
    "treasury",
    "USD",
    NOW - timedelta(seconds=20),
    Decimal("1234567.891"),
    Decimal("-1234.5"),
    23456.78,
    2.5,
    (LatestLimit("limit.gross", 0.5, "ok"), LatestLimit("limit.drawdown_pct", 1.2, "breach")),
    Decimal("-5267.75"),
    Decimal("1404131.74"),
    Decimal("512040.14"),
    16466.49,
    16404.22,
    (
        LatestPosition("BTC", Decimal("12.5"), "marked", Decimal("795541.5"), Decimal("154916.5"), 9689.73),
        LatestPosition("ETH", Decimal(-140), "stale", Decimal("-425706.4"), None, None),
    ),
)


def with_portfolios(data: ScreenData, *portfolios: LatestPortfolio) -> ScreenData:
    return data._replace(snapshot=replace(data.snapshot, portfolios=portfolios))
