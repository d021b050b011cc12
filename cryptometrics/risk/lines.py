"""Put the figures of several pairs side by side: a line for each, and the matrix of their correlations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from cryptometrics.risk.figures import (
    Dependence,
    FigureSettings,
    dependence,
    liquidity,
    pair_figures,
)
from cryptometrics.risk.pair_minutes import PairMinutes, RangeMinutes, cut_to_range
from cryptometrics.risk.reasons import NO_PRICE, no_correlation, reasons

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptometrics.risk.tail_risk import Method
    from cryptometrics.risk.volatility import Estimator

MINUTE = timedelta(minutes=1)
NO_TICK = "no minute of the range has a tick"
NO_SIZE = "no tick of the range has sizes"


@dataclass(frozen=True, slots=True)
class RangeTotals:
    """What the minutes of a range add up to; exact."""

    mid_price: Decimal | None = None
    """The newest close before the end of the range, even one before its start."""
    ticks: int = 0
    spread_bps_sum: Decimal = Decimal(0)
    max_spread: Decimal | None = None
    bid_size_sum: Decimal = Decimal(0)
    ask_size_sum: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class PairSeries:
    """What the figures of a pair are computed from; the minutes end where the range does."""

    minutes: PairMinutes
    totals: RangeTotals


@dataclass(frozen=True, slots=True)
class MarketRange:
    """Whose minutes, and which."""

    group: str
    venue: str
    as_of: datetime
    """The end of the newest minute."""
    minutes: int

    @property
    def start(self) -> datetime:
        """When the first minute begins."""
        return self.as_of - self.minutes * MINUTE


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskLine:
    """The figures of one pair over a range. Prices are exact, losses positive ratios; None is not known."""

    pair: str
    venue: str
    group: str
    as_of: datetime
    range_seconds: int
    minutes: int
    minutes_with_ticks: int
    coverage: float
    gap_minutes: int
    unverified_minutes: int
    mid_price: Decimal | None
    return_1h: float | None
    return_24h: float | None
    volatility: dict[Estimator, float | None]
    jump_share: float | None
    value_at_risk: float | None
    expected_shortfall: float | None
    confidence: float
    horizon_seconds: int
    method: Method
    drawdown: float | None
    max_drawdown: float | None
    max_drawdown_peak_at: datetime | None
    max_drawdown_trough_at: datetime | None
    against: str
    correlation: float | None
    beta: float | None
    spread_bps: float | None
    max_spread: Decimal | None
    imbalance: float | None
    reasons: dict[str, str]
    """Why a figure is None, by its name."""


@dataclass(frozen=True, slots=True)
class CorrelationMatrix:
    """How the pairs of a venue move with each other. Rows and columns are in the order of the pairs."""

    market: MarketRange
    bar: int
    """Minutes that a return goes over."""
    pairs: list[str]
    coverage: list[float]
    rows: list[list[Dependence]]


def risk_lines(
    series: Mapping[str, PairSeries],
    pairs: Sequence[str],
    against: str,
    market: MarketRange,
    settings: FigureSettings,
) -> list[RiskLine]:
    """Return a line for each of the pairs; `against` may be missing from the series."""
    ranges = {pair: cut_to_range(each.minutes, market.minutes) for pair, each in series.items()}
    return [
        _line(pair, ranges[pair], series[pair].totals, against, ranges.get(against), market, settings)
        for pair in pairs
    ]


def correlation_matrix(
    minutes: Mapping[str, PairMinutes], market: MarketRange, bar: int
) -> CorrelationMatrix:
    """Return how each pair moves with each other one, over bars of so many minutes."""
    ranges = {pair: cut_to_range(each, market.minutes) for pair, each in minutes.items()}
    return CorrelationMatrix(
        market=market,
        bar=bar,
        pairs=list(ranges),
        coverage=[each.coverage for each in ranges.values()],
        rows=[[dependence(a, b, bar) for b in ranges.values()] for a in ranges.values()],
    )


def _line(
    pair: str,
    ranged: RangeMinutes,
    totals: RangeTotals,
    against: str,
    other: RangeMinutes | None,
    market: MarketRange,
    settings: FigureSettings,
) -> RiskLine:
    found = pair_figures(ranged, settings)
    core = found.core
    why = reasons(ranged, settings, found)
    together = dependence(ranged, other, settings.bar) if other else Dependence(None, None, 0)
    for name, value in (("correlation", together.correlation), ("beta", together.beta)):
        if value is None:
            why[name] = (
                no_correlation(together.returns, settings.bar) if other else f"the venue has no {against}"
            )
    # A pair without a drawdown has no close in the range, so its newest stored close is too old to show.
    mid_price = totals.mid_price if core.drawdown is not None else None
    costs = liquidity(
        totals.ticks, float(totals.spread_bps_sum), float(totals.bid_size_sum), float(totals.ask_size_sum)
    )
    for name, missing, reason in (
        ("mid_price", mid_price is None, NO_PRICE),
        ("spread_bps", costs.spread_bps is None, NO_TICK),
        ("max_spread", totals.max_spread is None, NO_TICK),
        ("imbalance", costs.imbalance is None, NO_SIZE if totals.ticks else NO_TICK),
    ):
        if missing:
            why[name] = reason
    return RiskLine(
        pair=pair,
        venue=market.venue,
        group=market.group,
        as_of=market.as_of,
        range_seconds=market.minutes * 60,
        minutes=core.minutes,
        minutes_with_ticks=core.minutes_with_ticks,
        coverage=core.coverage,
        gap_minutes=core.gap_minutes,
        unverified_minutes=found.unverified_minutes,
        mid_price=mid_price,
        return_1h=found.return_1h,
        return_24h=found.return_24h,
        volatility=found.volatility,
        jump_share=found.jump_share,
        value_at_risk=core.value_at_risk,
        expected_shortfall=core.expected_shortfall,
        confidence=settings.confidence,
        horizon_seconds=settings.horizon * 60,
        method=settings.method,
        drawdown=core.drawdown,
        max_drawdown=core.max_drawdown,
        max_drawdown_peak_at=_moment(market, found.max_drawdown_peak),
        max_drawdown_trough_at=_moment(market, found.max_drawdown_trough),
        against=against,
        correlation=together.correlation,
        beta=together.beta,
        spread_bps=costs.spread_bps,
        max_spread=totals.max_spread,
        imbalance=costs.imbalance,
        reasons=why,
    )


def _moment(market: MarketRange, minute: int | None) -> datetime | None:
    """Return when a minute of the range begins."""
    return None if minute is None else market.start + minute * MINUTE
