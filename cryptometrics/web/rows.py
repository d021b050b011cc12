"""Turn what was read into the rows of the API: exact decimals as text, times as ISO 8601. Pure."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from cryptometrics.market.venues import is_simulated
from cryptometrics.risk.portfolio.as_json import money
from cryptometrics.store.risk_curves import PAUSE
from cryptometrics.times import iso
from cryptometrics.web.shapes import Acknowledgement, AlertRow, PairRow, PipelineSummary, PortfolioSummary

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from cryptometrics.market.tick_rates import TickRates
    from cryptometrics.store.alert_overview import AlertOverview
    from cryptometrics.store.latest_risk import LatestRisk
    from cryptometrics.store.live_snapshot import Snapshot
    from cryptometrics.store.portfolio_overview import StoredPortfolio
    from cryptometrics.store.stored_sessions import SessionRow


def exact(value: Decimal) -> str:
    """Return a decimal as its exact digits, in plain notation."""
    return f"{value:f}"


def exact_or_none(value: Decimal | None) -> str | None:
    """Return a decimal as its exact digits, None as None."""
    return None if value is None else exact(value)


def iso_or_none(moment: datetime | None) -> str | None:
    """Return a moment as ISO 8601, None as None."""
    return None if moment is None else iso(moment)


def with_breaks(points: list[list[Any]], width: timedelta) -> list[list[Any]]:
    """Return the points of a series, and one without values wherever rows are missing.

    A chart must break its line where nothing is known. The first value of a point is its
    time in milliseconds; width: of the buckets that the points come from.
    """
    longest = max(PAUSE, 2 * width) / timedelta(milliseconds=1)
    found = points[:1]
    for before, point in pairwise(points):
        if point[0] - before[0] > longest:
            found.append([before[0] + 1, *[None] * (len(point) - 1)])
        found.append(point)
    return found


def pair_row(row: SessionRow, risk: LatestRisk | None, now: datetime, rate: float | None) -> PairRow:
    """Return the row of a market; rate: its ticks per second."""
    return PairRow(
        venue=row.venue,
        pair=row.pair,
        simulated=is_simulated(row.venue),
        session=row.session,
        bid=exact(row.bid),
        ask=exact(row.ask),
        bid_size=exact_or_none(row.bid_size),
        ask_size=exact_or_none(row.ask_size),
        mid_price=exact(row.mid_price),
        spread=exact(row.spread),
        spread_bps=round(float(row.spread / row.mid_price) * 10_000, 4),
        highest_bid=exact(row.highest_bid),
        lowest_ask=exact(row.lowest_ask),
        max_spread=exact(row.max_spread),
        volatility=risk.volatility if risk else None,
        value_at_risk=risk.value_at_risk if risk else None,
        drawdown=risk.drawdown if risk else None,
        completeness=risk.coverage if risk else None,
        gap_minutes=risk.gap_minutes if risk else None,
        risk_as_of=iso(risk.as_of) if risk else None,
        timestamp=iso(row.last_at),
        age_seconds=round((now - row.last_at).total_seconds(), 3),
        ticks_per_second=None if rate is None else round(rate, 1),
        ticks=row.ticks,
    )


def pair_rows(snapshot: Snapshot, rates: TickRates) -> list[PairRow]:
    """Return the rows of all markets of a snapshot."""
    return [
        pair_row(row, snapshot.risk.get(row.market), snapshot.at, rates.rate(row.market))
        for row in snapshot.rows
    ]


def alert_row(alert: AlertOverview) -> AlertRow:
    """Return the row of an alert."""
    acknowledged = None
    if alert.acknowledged_at is not None:
        acknowledged = Acknowledgement(
            by=alert.acknowledged_by or "", at=iso(alert.acknowledged_at), why=alert.acknowledged_why or ""
        )
    return AlertRow(
        id=alert.id,
        venue=alert.venue,
        pair=alert.pair,
        rule=alert.rule,
        kind=alert.kind,
        severity=alert.severity,
        state="firing" if alert.resolved_at is None else "resolved",
        message=alert.message,
        value=exact_or_none(alert.value),
        threshold=exact(alert.level),
        fired_at=iso(alert.fired_at),
        resolved_at=iso_or_none(alert.resolved_at),
        resolved_message=alert.resolved_message,
        acknowledged=acknowledged,
        silenced=alert.silenced,
    )


def portfolio_summary(row: StoredPortfolio) -> PortfolioSummary:
    """Return the newest stored figures of a portfolio."""
    return PortfolioSummary(
        portfolio=row.portfolio,
        version=row.version,
        as_of=iso(row.as_of),
        currency=row.currency,
        value=money(row.value),
        profit_and_loss=money(row.profit_and_loss),
        value_at_risk=money(row.value_at_risk),
        expected_shortfall=money(row.expected_shortfall),
        drawdown=money(row.drawdown),
    )


def pipeline_summary(
    snapshot: Snapshot, lags: Mapping[tuple[str, int], int], trouble: str | None, rates: TickRates
) -> PipelineSummary:
    """Return the totals of a snapshot; lags: of each partition, only known ones."""
    known = [lags[place] for place in snapshot.next_offsets if place in lags]
    ticks = [rate for row in snapshot.rows if (rate := rates.rate(row.market)) is not None]
    return PipelineSummary(
        lag=sum(known) if known and len(known) == len(snapshot.partitions) else None,
        metrics=snapshot.total("metrics"),
        rejected=snapshot.total("rejected"),
        gaps=snapshot.total("gaps"),
        duplicates=snapshot.total("duplicates"),
        holes=snapshot.total("holes"),
        ticks_per_second=round(sum(ticks), 1) if ticks else None,
        trouble=trouble,
    )
